"""The plan: what runs, what is there, what is left out, in each mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from temper.core.artefacts import Examples, Results
from temper.core.errors import SpecError
from temper.engine.language.experiment import Experiment
from temper.engine.planning import plan
from temper.engine.planning.history import Failures, Timings, last_run, write_last_run
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.storage.digests import Digests
from temper.engine.storage.store import Store

TEXT = """
name: plan
datasets:
  grey: {type: plain}
targets:
  mlp: {type: dense, dataset: grey, epochs: 1}
generate:
  pgd: {type: pgd, model: mlp, eps: 0.1, eps_step: 0.01, max_iter: 2}
  only_train: {type: fgsm, model: mlp, eps: 0.1}
repair:
  robust: {type: adversarial_training, model: mlp, examples: only_train}
evaluate:
  before: {type: robustness_matrix, models: [mlp], examples: [grey, pgd], protocol: transfer}
  after: {type: robustness_matrix, models: [robust], examples: [grey, pgd], protocol: white_box}
"""
GENERATED = {"pgd.test seed=1", "pgd.test@robust seed=1", "only_train.train seed=1"}


class Desk:
    """A graph and a store, in which artefacts are pretended to exist."""

    def __init__(self, experiment: Callable[..., Experiment], folder: Path) -> None:
        self.folder = folder
        self.experiment = experiment
        self.store = Store(folder / ".store")
        self.graph = TaskGraph(experiment(TEXT), Digests(folder / "digests.json"))

    def change(self, *sets: str) -> None:
        self.graph = TaskGraph(self.experiment(TEXT, *sets), Digests(self.folder / "digests.json"))

    def task(self, label: str) -> Task:
        return next(task for task in self.graph.tasks.values() if task.label == label)

    def make(self, labels: Iterable[str] | None = None) -> None:
        empty = Examples(x=np.zeros((0, 1, 1, 1), np.float32), y=np.zeros(0, np.int64), index=np.zeros(0, np.int64))
        for task in self.graph.tasks.values():
            if labels is None or task.label in labels:
                artefact = Results(()) if task.section == "evaluate" else empty
                self.store.publish(task.fingerprint, artefact, {})

    def plan(self, **options: object) -> dict[str, str]:
        made = plan.make(self.graph, self.store, last_run(self.folder), **options)  # type: ignore[arg-type]
        return {step.task.label: step.state for step in made.steps.values()}

    def reason(self, label: str, **options: object) -> str:
        made = plan.make(self.graph, self.store, last_run(self.folder), **options)  # type: ignore[arg-type]
        return made.steps[self.task(label).fingerprint].reason

    def running(self, **options: object) -> set[str]:
        return {label for label, state in self.plan(**options).items() if state == "run"}


@pytest.fixture
def desk(experiment: Callable[..., Experiment], tmp_path: Path) -> Desk:
    return Desk(experiment, tmp_path)


def test_everything_runs_first_and_nothing_once_all_is_stored(desk: Desk) -> None:
    assert set(desk.plan().values()) == {"run"}
    desk.make()
    assert set(desk.plan().values()) == {"cached"}


def test_each_task_comes_after_what_it_needs(desk: Desk) -> None:
    done: set[str] = set()
    for fingerprint, step in plan.make(desk.graph, desk.store, {}).steps.items():
        assert done.issuperset(step.task.needs)
        done.add(fingerprint)


def test_what_only_finished_tasks_read_is_not_needed(desk: Desk) -> None:
    desk.make({label for label in desk.plan() if label != "grey"})
    assert desk.plan()["grey"] == "not needed"
    assert desk.running() == set()


def test_only_attack_omits_repairs_and_their_dependents(desk: Desk) -> None:
    states = desk.plan(mode="only_attack")
    left_out = {label for label, state in states.items() if state == "left out"}
    assert left_out == {label for label in states if "robust" in label}
    # Generated data are computed even where only a repair would have read them.
    assert states["only_train.train seed=1"] == "run"


def test_only_adv_training_takes_generated_data_from_the_store(desk: Desk) -> None:
    with pytest.raises(SpecError) as caught:
        desk.plan(mode="only_adv_training")
    message = str(caught.value)
    assert "mode: generate.pgd: only_adv_training takes generated data from the store, and pgd.test seed=1" in message
    assert "only_train.train seed=1 is not there; run with mode: only_attack (or both) first" in message
    assert "@robust" not in message  # examples against a repaired model could not have been computed before it
    desk.make({"mlp seed=1", "pgd.test seed=1", "only_train.train seed=1", "grey"})
    states = desk.plan(mode="only_adv_training")
    assert states["robust seed=1"] == states["pgd.test@robust seed=1"] == "run"
    assert states["only_train.train seed=1"] == "cached"


def test_only_attack_makes_all_that_only_adv_training_demands(desk: Desk) -> None:
    desk.make(desk.running(mode="only_attack"))
    assert "robust seed=1" in desk.running(mode="only_adv_training")
    assert not desk.running(mode="only_adv_training") & {"pgd.test seed=1", "only_train.train seed=1"}


def test_only_a_stage_runs_what_it_needs(desk: Desk) -> None:
    assert desk.running(only=["robust"]) == {"grey", "mlp seed=1", "only_train.train seed=1", "robust seed=1"}
    assert set(desk.plan(only=["grey"]).values()) == {"run", "left out"}


def test_force_recomputes_a_stage_and_its_dependents(desk: Desk) -> None:
    desk.make()
    assert desk.running(force=["only_train"]) == {
        "only_train.train seed=1", "robust seed=1", "pgd.test@robust seed=1",
        *(label for label in desk.plan() if label.startswith("after")),
    }  # fmt: skip
    assert desk.reason("only_train.train seed=1", force=["only_train"]) == "forced"


def test_a_failure_is_kept_until_it_is_tried_again(desk: Desk) -> None:
    task = desk.task("mlp seed=1")
    Failures(desk.store.root).add(task, "out of memory", "", {}, "host")
    assert desk.plan()["mlp seed=1"] == "failed"
    assert desk.reason("mlp seed=1") == "out of memory; --retry-failed tries again"
    assert desk.plan(retry=True)["mlp seed=1"] == "run"
    assert desk.plan(force=["mlp"])["mlp seed=1"] == "run"
    desk.change("targets.mlp.units=31")
    assert desk.plan()["mlp seed=1"] == "run"  # another model has not failed


@pytest.mark.parametrize(
    ("changed", "label", "reason"),
    [
        ((), "mlp seed=1", "not finished"),
        (("targets.mlp.units=31",), "mlp seed=1", "units 30 → 31"),
        (("targets.mlp.units=31",), "pgd.test seed=1", "model changed"),
        (("generate.pgd.eps=0.2", "generate.pgd.max_iter=3"), "pgd.test seed=1", "eps 0.1 → 0.2, max_iter 2 → 3"),
        (("seeds=[2]",), "mlp seed=2", "never run"),
    ],
)
def test_a_plan_gives_its_reasons(desk: Desk, changed: tuple[str, ...], label: str, reason: str) -> None:
    write_last_run(desk.folder, desk.graph.tasks.values())
    desk.change(*changed)
    assert desk.reason(label) == reason


def test_a_damaged_artefact_is_the_reason(desk: Desk) -> None:
    write_last_run(desk.folder, desk.graph.tasks.values())
    desk.make({"grey", "mlp seed=1"})
    path = desk.store.folder(desk.task("mlp seed=1").fingerprint) / "x.npy"
    path.write_bytes(b"")
    assert desk.reason("mlp seed=1") == "its artefact is damaged"
    # With all that it computes in the store, nobody needs it.
    desk.make(set(desk.plan()) - {"mlp seed=1"})
    assert desk.plan()["mlp seed=1"] == "not needed"


def test_the_backend_is_a_reason(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    write_last_run(desk.folder, desk.graph.tasks.values())
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    desk.change()
    assert desk.reason("mlp seed=1") == "backend tensorflow → torch"


def test_estimates_are_medians_of_the_label_or_of_the_type(desk: Desk) -> None:
    timings = Timings(desk.store.root, smoke=False)
    mlp = desk.task("mlp seed=1")
    for seconds in (1.0, 9.0, 2.0):
        timings.add(mlp, seconds)
    with (desk.store.root / "timings.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"label": "torn')
    past = Timings(desk.store.root, smoke=False)
    assert past.estimate(mlp) == 2.0
    assert past.estimate(desk.task("robust seed=1")) is None
    desk.change("seeds=[7]")
    assert past.estimate(desk.task("mlp seed=7")) == 2.0


def test_smoke_runs_and_real_runs_are_estimated_apart(desk: Desk) -> None:
    mlp = desk.task("mlp seed=1")
    Timings(desk.store.root, smoke=False).add(mlp, 60.0)
    assert Timings(desk.store.root, smoke=True).estimate(mlp) is None
    Timings(desk.store.root, smoke=True).add(mlp, 1.0)
    assert Timings(desk.store.root, smoke=True).estimate(mlp) == 1.0
    assert Timings(desk.store.root, smoke=False).estimate(mlp) == 60.0
