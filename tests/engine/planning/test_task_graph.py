"""The tasks of an experiment: over which axes each stage runs, what it reads, and what its fingerprint depends on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from temper.engine.language.experiment import Experiment
from temper.engine.planning.task_graph import Task, TaskGraph

Build = Callable[..., TaskGraph]

BASE = """
name: base
seeds: [1, 2]
axes:
  eps: [0.1, 0.2]
  width: [10, 20]
datasets:
  grey: {type: plain}
targets:
  mlp: {type: dense, dataset: grey, units: $width}
  other: {type: dense, dataset: grey}
generate:
  pgd: {type: pgd, model: mlp, eps: $eps, eps_step: 0.01, max_iter: 2}
  noise: {type: uniform_noise, model: other, eps: 0.1}
  lighter: {type: shift, data: grey, noise: {type: fixed, by: 0.1}}
repair:
  robust: {type: adversarial_training, model: mlp, examples: pgd}
evaluate:
  matrix:
    {type: robustness_matrix, models: [mlp, other, robust], examples: [grey, pgd, noise], protocol: transfer}
"""
WHITE_BOX = BASE.replace("transfer", "white_box")


def tasks(graph: TaskGraph, stage: str) -> list[Task]:
    return [task for task in graph.tasks.values() if task.stage == stage]


def labels(graph: TaskGraph, stage: str) -> list[str]:
    return [task.label for task in tasks(graph, stage)]


def fingerprints(graph: TaskGraph) -> dict[str, str]:
    return {task.label: task.fingerprint for task in graph.tasks.values()}


def only(graph: TaskGraph, label: str) -> Task:
    return next(task for task in graph.tasks.values() if task.label == label)


@pytest.mark.parametrize(
    ("stage", "axes"),
    [
        ("grey", set()),
        ("mlp", {"width", "seed"}),
        ("other", {"seed"}),
        ("pgd", {"eps", "width", "seed"}),  # its own, its model's
        ("lighter", set()),  # deterministic, of deterministic data
        ("robust", {"eps", "width", "seed"}),
        ("matrix", {"eps", "width", "seed"}),
    ],
)
def test_a_stage_varies_over_its_own_axes_and_those_of_its_inputs(
    experiment: Callable[..., Experiment], stage: str, axes: set[str]
) -> None:
    assert experiment(BASE).axes_of(stage) == axes


def test_a_stage_runs_once_at_each_point_of_its_axes(graph: Build) -> None:
    made = graph(BASE)
    assert labels(made, "other") == ["other seed=1", "other seed=2"]
    assert len(tasks(made, "mlp")) == 4
    assert len([w for w in tasks(made, "pgd") if w.part == "test"]) == 8
    assert labels(made, "lighter") == ["lighter.test"]
    assert tasks(made, "grey")[0].seed == 0


def test_a_cell_of_a_matrix_varies_only_over_the_axes_of_what_it_reads(graph: Build) -> None:
    made = graph(BASE)
    cells = {tuple(result.about.values()) for result in made.results}
    assert cells == {(m, e) for m in ("mlp", "other", "robust") for e in ("grey", "pgd", "noise", "worst_case")}
    points = {}
    for result in made.results:
        points.setdefault(tuple(result.about.values()), []).append(dict(result.point))
    assert points["other", "grey"] == [{"seed": 1}, {"seed": 2}]
    assert len(points["other", "pgd"]) == 8
    assert len(points["mlp", "noise"]) == 4


def test_a_repair_reads_the_training_part_and_a_matrix_the_test_part(graph: Build) -> None:
    made = graph(BASE)
    assert {task.part for task in tasks(made, "pgd")} == {"train", "test"}
    assert {task.part for task in tasks(made, "noise")} == {"test"}
    reads = only(made, "robust eps=0.1 width=10 seed=1").inputs
    assert {"mlp", "pgd.train"} <= set(reads)
    assert {found.part for found in only(made, "pgd.train eps=0.1 width=10 seed=1").inputs.values()} == {None, "train"}
    assert {found.part for found in only(made, "pgd.test eps=0.1 width=10 seed=1").inputs.values()} == {None, "test"}


def test_a_part_that_is_named_is_the_part_that_is_read(graph: Build) -> None:
    made = graph(BASE.replace("examples: [grey, pgd, noise]", "examples: [grey, pgd.train, noise.validation]"))
    assert {task.part for task in tasks(made, "noise")} == {"validation"}
    assert {result.about["examples"] for result in made.results} == {
        "grey",
        "pgd.train",
        "noise.validation",
        "worst_case",
    }


def test_white_box_regenerates_examples_against_every_other_model(graph: Build) -> None:
    made = graph(WHITE_BOX)
    against = {label.split()[0] for stage in ("pgd", "noise") for label in labels(made, stage)}
    assert against == {
        "pgd.train", "pgd.test", "pgd.test@other", "pgd.test@robust", "noise.test", "noise.test@mlp", "noise.test@robust",
    }  # fmt: skip
    turned = only(made, "pgd.test@other eps=0.1 width=10 seed=1")
    assert turned.component.model.stage == "other"
    assert turned.inputs["other"].fingerprint == only(made, "other seed=1").fingerprint


def test_white_box_and_transfer_share_what_a_generator_makes_of_its_own_model(graph: Build) -> None:
    white, transfer = fingerprints(graph(WHITE_BOX)), fingerprints(graph(BASE))
    own = [label for label in transfer if label.startswith(("pgd.test", "noise.test"))]
    assert own
    assert all(white[label] == transfer[label] for label in own)


def test_white_box_of_a_model_on_an_axis_turns_each_of_its_points(graph: Build) -> None:
    text = WHITE_BOX.replace("width: [10, 20]", "who: [mlp, other]").replace("$width", "10")
    made = graph(text.replace("pgd, model: mlp", "pgd, model: $who").replace("[mlp, other, robust]", "[mlp]"))
    for result in made.results:
        if result.about["examples"] == "pgd":
            (found,) = [v for k, v in made.tasks[result.fingerprint].inputs.items() if k.startswith("pgd")]
            attack = made.tasks[found.fingerprint]
            assert attack.inputs["mlp"].fingerprint == only(made, f"mlp seed={result.point['seed']}").fingerprint


def test_an_axis_over_data_sets_reaches_the_images_an_attack_starts_from(graph: Build) -> None:
    text = BASE.replace("grey: {type: plain}", "grey: {type: plain}\n  more: {type: plain, images: 8}")
    text = text.replace("width: [10, 20]", "on: [grey, more]").replace("$width", "10")
    text = text.replace("mlp: {type: dense, dataset: grey", "mlp: {type: dense, dataset: $on")
    made = graph(text.replace("examples: [grey, pgd, noise]", "examples: [pgd]"))
    for on in ("grey", "more"):
        read = only(made, f"pgd.test eps=0.1 on={on} seed=1").inputs
        assert {found.fingerprint for key, found in read.items() if key != "mlp"} == {only(made, on).fingerprint}


def test_what_nothing_reads_is_wanted_for_itself(graph: Build) -> None:
    made = graph(BASE)
    roots = {made.tasks[fingerprint].stage for fingerprint in made.roots}
    assert roots == {"lighter", "matrix"}


def test_a_task_on_a_repaired_model_is_marked(graph: Build) -> None:
    made = graph(WHITE_BOX)
    for task in made.tasks.values():
        if task.section != "evaluate":
            assert task.repaired == ("robust" in task.label), task.label


def test_stages_that_differ_in_name_only_share_a_deterministic_artefact(graph: Build) -> None:
    twin = "  twin: {type: shift, data: grey, noise: {type: fixed, by: 0.1}}\nrepair:"
    made = graph(BASE.replace("repair:", twin))
    assert len([w for w in made.tasks.values() if w.label in ("lighter.test", "twin.test")]) == 1
    # Two stages that draw at random draw differently.
    made = graph(BASE.replace("repair:", "  twin: {type: uniform_noise, model: other, eps: 0.1}\nrepair:"))
    assert len([w for w in made.tasks.values() if w.label in ("noise.test seed=1", "twin.test seed=1")]) == 2


# Fingerprints.


def test_adding_a_stage_changes_no_other_fingerprint(graph: Build) -> None:
    before = fingerprints(graph(BASE))
    more = BASE.replace(
        "generate:\n", "generate:\n  first: {type: bim, model: mlp, eps: $eps, eps_step: 0.01, max_iter: 3}\n"
    )
    more = more.replace("  eps: [0.1, 0.2]", "  eps: [0.05, 0.1, 0.2]").replace("seeds: [1, 2]", "seeds: [3, 1, 2]")
    after = fingerprints(graph(more))
    assert before.items() <= after.items()
    assert len(after) > len(before)


@pytest.mark.parametrize(
    ("changed", "stages"),
    [
        ("datasets.grey.images=8", {"grey", "mlp", "other", "pgd", "noise", "lighter", "robust", "matrix"}),
        ("targets.other.units=31", {"other", "noise", "matrix"}),
        ("generate.noise.eps=0.2", {"noise", "matrix"}),
        ("generate.pgd.max_iter=3", {"pgd", "robust", "matrix"}),
        ("generate.lighter.noise.by=0.2", {"lighter"}),
        ("repair.robust.ratio=0.4", {"robust", "matrix"}),
        ("evaluate.matrix.per_class=true", {"matrix"}),
        ("name=other", set()),
        ("description=words", set()),
        ("mode=only_attack", set()),
    ],
)
def test_a_value_changes_its_stage_and_what_depends_on_it(graph: Build, changed: str, stages: set[str]) -> None:
    before, after = graph(BASE), graph(BASE, changed)
    gone = set(before.tasks) - set(after.tasks)
    assert {before.tasks[fingerprint].stage for fingerprint in gone} == stages


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("eps: 0.1}", "eps: 1/10}"),
        ("eps: 0.1}", "eps: 1e-1, batch_size: 500}"),  # the default, written out
        ("seeds: [1, 2]", "seeds: [1.0, 2]"),
        ("max_iter: 2}", "max_iter: 2.0, norm: inf}"),
        ("{type: plain}", '{"type": "plain"}  # comment'),
    ],
)
def test_the_same_value_written_otherwise_changes_nothing(graph: Build, old: str, new: str) -> None:
    assert old in BASE
    assert set(graph(BASE).tasks) == set(graph(BASE.replace(old, new)).tasks)


def test_the_backend_is_part_of_what_a_framework_computes(graph: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    before = graph(BASE)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    same = set(before.tasks) & set(graph(BASE).tasks)
    assert {before.tasks[fingerprint].stage for fingerprint in same} == {"grey"}
