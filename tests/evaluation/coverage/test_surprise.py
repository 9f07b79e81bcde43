"""Surprise coverage: which bucket an input hits, on tables worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from temper.core.errors import StageError
from temper.evaluation.coverage.surprise import DSC, LSC
from temper.evaluation.surprise.lsa import LSA
from temper.nn.inspection.activations import Activations
from tests.evaluation.coverage.support import activations, covering, hit, reference


def on_a_line(places: list[float]) -> Activations:
    """Return traces (place, 0), of class 0 left of 5 and of class 1 from there on."""
    x = np.array(places)
    return activations(np.stack([x, 0 * x], axis=1), logits=np.stack([x < 5, x >= 5], axis=1))


TRAIN = on_a_line([0, 10])
"""One image of each class, 10 apart: the distance to 0 over 10 is the surprise of what is left of 5."""


def test_buckets_of_distance() -> None:
    coverage = covering(DSC(buckets=4, upper=0.4), TRAIN)  # up to 0.1, 0.2, 0.3, 0.4
    tests = on_a_line([0, 0.5, 1, 1.25, 3.9, 4.1, -4])
    assert coverage.gain(tests).tolist() == [0, 1, 1, 1, 1, 0, 1]
    assert coverage.sequential_gain(tests).tolist() == [0, 1, 0, 1, 1, 0, 0]
    assert hit(coverage, tests) == (3, 4)
    coverage.update(tests)
    assert coverage.remarks == ("2 inputs outside the bounds or without surprise",)


@pytest.mark.parametrize("n", [25, 41, 42])
def test_the_bound_of_two_buckets_is_in_the_lower_one(n: int) -> None:
    coverage = covering(DSC(buckets=n, upper=float(n)), on_a_line([4, 5]))  # 1 apart: surprise is distance
    tests = on_a_line([4 - distance for distance in range(1, n + 1)])
    assert coverage.sequential_gain(tests).tolist() == [1] * n


def test_a_lower_bound() -> None:
    coverage = covering(DSC(buckets=2, lower=0.2, upper=0.4), TRAIN)
    assert coverage.gain(on_a_line([2, 2.5, 3.5])).tolist() == [0, 1, 1]


def test_inputs_without_surprise_hit_nothing() -> None:
    coverage = covering(DSC(), TRAIN)
    tests = on_a_line([np.nan, 1])
    assert coverage.gain(tests).tolist() == [0, 1]


def test_likelihood_starts_from_the_training_images() -> None:
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(60, 3)), np.eye(2)[np.arange(60) % 2]
    train = activations(values, logits=labels)
    criterion = LSC(buckets=50, upper=40)
    profile = criterion.profile(reference(train))
    alone = LSA(mask="union").values(LSA(mask="union").fit(reference(train)), train, np.arange(60), rng)
    assert float(profile["least"]) == alone.min()
    far = activations(rng.normal(size=(40, 3)) * 2, logits=labels[:40])
    surprise = criterion.surprise(profile, far)
    width = (40 - alone.min()) / 50
    expected = {int(np.ceil((v - alone.min()) / width)) for v in surprise if alone.min() < v <= 40}
    assert hit(criterion.coverage(profile, far), far) == (len(expected), 50)
    assert "least" not in LSC(lower=0).profile(reference(train))


def test_bounds_the_wrong_way_round() -> None:
    with pytest.raises(StageError, match="expected a lower bound below the upper one, received 3 and 2"):
        covering(DSC(lower=3), TRAIN)
