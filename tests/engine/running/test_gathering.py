"""Evaluations that read the rows of others: the cells they gather, their axes, and their behaviour in a run."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from temper.core.errors import SpecError
from temper.engine.language.experiment import Experiment
from temper.engine.language.result_columns import varies
from temper.engine.planning.task_graph import Task, TaskGraph

Run = Callable[..., tuple[int, str]]
Write = Callable[..., Path]

COMPARED = """
name: compared
seeds: [1, 2, 3, 4, 5]
axes:
  by: [0.1, 0.2]
datasets:
  grey: {type: plain}
generate:
  lighter: {type: shift, data: grey, noise: {type: fixed, by: $by}}
  one: {type: shift, data: lighter, noise: {type: drawn}}
  two: {type: shift, data: lighter, noise: {type: drawn, like: grey}}
evaluate:
  better: {type: significance, of: shade, metric: shade, compare: examples, baseline: two}
  shade: {type: shade, examples: [one, two]}
"""


def tasks(graph: TaskGraph, stage: str) -> list[Task]:
    return [task for task in graph.tasks.values() if task.stage == stage]


def test_comparison_varies_over_the_axes_it_does_not_gather(graph: Callable[..., TaskGraph]) -> None:
    made = graph(COMPARED)
    assert [task.label for task in tasks(made, "better")] == ["better[shade] by=0.1", "better[shade] by=0.2"]
    for task in tasks(made, "better"):
        # Two sets of examples, five seeds, each at its own point.
        cells = [made.tasks[fingerprint] for fingerprint in task.needs]
        assert len(cells) == 10
        assert {cell.stage for cell in cells} == {"shade"}
        assert {cell.point["by"] for cell in cells} == {task.point["by"]}
        assert [found.point for found in task.inputs.values()] == [cell.point for cell in cells]


def test_compared_axis_is_gathered(graph: Callable[..., TaskGraph]) -> None:
    made = graph(COMPARED.replace("compare: examples, baseline: two", "compare: by"))
    (task,) = tasks(made, "better")
    assert task.point == {}
    assert len(task.needs) == 20


def test_cell_without_an_axis_represents_all_its_values(graph: Callable[..., TaskGraph]) -> None:
    made = graph(COMPARED.replace("[one, two]", "[one, two, grey]"))
    for task in tasks(made, "better"):
        assert len(task.needs) == 11


def test_evaluations_run_in_dependency_order_and_are_listed_in_file_order(graph: Callable[..., TaskGraph]) -> None:
    made = graph(COMPARED)
    seen: set[str] = set()
    for fingerprint, task in made.tasks.items():
        assert seen.issuperset(task.needs), task.label
        seen.add(fingerprint)
    assert list(dict.fromkeys(result.stage for result in made.results)) == ["better", "shade"]


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("evaluate.shade.scale=2", 2),
        ("datasets.grey.images=8", 2),
        ("axes.by=[0.1, 0.3]", 1),  # the comparison at 0.1 stays
        ("seeds=[1, 2, 3, 4]", 2),
        ("evaluate.better.baseline=one", 2),
        ("description=words", 0),
    ],
)
def test_fingerprint_depends_on_all_gathered_cells(graph: Callable[..., TaskGraph], setting: str, changes: int) -> None:
    before, after = graph(COMPARED), graph(COMPARED, setting)
    gone = {task.fingerprint for task in tasks(before, "better")} - {
        task.fingerprint for task in tasks(after, "better")
    }
    assert len(gone) == changes


def test_columns_are_those_it_does_not_gather(experiment: Callable[..., Experiment]) -> None:
    checked = experiment(COMPARED)
    assert {name: values for name, values in varies(checked, "better").items() if name != "metric"} == {
        "by": (0.1, 0.2)
    }
    table = next(table for table in checked.tables if table.name == "better")
    assert (table.rows, table.columns) == (("group", "by"), ("metric",))
    by = experiment(COMPARED.replace("compare: examples, baseline: two", "compare: by"))
    assert varies(by, "better")["examples"] == ("one", "two")
    table = next(table for table in by.tables if table.name == "better")
    assert table.rows == ("examples", "group")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("of: shade", "of: shades", "evaluate.better.of: no stage is called 'shades'; did you mean 'shade'?"),
        ("of: shade", "of: one", "expected a stage that gives results, but 'one' (generate) gives examples"),
        ("of: shade", "of: better", "the stages need each other in a circle (better -> better); break it"),
        ("of: shade", "of: shade.test", "'shade' has no parts; write shade"),
        ("metric: shade", "metric: shadow", "evaluate.better.metric: 'shadow' is not a metric of 'shade'; did you mean 'shade'?"),
        ("baseline: two", "baseline: tow", "evaluate.better.baseline: 'tow' is not a value of examples in 'shade'; did you mean 'two'?"),
        ("compare: examples", "compare: example", "evaluate.better.compare: 'example' is not a column"),
        ("examples: [one, two]", "examples: [better]", "expected a stage that gives examples, but 'better' (evaluate) gives results"),
    ],
)  # fmt: skip
def test_problems_are_found_in_the_file(
    experiment: Callable[..., Experiment], old: str, new: str, message: str
) -> None:
    with pytest.raises(SpecError) as wrong:
        experiment(COMPARED.replace(old, new))
    assert message in str(wrong.value)
    assert "experiment.yaml:1" in str(wrong.value)


def test_only_comparisons_can_refer_to_evaluations(experiment: Callable[..., Experiment]) -> None:
    with pytest.raises(SpecError, match=r"but 'shade' \(evaluate\) gives results"):
        experiment(COMPARED + "  cost: {type: cost, stages: [shade]}\n")


def results(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "outputs" / "compared" / "results.csv").open(encoding="utf-8-sig") as stream:
        return [row for row in csv.DictReader(stream) if row["stage"] == "better"]


def cells(tmp_path: Path, name: str) -> list[list[str]]:
    with (tmp_path / "outputs" / "compared" / f"{name}.csv").open(encoding="utf-8-sig") as stream:
        return list(csv.reader(stream))


def test_run_reports_a_comparison(run: Run, write: Write, tmp_path: Path) -> None:
    code, output = run(write(COMPARED))
    assert code == 0, output
    rows = {(row["by"], row["metric"]): row for row in results(tmp_path)}
    assert {row["group"] for row in rows.values()} == {"one vs two"}
    assert {row["seed"] for row in rows.values()} == {""}
    # One is sampled from [0, 1], two from a sixth of that.
    assert float(rows["0.1", "a12"]["value"]) > 0.5
    assert rows["0.1", "a12"]["n"] == "10"
    assert rows["0.1", "p_wilcoxon"]["n"] == "5"
    assert float(rows["0.2", "p_mann_whitney"]["value"]) <= 1
    assert "5 against 5" in rows["0.1", "a12"]["note"]
    (header, *body) = cells(tmp_path, "better")
    assert header[2:] == [
        "mean_first (pixels)", "mean_second (pixels)", "difference (pixels)", "a12 (probability)",
        "p_mann_whitney (probability)", "p_mann_whitney_holm (probability)",
        "p_wilcoxon (probability)", "p_wilcoxon_holm (probability)",
    ]  # fmt: skip
    assert [row[:2] for row in body] == [["one vs two", "0.1"], ["one vs two", "0.2"]]
    code, output = run(write(COMPARED))
    assert "0 computed" in output
    code, output = run(write(COMPARED.replace("[1, 2, 3, 4, 5]", "[1, 2, 3, 4, 5, 6]")), "--plan")
    assert "of changed" in output


def test_only_with_a_comparison_includes_the_gathered_stages(run: Run, write: Write) -> None:
    code, output = run(write(COMPARED), "--only", "better")
    assert code == 0, output
    # Data, two values of by, ten sampled sets for each of two generators and their cells, two comparisons.
    assert f"{1 + 2 + 20 + 20 + 2} computed" in output


def test_failed_cell_skips_only_the_comparisons_that_gather_it(run: Run, write: Write, tmp_path: Path) -> None:
    well = tmp_path / "well"
    bad = f"  bad: {{type: trouble, data: two, how: raise, unless: {well}}}\nevaluate:"
    text = COMPARED.replace("evaluate:", bad).replace("[one, two]", "[one, two, bad]")
    file = write(text)
    code, output = run(file)
    assert code == 1, output
    assert all(cell.startswith("skipped: bad.test by=") for row in cells(tmp_path, "better")[1:] for cell in row[2:])
    well.touch()
    code, output = run(file, "--retry-failed")
    assert code == 0, output
    assert {row["group"] for row in results(tmp_path)} == {"one vs two", "bad vs two"}


def test_only_attack_skips_stages_that_depend_on_a_repaired_model(graph: Callable[..., TaskGraph]) -> None:
    text = """
    name: modes
    seeds: [1, 2]
    datasets: {grey: {type: plain}}
    targets: {mlp: {type: dense, dataset: grey}}
    generate: {fgsm: {type: fgsm, model: mlp, eps: 0.1}}
    repair: {robust: {type: adversarial_training, model: mlp, examples: fgsm}}
    evaluate:
      transfer: {type: robustness_matrix, models: [mlp, robust], examples: [grey, fgsm], protocol: transfer}
      attacks: {type: robustness_matrix, models: [mlp], examples: [grey, fgsm], protocol: transfer}
      better: {type: significance, of: transfer, metric: accuracy, compare: model}
      harder: {type: significance, of: attacks, metric: accuracy, compare: examples}
    """
    made = graph(text)
    assert [task.repaired for stage in ("better", "harder") for task in tasks(made, stage)] == [True, False]


def test_smoke_run_compares_one_number_per_side_and_reports_it(run: Run, write: Write, tmp_path: Path) -> None:
    code, output = run(write(COMPARED), "--smoke")
    assert code == 0, output
    with (tmp_path / "outputs" / "compared.smoke" / "results.csv").open(encoding="utf-8-sig") as stream:
        notes = [row["note"] for row in csv.DictReader(stream) if row["metric"] == "a12"]
    assert notes
    assert all("too few repetitions" in note for note in notes)
