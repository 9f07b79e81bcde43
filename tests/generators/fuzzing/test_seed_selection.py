"""Seed selection: the images that a fuzzer starts from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from temper.core.component import Ref
from temper.core.errors import StageError
from temper.evaluation.coverage.idc import IDC
from temper.evaluation.coverage.kmnc import KMNC
from temper.evaluation.coverage.knw import KNW
from temper.evaluation.coverage.nc import NC
from temper.generators.fuzzing.seed_selection import PeakSeeds, RandomSeeds, SeedPool
from temper.nn.adequacy.reference_data import ReferenceData
from temper.nn.inspection.activations import Activations
from tests.evaluation.coverage.support import activations
from tests.generators.fuzzing.test_semantic_fuzzer import brightness, fuzz, grey, unguided


def watching(*units: int, positions: bool = False) -> Any:
    return SimpleNamespace(units=lambda learnt, seen: np.array(units, np.int64), positions=positions)


def seen() -> Activations:
    """Return what a model computes of five images: three neurons, and two maps of 2 x 2 positions.

    Of the neurons, 0, 1, 2, 1 and 1 are the most active, of the flat positions 1, 6, 5, 7 and 0.
    """
    neurons, maps = np.zeros((5, 3)), np.zeros((5, 8))
    neurons[np.arange(5), [0, 1, 2, 1, 1]] = 1
    maps[np.arange(5), [1, 6, 5, 7, 0]] = 1
    return activations(neurons, maps.reshape(5, 2, 2, 2))


def chosen(found: Activations, *criteria: Any) -> list[int]:
    pool = SeedPool(len(found), found, [(criterion, {}) for criterion in criteria])
    return sorted(PeakSeeds().order(pool, np.random.default_rng(1)))


def test_random_seeds_are_all_images_once() -> None:
    order = RandomSeeds().order(SeedPool(50, None, ()), np.random.default_rng(1))
    assert sorted(order) == list(range(50))
    assert list(order) != list(range(50))


def test_peak_seeds_have_a_selected_unit_as_the_most_active_of_its_layer() -> None:
    # Units 0 to 2 are dense; maps 3 and 4 have the flat places 0, 2, 4, 6 and 1, 3, 5, 7.
    assert chosen(seen(), watching(0)) == [0]
    assert chosen(seen(), watching(3)) == [1, 4]
    assert chosen(seen(), watching(4)) == [0, 2, 3]
    assert chosen(seen(), watching(2, 3)) == [1, 2, 4]
    assert chosen(seen(), watching()) == []


def test_peak_seeds_have_a_selected_position_as_the_most_active_of_its_layer() -> None:
    # Positions 0 to 2 are the neurons, 3 to 10 those of the maps.
    assert chosen(seen(), watching(0, positions=True)) == [0]
    assert chosen(seen(), watching(3 + 5, positions=True)) == [2]
    assert chosen(seen(), watching(3 + 0, 3 + 7, 2, positions=True)) == [2, 3, 4]
    assert chosen(seen(), watching(3 + 2, 3 + 3, positions=True)) == []
    # A criterion of units and one of positions are each read correctly.
    assert chosen(seen(), watching(3), watching(3 + 7, positions=True)) == [1, 3, 4]


def test_layers_with_all_units_selected_do_not_count() -> None:
    assert chosen(seen(), watching(3, 4)) == []
    assert chosen(seen(), watching(0, 3, 4)) == [0]
    assert chosen(seen(), watching(0, 1, 2, 3)) == [1, 4]
    assert chosen(seen(), watching(*range(3, 11), positions=True)) == []


def test_a_layer_that_is_off_has_no_most_active_unit() -> None:
    dark = activations(np.zeros((2, 3)), np.array([[0, 1], [0, 0]]))
    assert chosen(dark, watching(0, 3)) == []
    assert chosen(dark, watching(0, 4)) == [0]


@pytest.mark.parametrize("unit", ["map", "position"])
@pytest.mark.parametrize("distance", ["histogram", "indexed"])
def test_peak_seeds_of_knw_follow_the_definition(unit: Any, distance: Any) -> None:
    rng = np.random.default_rng(0)

    def drawn() -> Activations:
        return activations(rng.random((60, 2, 2, 3)), rng.random((60, 9)))

    found, strange = drawn(), drawn()
    criterion = KNW(unit=unit, distance=distance, max_units=3, min_inputs=1, zero_shot=Ref("other"))
    learnt = criterion.profile(ReferenceData(cast(Any, None), cast(Any, None), found, lambda ref: strange))
    units = set(criterion.units(learnt, found).tolist())
    expected = []
    for row in range(60):
        neuron = int(np.argmax(found.means[row, 3:12]))
        place = int(np.argmax(found.positions[row, :12]))  # type: ignore[index]
        # All three maps are watched; of the 12 positions, three are.
        if (neuron + (3 if unit == "map" else 12)) in units or (unit == "position" and place in units):
            expected.append(row)
    assert 0 < len(expected) < 60
    assert chosen_by(criterion, learnt, found) == expected


def chosen_by(criterion: Any, learnt: Any, found: Activations) -> list[int]:
    return sorted(PeakSeeds().order(SeedPool(len(found), found, [(criterion, learnt)]), np.random.default_rng(0)))


def test_peak_seeds_require_a_criterion_that_selects_units() -> None:
    faults = dict(unguided(guidance=(NC(), KMNC()), seeds=PeakSeeds()).check())
    assert faults["seeds"].startswith("peak seeds need a criterion that selects units (knw, idc), received nc, kmnc")
    assert "seeds" not in dict(unguided(guidance=(NC(), IDC()), seeds=PeakSeeds()).check())


def test_a_fuzzer_without_a_seed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NC, "units", lambda self, profile, like: np.zeros(0, np.int64))
    guided = unguided(guidance=(NC(threshold=0.5, layers=("mean",)),), seeds=PeakSeeds(), min_gain=1)
    with pytest.raises(StageError, match=r"none of the 2 images has a unit that the guidance selects .* use random"):
        fuzz(guided, grey(0.1, 0.9), brightness())
