"""The measures on tables worked by hand, and where they degenerate."""

from __future__ import annotations

import numpy as np
import pytest

from localisation.measures import dstar, ochiai, tarantula

#                  cf uf cs us
TABLE = np.array([[3, 1, 2, 4], [0, 4, 6, 0], [4, 0, 0, 6], [4, 0, 6, 0], [0, 4, 0, 6], [1, 3, 3, 3]])


def test_tarantula() -> None:
    # 3/4 over 3/4 + 2/6; never active in a failure; active exactly in failures; always active; never; 1/4 over 1/4 + 1/2.
    np.testing.assert_allclose(tarantula(TABLE), [9 / 13, 0, 1, 1 / 2, 0, 1 / 3])


def test_ochiai() -> None:
    np.testing.assert_allclose(ochiai(TABLE), [3 / 20**0.5, 0, 1, 4 / 40**0.5, 0, 1 / 4])


@pytest.mark.parametrize(
    ("star", "expected"), [(3, [9, 0, np.inf, 64 / 6, 0, 1 / 6]), (2, [3, 0, np.inf, 16 / 6, 0, 1 / 6])]
)
def test_dstar(star: float, expected: list[float]) -> None:
    np.testing.assert_allclose(dstar(TABLE, star), expected)


@pytest.mark.parametrize("measure", [tarantula, ochiai, lambda counts: dstar(counts, 3)])
def test_nothing_counted_scores_nothing_and_more_failures_never_score_less(measure: object) -> None:
    assert callable(measure)
    assert measure(np.zeros((2, 4), np.int64)).tolist() == [0, 0]
    rising = measure(np.array([[cf, 5 - cf, 2, 3] for cf in range(6)]))
    assert (np.diff(rising) > 0).all()
