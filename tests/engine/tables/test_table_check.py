"""Problems of tables and expected values that are found before anything runs."""

from dataclasses import replace

import pytest

from temper.core.component import Plain
from temper.core.report_spec import ExpectedSpec
from temper.engine.tables.table_check import expected_faults, table_faults
from tests.engine.report.demo import BY_EPS, EPS, TABLE, demo_expected

VARIES: dict[str, list[Plain]] = {
    "model": ["mlp", "fgsm_robust", "pgd_robust"],
    "examples": ["mnist", "fgsm", "pgd", "dgn_susp"],
    "metric": ["accuracy", "zero_gradients"],
    "eps": list(EPS),
}


def test_table_that_places_every_axis_has_no_problem() -> None:
    assert table_faults(TABLE, VARIES) == []
    assert table_faults(BY_EPS, VARIES) == []


def test_unknown_name_gets_a_suggestion() -> None:
    faults = table_faults(replace(TABLE, rows=("modle",)), VARIES)
    assert faults == ["rows: 'modle' is not a column of the results of 'robustness'; did you mean 'model'?"]


def test_unplaced_axis_gets_advice() -> None:
    assert table_faults(replace(TABLE, columns=("examples",)), VARIES) == [
        "eps: 'robustness' varies over eps (0.1, 0.2, 0.3), which is in neither rows nor columns; "
        "put eps in one of them, or fix it with where: {eps: 0.1}"
    ]


@pytest.mark.parametrize("where", [{"eps": 0.2}, {"eps": (0.2,)}])
def test_where_fixes_an_axis(where: dict[str, Plain]) -> None:
    assert table_faults(replace(TABLE, columns=("examples",), where=where), VARIES) == []


def test_where_with_two_values_does_not_fix_an_axis() -> None:
    (fault,) = table_faults(replace(TABLE, columns=("examples",), where={"eps": (0.1, 0.2)}), VARIES)
    assert fault.startswith("eps: 'robustness' varies over eps (0.1, 0.2)")


def test_against_must_be_a_metric() -> None:
    assert table_faults(replace(TABLE, against="zero_gradients"), VARIES) == []
    (fault,) = table_faults(replace(TABLE, against="zero_gradient"), VARIES)
    assert fault == "against: 'zero_gradient' is no metric of 'robustness'; did you mean 'zero_gradients'?"


def test_where_must_name_an_existing_value() -> None:
    (fault,) = table_faults(replace(TABLE, where={"examples": "fsgm"}), VARIES)
    assert fault == (
        "where.examples: 'fsgm' is not one of the values of 'robustness' (mnist, fgsm, pgd, dgn_susp); "
        "did you mean 'fgsm'?"
    )


def test_metric_must_be_fixed_or_a_level() -> None:
    (fault,) = table_faults(replace(TABLE, metric="acuracy"), VARIES)
    assert fault.startswith("metric: 'acuracy' is not one of")
    assert fault.endswith("did you mean 'accuracy'?")
    (fault,) = table_faults(replace(TABLE, metric=None), VARIES)
    assert "varies over metric" in fault
    assert fault.endswith("or name one under metric:")
    without = {level: values for level, values in VARIES.items() if level != "metric"}
    assert table_faults(replace(TABLE, metric=None), without) == [
        "metric: missing; name one, or put metric in rows or columns"
    ]
    assert table_faults(replace(TABLE, metric=None, rows=("model", "metric")), VARIES) == []


def test_empty_sides_and_repeated_names() -> None:
    faults = table_faults(replace(TABLE, rows=(), columns=("model", "examples", "eps", "model")), VARIES)
    assert faults[0].startswith("rows: empty; name at least one of model, examples")
    assert faults[1] == "rows and columns: 'model' stands there 2 times; keep one"


def test_seeds_need_not_be_placed() -> None:
    assert table_faults(TABLE, VARIES | {"seed": [1, 2, 3]}) == []


def test_expected_values_of_the_demo_have_no_problem() -> None:
    assert [expected_faults(spec, {"table_2": TABLE}, VARIES) for spec in demo_expected()] == [[]] * 5


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        (
            ExpectedSpec(table="table_3", row="mlp", column="mnist", value=1, tolerance=1),
            "table: there is no table 'table_3'; did you mean 'table_2'?",
        ),
        (
            ExpectedSpec(table="table_2", row="mpl", column="mnist", value=1, tolerance=1),
            "row.model: 'mpl' is not one of mlp, fgsm_robust, pgd_robust; did you mean 'mlp'?",
        ),
        (
            ExpectedSpec(table="table_2", row="mlp", column={"example": "mnist"}, value=1, tolerance=1),
            "column: 'example' is not a level of table 'table_2'; did you mean 'examples'?",
        ),
        (
            ExpectedSpec(table="table_2", row="mlp", column="mnist", value=1, tolerance=-1),
            "tolerance: expected a number of at least 0, received -1",
        ),
    ],
)
def test_problems_of_expected_values(spec: ExpectedSpec, fault: str) -> None:
    assert expected_faults(spec, {"table_2": TABLE}, VARIES) == [fault]


def test_radar_needs_three_spokes() -> None:
    radar = replace(TABLE, rows=("eps", "model"), columns=("examples",), figure="radar")
    assert table_faults(radar, VARIES) == []
    assert table_faults(replace(radar, where={"examples": ("mnist", "pgd")}), VARIES) == [
        "figure: a radar has a spoke for each column and takes 3, received 2; take bars"
    ]
