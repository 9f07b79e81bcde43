"""Coverage of cells against tables worked by hand and against reference loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.nn.adequacy.coverage import NO_CELL, CellCoverage, Counts
from temper.nn.inspection import activations as module
from temper.nn.inspection.activations import Activations
from tests.evaluation.coverage.support import PATIENT, activations, drawn, hold, naive_order

CELLS = 12


def cells_of(seen: Activations) -> Counts:
    """Return a cell for every unit that is not 0: which one depends on its value."""
    values = (seen.means[:, seen.units(["a"])] * 4).astype(np.int64)
    return np.where(values > 0, np.arange(4) * 3 + values - 1, NO_CELL)


@pytest.fixture
def table() -> Activations:
    """Five inputs that hit the cells [0, 3], [0], [], [3, 8, 11] and [0, 4]."""
    rows = [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 3, 3], [1, 2, 0, 0]]
    return activations(np.array(rows) / 4)


def test_gains(table: Activations) -> None:
    coverage = CellCoverage(CELLS, cells_of)
    assert coverage.gain(table).tolist() == [2, 1, 0, 3, 2]
    assert coverage.sequential_gain(table).tolist() == [2, 0, 0, 2, 1]
    assert coverage.additional_order(table).tolist() == [3, 4, 0, 1, 2]
    assert (coverage.covered, coverage.value) == (0, 0.0)
    coverage.update(table.take(slice(0, 2)))
    assert coverage.value == 2 / 12
    assert coverage.gain(table).tolist() == [0, 0, 0, 2, 1]
    coverage.update(table)
    assert coverage.value == 5 / 12


def test_what_cannot_be_covered_does_not_count(table: Activations) -> None:
    coverage = CellCoverage(CELLS, cells_of, impossible=4)
    coverage.update(table)
    assert (coverage.covered, coverage.total, coverage.value) == (5, 8, 5 / 8)
    assert np.isnan(CellCoverage(3, cells_of, impossible=3).value)


def test_no_inputs_add_nothing(table: Activations) -> None:
    coverage, nobody = CellCoverage(CELLS, cells_of), table.take(slice(0, 0))
    coverage.update(nobody)
    assert coverage.covered == 0
    for found in (coverage.gain(nobody), coverage.sequential_gain(nobody), coverage.additional_order(nobody)):
        assert found.shape == (0,)


@PATIENT
@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(0, 9))
def test_invariants_of_coverage_hold(seed: int, n: int, m: int) -> None:
    hold(CellCoverage(CELLS, cells_of), drawn(seed, n, 4), drawn(seed + 1, m, 4))


@PATIENT
@given(st.integers(0, 2**32 - 1))
def test_the_block_size_does_not_change_results(seed: int) -> None:
    seen = drawn(seed, 9, 4)
    coverage = CellCoverage(CELLS, cells_of)
    whole = coverage.gain(seen), coverage.sequential_gain(seen), coverage.additional_order(seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 25)
        assert [len(block) for block in seen.blocks()] == [2, 2, 2, 2, 1]
        parts = coverage.gain(seen), coverage.sequential_gain(seen), coverage.additional_order(seen)
    for one, two in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, two)


@PATIENT
@given(st.integers(0, 2**32 - 1))
def test_additional_order_is_greedy(seed: int) -> None:
    seen, coverage = drawn(seed, 12, 4), CellCoverage(CELLS, cells_of)
    order = coverage.additional_order(seen)
    np.testing.assert_array_equal(order, naive_order(coverage, seen))
    gains = coverage.sequential_gain(seen.take(order))
    assert (np.diff(gains) <= 0).all()
