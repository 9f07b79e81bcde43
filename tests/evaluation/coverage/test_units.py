"""Criteria that count units one by one, on tables worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.errors import StageError
from temper.evaluation.coverage.boundary import NBC, SNAC
from temper.evaluation.coverage.kmnc import KMNC
from temper.evaluation.coverage.nc import NC
from temper.evaluation.coverage.tknc import TKNC
from temper.nn.inspection.activations import SOFTMAX
from tests.evaluation.coverage.support import activations, covering, hit

HIDDEN: dict[str, Any] = {"layers": ("a", "b")}


def test_nc_scales_each_layer_of_each_image() -> None:
    #                        scaled: 0, 0.5, 1                  0, 0.8, 1
    seen = activations([[0, 1, 2], [0, 4, 5]], [[1, 1, 1], [7, 8, 9]])
    #                                               constant: 0      0, 0.5, 1
    coverage = covering(NC(**HIDDEN, threshold=0.5), seen)
    assert coverage.gain(seen).tolist() == [1, 3]
    assert hit(coverage, seen) == (3, 6)
    assert covering(NC(**HIDDEN, threshold=0.8), seen).gain(seen).tolist() == [1, 2]


def test_nc_scales_the_layer_before_it_takes_a_maps_mean() -> None:
    maps = np.zeros((1, 1, 2, 2))
    maps[0, 0] = [[10, 4], [0, 4]]  # two positions of two maps, whose means are 5 and 4: 0.5 and 0.4 of the range
    seen = activations(maps)
    assert covering(NC(layers=("a",), threshold=0.45), seen).gain(seen).tolist() == [1]
    assert covering(NC(layers=("a",), threshold=0.5), seen).gain(seen).tolist() == [0]


def test_the_softmax_counts_and_the_logits_do_not() -> None:
    seen = activations([[0, 1]], logits=[[3, 1, 0]])
    assert hit(covering(NC(), seen), seen) == (2, 5)
    assert hit(covering(NC(layers=("a", "logits", SOFTMAX)), seen), seen) == (3, 8)


def test_kmnc_parts_the_interval_and_keeps_both_ends() -> None:
    train = activations([[0, 5, -1], [4, 5, 1]])
    coverage = covering(KMNC(layers=("a",), k=4), train)
    #            section of unit a: 0, 1, 3 (the end), none, none; of c: 0, 2, 3, none, 1; b is constant
    tests = activations([[0, 5, -1], [1, 5, 0], [4, 9, 1], [4.5, 0, 1.5], [-0.5, 5, -0.25]])
    assert coverage.gain(tests).tolist() == [2, 2, 2, 0, 1]
    assert hit(coverage, tests) == (7, 8)
    assert coverage.remarks == ("1 of 3 units excluded, which are constant on the training images",)


def test_kmnc_of_training_images_holds_their_bounds() -> None:
    rng = np.random.default_rng(0)
    train = activations(rng.random((50, 6)) * 10 - 5)
    coverage = covering(KMNC(layers=("a",)), train)
    assert coverage.gain(train).tolist() == [6] * 50


@pytest.mark.parametrize(("top", "k"), [(98, 2), (49, 7), (103, 103), (1000, 1000)])
def test_kmnc_puts_a_bound_of_two_sections_into_the_upper_one(top: int, k: int) -> None:
    coverage = covering(KMNC(layers=("a",), k=k), activations([[0], [top]]))
    bounds = np.arange(k)[:, None] * (top // k)
    assert (coverage.sequential_gain(activations(bounds)) == 1).all()


def test_values_beyond_the_bounds() -> None:
    train = activations([[0, 1], [2, 1]])
    tests = activations([[0, 1], [2.1, 0.9], [-0.1, 1.1], [3, 1]])
    assert covering(NBC(layers=("a",)), train).gain(tests).tolist() == [0, 2, 2, 1]
    assert hit(covering(NBC(layers=("a",)), train), tests) == (4, 4)
    assert covering(SNAC(layers=("a",)), train).gain(tests).tolist() == [0, 1, 1, 1]
    assert hit(covering(SNAC(layers=("a",)), train), tests) == (2, 2)


def test_beyond_a_bound_is_beyond_it_by_the_least_number() -> None:
    train = activations([[0], [1]])
    tests = activations([[1 + 2**-23], [-(2**-24)], [1 + 2**-19], [0], [1]])
    assert covering(NBC(layers=("a",)), train).gain(tests).tolist() == [1, 1, 1, 0, 0]
    assert covering(SNAC(layers=("a",)), train).gain(tests).tolist() == [1, 0, 1, 0, 0]


def test_a_tolerance_passes_over_rounding() -> None:
    train = activations([[0], [1]])
    tests = activations([[1 + 2**-23], [-(2**-24)], [1 + 2**-19], [-(2**-19)]])
    assert covering(NBC(layers=("a",), tolerance=1e-6), train).gain(tests).tolist() == [0, 0, 1, 1]
    assert covering(SNAC(layers=("a",), tolerance=1e-6), train).gain(tests).tolist() == [0, 0, 1, 0]


def test_sigma_moves_the_bounds_outwards() -> None:
    train = activations([[0], [2]])  # standard deviation 1
    tests = activations([[2.4], [-0.4], [2.6], [-0.6]])
    assert covering(NBC(layers=("a",), sigma=0.5), train).gain(tests).tolist() == [0, 0, 1, 1]
    assert covering(SNAC(layers=("a",), sigma=0.5), train).gain(tests).tolist() == [0, 0, 1, 0]
    sections = covering(KMNC(layers=("a",), sigma=0.5, k=3), train)  # of [-0.5, 2.5]
    assert sections.gain(tests).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("criterion", [KMNC(), NBC(), SNAC()])
def test_bounds_need_training_images(criterion: Any) -> None:
    with pytest.raises(StageError, match="training images"):
        covering(criterion, activations(np.zeros((0, 2))))


def test_tknc_takes_the_first_of_equals() -> None:
    seen = activations([[1, 3, 2, 3], [0, 0, 0, 0], [9, 8, 0, 0]], [[1, 2], [2, 1], [1, 2]])
    coverage = covering(TKNC(**HIDDEN, k=2), seen)
    # Units 1 and 3, 0 and 1, 0 and 1 of the first layer, both of the second.
    assert coverage.gain(seen).tolist() == [4, 4, 4]
    assert coverage.sequential_gain(seen).tolist() == [4, 1, 0]
    assert hit(coverage, seen) == (5, 6)


def test_patterns_are_sequences_of_the_most_active() -> None:
    seen = activations([[1, 3, 2], [1, 2, 3], [5, 9, 8], [0, 9, 8]])
    coverage = covering(TKNC(layers=("a",), k=2), seen)
    coverage.update(seen)
    assert coverage.remarks == ("2 patterns",)
    coverage.update(activations([[3, 2, 1]]))
    assert coverage.remarks == ("3 patterns",)
