"""Table cells: mean, sample standard deviation, interval, and formatting."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.core.display_names import label
from temper.engine.tables.cells import NOT_MEASURED, Cell, missing, number, span, with_unit


def rows(*values: float, unit: str = "proportion", n: int = 100) -> list[dict[str, Any]]:
    return [
        {"metric": "m", "unit": unit, "higher_is_better": True, "value": v, "lower": v - 0.1, "upper": v + 0.1, "n": n}
        for v in values
    ]


def test_mean_and_sample_sd() -> None:
    cell = Cell.of(rows(0.5, 0.7, 0.9), ())
    assert cell.mean == pytest.approx(0.7)
    assert cell.sd == pytest.approx(0.2)  # ddof 1: sqrt((0.04 + 0 + 0.04) / 2)
    assert cell.text("mean ± sd", percent=True) == "70.00 ± 20.00"
    assert cell.text("mean ± sd", percent=False) == "0.7000 ± 0.2000"
    assert cell.text("mean", percent=True) == "70.00"
    assert cell.text("n", percent=True) == "100"


def test_single_run_has_no_sd_and_its_own_interval() -> None:
    cell = Cell.of(rows(0.5), ())
    assert cell.sd is None
    assert cell.text("mean ± sd", percent=True) == "50.00"
    assert cell.text("mean [lower, upper]", percent=True) == "50.00 [40.00, 60.00]"


def test_several_runs_have_students_interval_clipped_for_proportions() -> None:
    # t(0.975; 2) = 4.30265: half width 4.30265 * 0.01 / sqrt(3)
    cell = Cell.of([row | {"lower": None, "upper": None} for row in rows(0.98, 0.99, 1.0)], ())
    assert cell.interval == pytest.approx((0.99 - 4.30265 * 0.01 / math.sqrt(3), 1.0), abs=1e-6)


def test_interval_of_agreeing_runs_is_not_narrower_than_their_own() -> None:
    assert Cell.of(rows(0.5, 0.5, 0.5), ()).interval == pytest.approx((0.4, 0.6))
    assert Cell.of(rows(0.1, 0.5, 0.9), ()).interval == pytest.approx((0.0, 1.0))


def test_metric_label_contains_its_unit_once() -> None:
    assert with_unit("accuracy", "proportion", percent=True) == "accuracy (%)"
    assert with_unit("accuracy", "proportion", percent=False) == "accuracy"
    assert with_unit("time", "seconds", percent=True) == "time (s)"
    assert with_unit("cpu_seconds", "seconds", percent=True) == "cpu_seconds"
    assert with_unit("peak_memory", "MiB", percent=True) == "peak_memory (MiB)"
    assert with_unit("kept", "count", percent=True) == "kept"


def test_run_without_an_interval_shows_none() -> None:
    (row,) = rows(3.0, unit="seconds")
    cell = Cell.of([row | {"lower": None, "upper": math.nan}], ())
    assert cell.interval is None
    assert cell.text("mean [lower, upper]", percent=True) == "3"


def test_missing_cells_and_partly_finished_seeds() -> None:
    assert Cell.of([], ()).text("mean", percent=True) == NOT_MEASURED
    assert Cell.of([], ["pending", "failed: x", "pending"]).text("mean", percent=True) == "pending; failed: x"
    assert Cell.of(rows(0.5, 0.7), ["pending"]).text("mean", percent=True) == "60.00 (2 of 3 seeds)"


def test_quoted_number_has_no_spread() -> None:
    cell = Cell.of([{**row, "n": 0} for row in rows(0.5, 0.5)], ())
    assert cell.text("mean ± sd", percent=True) == "50.00"
    assert cell.text("mean [lower, upper]", percent=True) == "50.00"


def test_number_over_no_items_is_undefined() -> None:
    cell = Cell.of(rows(math.nan, math.nan), ())
    assert cell.text("mean", percent=True) == "undefined"
    assert cell.interval is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.031372, "0.03137"), (1.5, "1.500"), (123.456, "123.5"), (41234.5, "41234"), (12.0, "12"), (0.0, "0")],
)
def test_other_units_have_four_significant_digits(value: float, text: str) -> None:
    assert Cell.of(rows(value, unit="pixels"), ()).text("mean", percent=True) == text


def test_numbers() -> None:
    assert number(-0.00001, 2) == "0.00"
    assert number(math.inf, 2) == "∞"
    assert number(-math.inf, 2) == "-∞"
    assert span([10, 10]) == "10"
    assert span([1135, 980]) == "980–1135"
    assert span([1135, 980], ",") == "980–1,135"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (8 / 255, "8/255"),
        (0.5, "0.5"),
        (20.0, "20"),
        (3, "3"),
        ("pgd", "pgd"),
        (None, ""),
        (1e-4, "0.0001"),
    ],
)
def test_labels(value: Any, text: str) -> None:
    assert label(value) == text


@given(st.floats(min_value=1e-6, max_value=1e6), st.floats(min_value=1e-6, max_value=1e6))
def test_different_short_axis_values_have_different_labels(a: float, b: float) -> None:
    a, b = round(a, 4), round(b, 4)
    assert (label(a) == label(b)) == (a == b)


def test_missing_values() -> None:
    assert all(map(missing, (None, "", math.nan)))
    assert not any(map(missing, (0, 0.0, False, "a", " ")))


def test_undefined_runs_are_excluded_and_counted() -> None:
    cell = Cell.of(rows(0.0, math.nan, 0.0, math.nan), ["pending", "failed: x"])
    assert cell.text("mean ± sd", percent=True) == "0.00 ± 0.00 (2 of 6 seeds)"
    assert cell.text("mean", percent=True) == "0.00 (2 of 6 seeds)"
    assert cell.text("n", percent=True) == "100 (2 of 6 seeds)"
    assert cell.reasons == ("pending", "failed: x", "undefined", "undefined")
    assert (cell.mean, cell.sd) == (0.0, 0.0)
    assert Cell.of(rows(math.nan, math.nan), ()).text("mean ± sd", percent=True) == "undefined"
