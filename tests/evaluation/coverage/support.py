"""Activations worked by hand, and what holds of every coverage."""

from __future__ import annotations

import math
from copy import deepcopy
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from hypothesis import settings
from numpy.typing import NDArray

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.nn.adequacy.coverage import Coverage, Criterion
from temper.nn.adequacy.reference_data import ReferenceData
from temper.nn.inspection.activations import SOFTMAX, Activations
from temper.nn.inspection.units import UnitLayer

PATIENT = settings(deadline=None, max_examples=50)
"""For properties on a machine that others use, too."""


def activations(*layers: Any, logits: Any = None) -> Activations:
    """Return activations of hidden layers given as values (n, units) or (n, height, width, units).

    The layers are called ``a``, ``b``, ..., the logits ``logits``; without any, they are 0 for two classes.
    """
    hidden = [np.asarray(layer, np.float32) for layer in layers]
    end = np.zeros((len(hidden[0]), 2), np.float32) if logits is None else np.asarray(logits, np.float32)
    odds = np.exp(end - end.max(axis=1, keepdims=True))
    values = [*hidden, end, odds / odds.sum(axis=1, keepdims=True)]
    names = [*(chr(ord("a") + i) for i in range(len(hidden))), "logits", SOFTMAX]
    flat = [v.reshape(len(v), math.prod(v.shape[1:])) for v in values]
    return Activations(
        layers=tuple(_layer(name, v) for name, v in zip(names, values, strict=True)),
        means=np.concatenate([v if v.ndim == 2 else v.mean(axis=(1, 2)) for v in values], axis=1),
        positive=np.concatenate([(v if v.ndim == 2 else v.max(axis=(1, 2))) > 0 for v in values], axis=1),
        low=np.stack([v.min(axis=1) for v in flat], axis=1),
        high=np.stack([v.max(axis=1) for v in flat], axis=1),
        peak=np.stack([v.argmax(axis=1) for v in flat], axis=1).astype(np.int32),
        logits=end,
        positions=np.concatenate(flat, axis=1),
    )


def _layer(name: str, values: NDArray[np.float32]) -> UnitLayer:
    height, width = values.shape[1:3] if values.ndim == 4 else (1, 1)
    return UnitLayer(name, values.shape[-1], height, width)


def drawn(seed: int, n: int, *units: int) -> Activations:
    """Return activations of dense layers whose values are few, so that ties are frequent, and often 0.

    The first two of several images are predicted to be of different classes, without which there is no DSA.
    """
    rng = np.random.default_rng(seed)
    hidden = [np.maximum(rng.integers(-2, 4, (n, count)) / 4, 0) for count in units]
    logits = rng.integers(-2, 3, (n, 3))
    logits[:2, :2] = 4 * np.eye(2, dtype=np.int64)[: len(logits)]
    return activations(*hidden, logits=logits)


def hold(empty: Coverage, first: Activations, second: Activations) -> None:
    """Check what holds of every coverage, of two sets of inputs one after the other.

    ``empty`` has seen nothing and goes on so.
    """
    assert empty.covered == 0
    before = _after(empty, first)
    assert before.covered == empty.sequential_gain(first).sum() <= before.total
    state = before.state()
    alone, growth = before.gain(second), before.sequential_gain(second)
    order = before.additional_order(second)
    assert _same(before.state(), state)
    both = _after(before, second)
    # What is covered grows by what the inputs add one after the other, the first of them as much as alone.
    assert both.covered == before.covered + growth.sum()
    assert growth.shape == alone.shape == (len(second),)
    assert (growth >= 0).all()
    assert not len(second) or growth[0] == alone[0]
    assert not both.gain(second).any()
    # Who is asked in another order is told the same.
    shuffled = np.random.default_rng(0).permutation(len(second))
    np.testing.assert_array_equal(before.gain(second.take(shuffled)), alone[shuffled])
    assert _after(before, second.take(shuffled)).value == both.value
    np.testing.assert_array_equal(order, naive_order(before, second))
    # Saved and taken up again.
    taken_up = _after(empty).restore(state)
    assert (taken_up.value, taken_up.remarks) == (before.value, before.remarks)
    np.testing.assert_array_equal(taken_up.gain(second), alone)


def naive_order(coverage: Coverage, seen: Activations) -> NDArray[np.int64]:
    grown, order, left = _after(coverage), [], list(range(len(seen)))
    while left:
        gains = [int(grown.gain(seen.take(np.array([i])))[0]) for i in left]
        if max(gains) == 0:
            break
        best = left.pop(int(np.argmax(gains)))
        grown.update(seen.take(np.array([best])))
        order.append(best)
    return np.array(order + left, np.int64)


def _after(coverage: Coverage, *sets: Activations) -> Coverage:
    grown = deepcopy(coverage)
    for seen in sets:
        grown.update(seen)
    return grown


def _same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def reference(seen: Activations) -> ReferenceData:
    """Return activations as those of training images of which nothing else is known."""
    return ReferenceData(cast("Classifier", None), cast("Examples", SimpleNamespace(info={})), seen, lambda ref: seen)


def covering(criterion: Criterion, seen: Activations) -> Coverage:
    """Return the coverage by a criterion that has learnt from these activations, of no input yet."""
    return criterion.coverage(criterion.profile(reference(seen)), seen)


def hit(coverage: Coverage, seen: Activations) -> tuple[int, int]:
    """Return how much inputs cover, and of how much."""
    grown = _after(coverage, seen)
    return grown.covered, grown.total
