"""Comparison with published numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from temper.core.report_spec import ExpectedSpec
from temper.engine.tables.expected_values import COLUMNS, ExpectedOutcome, compare, records, verdict
from temper.engine.tables.matrix import Matrix
from temper.engine.tables.pivot import build
from temper.system import csv_files
from tests.engine.report.demo import TABLE, demo_expected, demo_experiment, demo_holes, demo_rows

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def matrices() -> dict[str, Matrix]:
    return {"table_2": build(TABLE, demo_rows(), demo_holes(), demo_experiment())}


def spec(**changes: Any) -> ExpectedSpec:
    base: dict[str, Any] = {
        "table": "table_2",
        "row": "mlp",
        "column": {"examples": "pgd", "eps": 0.1},
        "value": 28.9,
        "tolerance": 0.5,
    }
    return ExpectedSpec(**(base | changes))


def test_golden_csv_and_verdict(matrices: dict[str, Matrix]) -> None:
    outcomes = [compare(expected, matrices) for expected in demo_expected()]
    golden = (GOLDEN / "expected.csv").read_text(encoding="utf-8")
    assert csv_files.text([list(COLUMNS), *records(outcomes)]) == golden
    assert verdict(outcomes) == "3 of 5 cells reproduced (1 missed, 1 missing)"
    assert verdict(outcomes[:3]) == "3 of 3 cells reproduced"
    assert verdict([]) == ""


@pytest.mark.parametrize(
    ("value", "expected"), [(29.4, "reproduced"), (29.41, "missed"), (28.4, "reproduced"), (28.39, "missed")]
)
def test_tolerance_is_inclusive_on_both_sides(matrices: dict[str, Matrix], value: float, expected: str) -> None:
    assert compare(spec(value=value), matrices).verdict == expected


def test_our_number_is_in_the_units_of_the_table(matrices: dict[str, Matrix]) -> None:
    plain = {"table_2": replace(matrices["table_2"], spec=replace(TABLE, percent=False))}
    assert compare(spec(), matrices).ours == pytest.approx(28.9)
    assert compare(spec(), plain).ours == pytest.approx(0.289)


def test_number_that_represents_a_whole_axis_is_one_match(matrices: dict[str, Matrix]) -> None:
    assert compare(spec(column="mnist", value=96.56), matrices).ours == pytest.approx(96.56)


def test_axis_value_matches_a_column_that_does_not_depend_on_it() -> None:
    matrix = build(TABLE, [row for row in demo_rows() if row["model"] == "mlp"], (), demo_experiment())
    assert ("mnist", None) in matrix.columns
    assert compare(spec(column={"examples": "mnist", "eps": 0.1}), {"table_2": matrix}).ours == pytest.approx(96.56)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"column": "pgd"}, "3 cells match; specify more of its row and column"),
        ({"row": "vgg"}, "no such cell"),
        ({"column": {"depth": 3}}, "no such cell"),
        ({"table": "table_9"}, "the table could not be built"),
        ({"row": "pgd_robust", "column": {"examples": "dgn_susp", "eps": 0.3}}, "failed: out of memory at 14.2 GB"),
    ],
)
def test_missing_cell_has_a_reason(matrices: dict[str, Matrix], changes: dict[str, Any], reason: str) -> None:
    outcome = compare(spec(**changes), matrices)
    assert (outcome.verdict, outcome.reason, outcome.ours) == ("missing", reason, None)


def test_undefined_number_is_missing() -> None:
    assert ExpectedOutcome(spec=spec(), row="a", column="b").verdict == "missing"
