"""Guidance: which inputs are admitted, one after another, by any or all of several criteria."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from temper.generators.fuzzing.guidance import Guidance, smallest_above
from temper.nn.adequacy.coverage import CellCoverage
from temper.nn.inspection.activations import Activations
from temper.nn.inspection.units import UnitLayer


def seen(*values: float) -> Activations:
    """Return activations of inputs with one unit that has these values."""
    n = len(values)
    layers = tuple(UnitLayer(name, 1, 1, 1) for name in ("unit", "logits", "softmax"))
    means = np.tile(np.array(values, np.float32)[:, None], (1, 3))
    flat = np.zeros((n, 3), np.float32)
    return Activations(layers, means, means > 0, flat, flat, flat.astype(np.int32), np.zeros((n, 1), np.float32))


def cells(first: int, last: int) -> CellCoverage:
    """Return coverage of ten cells, of which an input hits those from ``first`` to ``last`` after its value."""
    return CellCoverage(10, lambda s: s.means[:, :1].astype(np.int64) + np.arange(first, last + 1))


def test_each_input_is_evaluated_after_those_before_it() -> None:
    guidance = Guidance.of([cells(0, 1)], "any")
    admitted, gains = guidance.admit(seen(0, 1, 0, 3, 4))  # cells 01 12 01 34 45
    assert admitted.tolist() == [True, True, False, True, True]
    assert gains.tolist() == [[2, 1, 0, 2, 1]]
    assert guidance.values == (6 / 10,)


def test_rejected_inputs_cover_nothing() -> None:
    guidance = Guidance(Guidance.of([cells(0, 1)], "any").coverages, "any", (2,))
    admitted, gains = guidance.admit(seen(0, 1, 2))  # 1 adds only one cell to 01, so that 2 still adds two
    assert admitted.tolist() == [True, False, True]
    assert gains.tolist() == [[2, 1, 2]]


@pytest.mark.parametrize(("rule", "expected"), [("any", [True, True, False]), ("all", [True, False, False])])
def test_any_or_all_of_the_criteria_must_increase(rule: Literal["any", "all"], expected: list[bool]) -> None:
    guidance = Guidance.of([cells(0, 0), cells(0, 3)], rule)
    second = guidance.coverages[1]
    second.update(seen(2))  # cells 2 to 5
    guidance.coverages[0].update(seen(5))
    admitted, _ = guidance.admit(seen(1, 2, 5))  # the second: new cells of 1: 1; of 2: none; of 5: 6, 7, 8
    assert admitted.tolist()[:2] == expected[:2]
    assert admitted.tolist()[2] is (rule == "any")


def test_without_criteria_everything_is_admitted() -> None:
    admitted, gains = Guidance.of([], "all").admit(seen(0, 0))
    assert admitted.all()
    assert gains.shape == (0, 2)


def test_a_separate_state_does_not_change_the_first() -> None:
    guidance = Guidance.of([cells(0, 0)], "any")
    rows = guidance.separate().first(seen(3, 3, 4, 5), np.array([1, 0, 2, 3]), most=2)
    assert rows.tolist() == [1, 2]
    assert guidance.values == (0,)


def test_the_least_gain_is_above_a_quantile() -> None:
    assert smallest_above(np.array([[0, 0, 0, 4], [1, 2, 3, 4]]), 0.5) == (1, 3)
