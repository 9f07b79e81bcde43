"""The pivot: order, axes that a row does not depend on, missing cells, groups, best cells."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from temper.core.report_spec import ReportedExperiment, TableSpec
from temper.engine.tables.matrix import Matrix
from temper.engine.tables.pivot import TableError, build
from temper.system import csv_files
from tests.engine.report.demo import BY_EPS, EPS, TABLE, demo_experiment, demo_holes, demo_rows, row

GOLDEN = Path(__file__).parent / "golden"
PLAIN = ReportedExperiment(name="x", axes={"eps": EPS, "depth": (1, 2)})


def table(
    spec: TableSpec, *rows: dict[str, Any], holes: Any = (), experiment: ReportedExperiment = PLAIN
) -> list[list[str]]:
    return build(spec, rows, holes, experiment).grid()


def demo(spec: TableSpec) -> Matrix:
    return build(spec, demo_rows(), demo_holes(), demo_experiment())


@pytest.mark.parametrize("spec", [TABLE, BY_EPS], ids=lambda spec: spec.name)
def test_golden_csv(spec: TableSpec) -> None:
    assert csv_files.text(demo(spec).grid()) == (GOLDEN / f"{spec.name}.csv").read_text(encoding="utf-8")


def test_pandas_reads_the_csv_with_its_two_header_rows() -> None:
    read = pd.read_csv(GOLDEN / "table_2.csv", header=[0, 1], index_col=0)
    assert list(read.index) == ["mlp", "fgsm_robust", "pgd_robust"]
    assert read.loc["pgd_robust", ("pgd", "0.3")] == "92.17 ± 0.21"


def test_declared_order_is_independent_of_the_row_order() -> None:
    shuffled = random.Random(0).sample(demo_rows(), len(demo_rows()))
    assert build(TABLE, shuffled, demo_holes()[::-1], demo_experiment()).grid() == demo(TABLE).grid()


def test_undeclared_labels_keep_the_order_of_appearance() -> None:
    rows = [row(m, e, 1, eps=None, seed=None) for m in ("z", "a") for e in ("worst_case", "clean")]
    assert table(replace(TABLE, columns=("examples",)), *rows)[0][1:] == ["worst_case", "clean"]
    assert [line[0] for line in table(replace(TABLE, columns=("examples",)), *rows)[1:]] == ["z", "a"]


def test_axis_that_no_row_of_a_group_depends_on_is_one_column() -> None:
    rows = [row("mlp", "mnist", 9000, eps=None, seed=None)]
    rows += [row("mlp", "fgsm", 1000, eps=eps, seed=None) for eps in EPS]
    assert table(TABLE, *rows) == [
        ["accuracy (%)", "mnist", "fgsm", "fgsm", "fgsm"],
        ["eps", "", "0.1", "0.2", "0.3"],
        ["mlp", "90.00", "10.00", "10.00", "10.00"],
    ]


def test_row_that_depends_on_fewer_axes_is_repeated() -> None:
    rows = [row("mlp", "mnist", 9000, eps=None, seed=None)]
    rows += [row("robust", "mnist", 8000 + i, eps=eps, seed=None) for i, eps in enumerate(EPS[:2])]
    assert table(TABLE, *rows) == [
        ["accuracy (%)", "mnist", "mnist"],
        ["eps", "0.1", "0.2"],
        ["mlp", "90.00", "90.00"],
        ["robust", "80.00", "80.01"],
    ]


def test_two_axes_give_their_product() -> None:
    spec = replace(TABLE, columns=("examples", "eps", "depth"))
    rows = [row("mlp", "pgd", 1000, eps=0.1, seed=None), row("deep", "pgd", 2000, eps=None, seed=None, depth=2)]
    assert table(spec, *rows) == [
        ["accuracy (%)", "pgd"],
        ["eps", "0.1"],
        ["depth", "2"],
        ["mlp", "10.00"],
        ["deep", "20.00"],
    ]


def test_axis_in_the_rows() -> None:
    rows = [row("mlp", "mnist", 9000, eps=None, seed=None)]
    rows += [row("mlp", "fgsm", 1000, eps=eps, seed=None) for eps in EPS[:2]]
    rows += [row("other", "mnist", 7000, eps=None, seed=None)]
    assert table(replace(TABLE, rows=("model", "eps"), columns=("examples",)), *rows) == [
        ["accuracy (%)", "eps", "mnist", "fgsm"],
        ["mlp", "0.1", "90.00", "10.00"],
        ["mlp", "0.2", "90.00", "10.00"],
        ["other", "", "70.00", "not measured"],
    ]


def test_where_keeps_rows_that_do_not_depend_on_the_fixed_axis() -> None:
    rows = [row("mlp", "mnist", 9000, eps=None, seed=None)]
    rows += [row("mlp", "fgsm", int(eps * 10000), eps=eps, seed=None) for eps in EPS]
    spec = replace(TABLE, columns=("examples",), where={"eps": 0.2})
    assert table(spec, *rows)[1] == ["mlp", "90.00", "20.00"]
    assert "eps = 0.2." in build(spec, rows, (), PLAIN).statement


def test_missing_cell_keeps_file_order() -> None:
    others = {"model": ["c", "b", "a"]}
    experiment = replace(PLAIN, order={"another": others, "robustness": {"model": ["a", "b", "c"]}})
    rows = [row(m, "pgd", 5000, eps=0.1, seed=1) for m in ("a", "c")]
    holes = [{"stage": "robustness", "model": "b", "examples": "pgd", "eps": 0.1, "seed": 1, "reason": "pending"}]
    body = table(TABLE, *rows, holes=holes, experiment=experiment)[2:]
    assert body == [["a", "50.00"], ["b", "pending"], ["c", "50.00"]]


def test_missing_cell_represents_all_values_of_its_open_axes() -> None:
    rows = [row("a", "pgd", 5000, eps=eps, seed=1) for eps in EPS]
    rows += [row("a", "pgd", 200, eps=eps, seed=1, metric="zero_gradients") for eps in EPS]
    holes = [{"stage": "robustness", "model": "b", "examples": "pgd", "reason": "skipped: b failed"}]
    spec = replace(TABLE, metric=None, columns=("metric", "eps"))
    assert table(spec, *rows, holes=holes)[3] == ["b"] + ["skipped: b failed"] * 6


def test_table_with_only_missing_cells() -> None:
    grid = build(TABLE, [], demo_holes(), demo_experiment()).grid()
    assert [line[0] for line in grid] == ["accuracy, transfer", "eps", "fgsm_robust", "pgd_robust"]
    assert grid[2][1:] == ["skipped: dgn_susp failed", "pending"]


def test_missing_cells_of_other_stages_are_ignored() -> None:
    other = [{"stage": "coverage", "model": "b", "reason": "pending"}]
    assert table(TABLE, row("a", "pgd", 1, eps=0.1, seed=1), holes=other)[2:] == [["a", "0.01"]]


def test_groups_are_shown_only_if_they_are_a_level() -> None:
    rows = [row("a", "pgd", hits, eps=None, seed=None, group=g) for g, hits in (("", 50), ("cat", 20), ("dog", 80))]
    assert table(replace(TABLE, columns=("examples",)), *rows)[1] == ["a", "0.50"]
    assert table(replace(TABLE, columns=("group",)), *rows) == [
        ["accuracy (%)", "all", "cat", "dog"],
        ["a", "0.50", "0.20", "0.80"],
    ]


def test_metrics_next_to_each_other_have_their_units() -> None:
    seconds = row("a", "pgd", 1, eps=None, seed=None, metric="time", value=12.5, unit="seconds", higher_is_better=False)
    rows = [row("a", "pgd", 5000, eps=None, seed=None), seconds]
    assert table(replace(TABLE, metric=None, columns=("metric",)), *rows) == [
        ["model", "accuracy (%)", "time (s)"],
        ["a", "50.00", "12.50"],
    ]


def test_seeds_as_columns_are_not_averaged() -> None:
    rows = [row("a", "pgd", 5000 + s, eps=None, seed=s) for s in (1, 2)]
    assert table(replace(TABLE, columns=("seed",)), *rows) == [["accuracy (%)", "1", "2"], ["a", "50.01", "50.02"]]


def test_two_numbers_of_one_run_in_a_cell_are_an_error_that_names_the_axis() -> None:
    rows = [row("a", "pgd", 5000, eps=eps, seed=1) for eps in EPS[:2]]
    with pytest.raises(TableError, match=r"2 rows of 1 seeds meet in cell 'a pgd'; they differ in eps; put eps in"):
        table(replace(TABLE, columns=("examples",)), *rows)


def best(*values: tuple[str, int], **columns: Any) -> set[str]:
    rows = [row(model, "pgd", hits, eps=None, seed=None, **columns) for model, hits in values]
    holes = [{"stage": "robustness", "model": "hole", "examples": "pgd", "reason": "pending"}]
    matrix = build(replace(TABLE, columns=("examples",)), rows, holes, PLAIN)
    return {str(key[0][0]) for key in matrix.best}


def test_best_is_the_highest_or_lowest_including_ties() -> None:
    assert best(("a", 10), ("b", 30), ("c", 20)) == {"b"}
    assert best(("a", 10), ("b", 30), ("c", 30)) == {"b", "c"}
    assert best(("a", 10), ("b", 30), higher_is_better=False) == {"a"}
    assert best(("a", 10), ("b", 30), higher_is_better=None) == set()
    assert best(("a", 10)) == set(), "one number is not the best of anything"


def test_numbers_that_print_equally_tie() -> None:
    assert best(("a", 10), ("b", 30), value=0.123456) == {"a", "b"}


def test_statement_and_notes() -> None:
    matrix = demo(TABLE)
    assert matrix.statement == (
        "Mean ± sample standard deviation over 3 seeds (1, 2, 3). No ± where nothing is random or only one run exists. "
        "n\u00a0=\u00a010,000 per cell. Protocol: transfer. Best of each column in bold."
    )
    assert matrix.hole_notes == [
        "skipped: dgn_susp failed (fgsm_robust dgn_susp 0.2)",
        "failed: out of memory at 14.2 GB (pgd_robust dgn_susp 0.3)",
    ]


def test_note_appears_once_for_all_its_metrics() -> None:
    rows = [
        row(model, "pgd", 5000, eps=None, seed=seed, metric=metric, note="true labels" if model == "a" else "")
        for model in ("a", "b")
        for metric in ("accuracy", "loss")
        for seed in (1, 2)
    ]
    spec = TableSpec(name="t", source="robustness", rows=("model",), columns=("metric",))
    matrix = build(spec, rows, (), ReportedExperiment(name="x"))
    assert matrix.remarks == ["true labels (a)"]


SEEDED = replace(PLAIN, seeds=(1, 2, 3, 4, 5, 6))


def test_mean_over_fewer_seeds_than_the_file_is_marked() -> None:
    rows = [row("a", "pgd", 0, eps=None, seed=s) for s in (2, 5)]
    rows += [row("b", "pgd", 0, eps=None, seed=s) for s in range(1, 7)]
    rows += [row("c", "pgd", 0, eps=None, seed=None)]  # depends on no seed
    rows += [row("d", "pgd", 0, eps=None, seed=s, value=float("nan") if s < 4 else 0.5) for s in range(1, 6)]
    holes = [{"stage": "robustness", "model": "d", "examples": "pgd", "seed": 6, "reason": "failed: no room"}]
    holes += [{"stage": "robustness", "model": "a", "examples": "pgd", "seed": 1, "reason": "pending"}]
    found = table(replace(TABLE, columns=("examples",)), *rows, holes=holes, experiment=SEEDED)
    assert {line[0]: line[1] for line in found[1:]} == {
        "a": "0.00 ± 0.00 (2 of 6 seeds)",
        "b": "0.00 ± 0.00",
        "c": "0.00",
        "d": "50.00 ± 0.00 (2 of 6 seeds)",
    }


def test_seeds_that_a_table_excludes_are_not_missing() -> None:
    rows = [row("a", "pgd", 0, eps=None, seed=s) for s in (2, 5)]
    spec = replace(TABLE, columns=("examples",), where={"seed": (2, 5, 6)})
    assert table(spec, *rows, experiment=SEEDED)[1] == ["a", "0.00 ± 0.00 (2 of 3 seeds)"]
    assert table(replace(TABLE, columns=("seed",)), *rows, experiment=SEEDED)[1] == ["a", "0.00", "0.00"]
