"""The measures on tables worked by hand, and where they degenerate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.localisation.suspiciousness_measures import dstar, ochiai, tarantula

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
def test_zero_counts_score_zero_and_more_failures_never_score_less(measure: object) -> None:
    assert callable(measure)
    assert measure(np.zeros((2, 4), np.int64)).tolist() == [0, 0]
    rising = measure(np.array([[cf, 5 - cf, 2, 3] for cf in range(6)]))
    assert (np.diff(rising) > 0).all()


MEASURES = [tarantula, ochiai, lambda counts: dstar(counts, 2), lambda counts: dstar(counts, 3)]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("shape", [(4,), (1, 4), (2, 3, 4), (3, 2, 1, 4), (0, 4), (2, 0, 4)], ids=str)
def test_counts_of_any_shape_are_scored_one_by_one(measure: Any, shape: tuple[int, ...]) -> None:
    counts = np.random.default_rng(0).integers(0, 3, shape)
    scores = measure(counts)
    assert np.shape(scores) == shape[:-1]
    single = [float(measure(row[None])[0]) for row in counts.reshape(-1, 4)]
    np.testing.assert_array_equal(np.ravel(scores), single)


@pytest.mark.parametrize("star", [1, 2, 3])
def test_dstar_of_a_single_failure(star: float) -> None:
    # Active in it alone; in it and two passes; in it and all passes; inactive in it; nobody active.
    counts = np.array([[1, 0, 0, 5], [1, 0, 2, 3], [1, 0, 5, 0], [0, 1, 0, 5], [0, 1, 3, 2]])
    assert dstar(counts, star).tolist() == [np.inf, 1 / 2, 1 / 5, 0, 0]
    assert dstar(np.array([0, 0, 0, 5]), star) == 0, "there was no failure"


def test_a_single_failure_scores_by_hand() -> None:
    counts = np.array([[1, 0, 0, 5], [1, 0, 2, 3], [1, 0, 5, 0], [0, 1, 0, 5]])
    np.testing.assert_allclose(tarantula(counts), [1, 1 / (1 + 2 / 5), 1 / 2, 0])
    np.testing.assert_allclose(ochiai(counts), [1, 1 / 3**0.5, 1 / 6**0.5, 0])
