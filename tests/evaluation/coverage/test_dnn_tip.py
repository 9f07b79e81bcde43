"""Criteria of DeepGauge and DeepXplore against dnn-tip, input by input, where both say the same: no values on bounds, no ties."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
from dnn_tip import neuron_coverage as theirs
from dnn_tip.prioritizers import cam

from temper.evaluation.coverage.boundary import NBC, SNAC
from temper.evaluation.coverage.kmnc import KMNC
from temper.evaluation.coverage.nc import NC
from temper.evaluation.coverage.tknc import TKNC
from temper.nn.adequacy.coverage import Criterion
from tests.evaluation.coverage.support import activations, covering

SIZES = [(40, (3,)), (25, (5, 8)), (60, (4, 1, 6))]


def covered(criterion: Criterion, train: list[Any], tests: list[Any]) -> list[int]:
    """Return how many things each input alone covers."""
    names = tuple("abc"[: len(train)])
    criterion = type(criterion)(**{**vars(criterion), "layers": names})
    return covering(criterion, activations(*train)).gain(activations(*tests)).tolist()


def drawn(n: int, units: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(n)
    return tuple([rng.normal(size=(n, size), scale=scale).astype(np.float32) for size in units] for scale in (1, 1.5))  # type: ignore[return-value]


def profile(train: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    layers = [layer.astype(np.float64) for layer in train]
    return [x.min(axis=0) for x in layers], [x.max(axis=0) for x in layers], [x.std(axis=0) for x in layers]


@pytest.mark.parametrize(("n", "units"), SIZES)
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_boundaries(n: int, units: tuple[int, ...], sigma: float) -> None:
    train, tests = drawn(n, units)
    low, high, spread = profile(train)
    assert covered(NBC(sigma=sigma), train, tests) == theirs.NBC(low, high, spread, sigma)(tests)[0].tolist()
    assert covered(SNAC(sigma=sigma), train, tests) == theirs.SNAC(high, spread, sigma)(tests)[0].tolist()


@pytest.mark.parametrize(("n", "units"), SIZES)
@pytest.mark.parametrize("k", [1, 7, 100])
def test_sections(n: int, units: tuple[int, ...], k: int) -> None:
    train, tests = drawn(n, units)
    low, high, _ = profile(train)
    assert covered(KMNC(k=k), train, tests) == theirs.KMNC(low, high, k)(tests)[0].tolist()


@pytest.mark.parametrize(("n", "units"), SIZES)
@pytest.mark.parametrize("k", [1, 2, 9])
def test_most_active(n: int, units: tuple[int, ...], k: int) -> None:
    train, tests = drawn(n, units)
    ours = covering(TKNC(k=k, layers=tuple("abc"[: len(units)])), activations(*train))
    scores, profiles = theirs.TKNC(k)(tests)
    assert ours.gain(activations(*tests)).tolist() == scores.tolist()
    ours.update(activations(*tests))
    assert ours.covered == profiles.any(axis=0).sum()


@pytest.mark.parametrize(("n", "units"), SIZES)
@pytest.mark.parametrize("threshold", [0.2, 0.75])
def test_activation(n: int, units: tuple[int, ...], threshold: float) -> None:
    _, tests = drawn(n, units)
    with np.errstate(invalid="ignore"):
        scaled = [(x - x.min(axis=1, keepdims=True)) / np.ptp(x, axis=1, keepdims=True) for x in np.float64(tests[:1])]
    expected = theirs.NAC(threshold)([np.nan_to_num(x) for x in scaled])[0]
    assert covered(NC(threshold=threshold), tests[:1], tests[:1]) == expected.tolist()


@pytest.mark.parametrize(("n", "units"), SIZES)
@pytest.mark.parametrize("k", [3, 20])
def test_additional_order(n: int, units: tuple[int, ...], k: int) -> None:
    train, tests = drawn(n, units)
    ours = covering(KMNC(k=k, layers=tuple("abc"[: len(units)])), activations(*train))
    order = ours.additional_order(activations(*tests)).tolist()
    low, high, _ = profile(train)
    scores, profiles = theirs.KMNC(low, high, k)(tests)
    gains = []
    for input_ in order:
        gains.append(int(ours.gain(activations(*tests))[input_]))
        ours.update(activations(*tests).take(np.array([input_])))
    useful = gains.index(0)
    assert useful > 2
    # Once nothing is left to cover, theirs go on by what each covers, ours in their order.
    assert order[:useful] == [int(i) for i in islice(cam(scores, profiles.copy()), useful)]
