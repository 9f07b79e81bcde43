"""Which images a fuzzer starts from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.faults import StageError
from evaluation.coverage.nc import NC
from generators.fuzzing.seeding import PeakSeeds, Pool, RandomSeeds
from tests.generators.fuzzing.test_fuzzer import brightness, fuzz, grey, unguided


def watching(*units: int) -> Any:
    return SimpleNamespace(units=lambda learnt, seen: np.array(units, np.int64))


def seen(peak: list[list[int]]) -> Any:
    """Return what a model with a dense layer of 3 units and one of 2 maps of 2 x 2 values computes."""
    layers = (SimpleNamespace(units=3), SimpleNamespace(units=2))
    return SimpleNamespace(layers=layers, peak=np.array(peak, np.int32))


def test_random_seeds_are_all_images_once() -> None:
    order = RandomSeeds().order(Pool(50, None, ()), np.random.default_rng(1))
    assert sorted(order) == list(range(50))
    assert list(order) != list(range(50))


def test_peak_seeds_have_a_watched_unit_as_the_most_active_of_its_layer() -> None:
    # Units 0 to 2 are dense; maps 3 and 4 have the flat places 0, 2, 4, 6 and 1, 3, 5, 7.
    found = seen([[0, 1], [1, 6], [2, 5], [1, 7], [1, 0]])

    def chosen(*units: int) -> list[int]:
        return sorted(PeakSeeds().order(Pool(5, found, [(watching(*units), {})]), np.random.default_rng(1)))

    assert chosen(0) == [0]
    assert chosen(3) == [1, 4]
    assert chosen(4) == [0, 2, 3]
    assert chosen(2, 3) == [1, 2, 4]
    assert chosen() == []


def test_a_fuzzer_without_a_seed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NC, "units", lambda self, profile, like: np.zeros(0, np.int64))
    guided = unguided(guidance=(NC(threshold=0.5, layers=("mean",)),), seeds=PeakSeeds(), min_gain=1)
    with pytest.raises(
        StageError, match=r"none of the 2 images has a unit that the guidance watches .* take seeds random"
    ):
        fuzz(guided, grey(0.1, 0.9), brightness())
