"""Unit selection: order, ties, scopes."""

from __future__ import annotations

import numpy as np
import pytest

from temper.artefacts.rankings import NO_UNIT
from temper.core.errors import StageError
from temper.localisation.unit_selection import layers_of, most_suspicious, padded

SCORES = np.array([0.2, 0.9, 0.5, 0.5, 0.5, 0.1, 0.9])
SIZES = [3, 2, 2]


@pytest.mark.parametrize(("top", "expected"), [(1, [1]), (2, [1, 6]), (3, [1, 6, 2]), (7, [1, 6, 2, 3, 4, 0, 5])])
def test_the_highest_come_first_and_ties_in_order(top: int, expected: list[int]) -> None:
    assert most_suspicious(SCORES, SIZES, top, "network").tolist() == expected


def test_infinite_scores_come_first() -> None:
    assert most_suspicious(np.array([1.0, np.inf, 2.0]), [3], 2, "network").tolist() == [1, 2]


def test_each_layer_contributes_its_own() -> None:
    assert sorted(most_suspicious(SCORES, SIZES, 1, "layer").tolist()) == [1, 3, 6]
    assert most_suspicious(SCORES, SIZES, 3, "layer").tolist() == most_suspicious(SCORES, SIZES, 7, "network").tolist()


def test_ties_as_published() -> None:
    # The second highest score is 0.5. Layer 0 holds 1 and 2, which makes two; layer 1 begins with 3, which ties and
    # is found before the search sees that there are enough, and then goes on to 4; the same in layer 2 with 6.
    scores = np.array([0.2, 0.9, 0.5, 0.5, 0.5, 0.1, 0.4])
    assert most_suspicious(scores, SIZES, 2, "network", as_published=True).tolist() == [1, 2, 3, 4]
    # A layer that begins with a unit that does not tie adds nothing.
    scores = np.array([0.2, 0.9, 0.5, 0.1, 0.5, 0.1, 0.5])
    assert most_suspicious(scores, SIZES, 2, "network", as_published=True).tolist() == [1, 2]


def test_requesting_more_units_than_exist_is_an_error() -> None:
    with pytest.raises(StageError, match="at least 8 units to choose from, received 7; lower `top`"):
        most_suspicious(SCORES, SIZES, 8, "network")


def test_layers_and_padding() -> None:
    assert layers_of([0, 5], SIZES).tolist() == [0, 1, 2, 5, 6]
    found = padded([np.array([3, 1]), np.zeros(0, np.int64), np.array([2])])
    assert found.tolist() == [[3, 1], [NO_UNIT, NO_UNIT], [2, NO_UNIT]]
