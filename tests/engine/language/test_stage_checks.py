"""Each component is built once, and its problems are reported once per cause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from temper.core.errors import SpecError
from temper.core.families import Generator
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.language.experiment import Experiment
from temper.engine.language.experiment_file import load
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.running.task import TaskSpec
from temper.engine.storage.digests import Digests

WIDE = """
name: wide
axes:
  eps: [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08]
  its: [1, 2, 3, 4, 5, 6, 7, 8]
  starts: [0, 1, 2, 3]
datasets: {digits: {type: digits}}
targets: {mlp: {type: dense, dataset: digits}}
generate:
  pgd: {type: pgd, model: mlp, eps: $eps, eps_step: %s, max_iter: $its, num_random_init: $starts}
"""
ONCE = """
name: once
axes: {by: [0.1, 0.2]}
datasets: {grey: {type: plain}}
generate: {lighter: {type: shift, data: grey.train, noise: {type: fixed, by: $by}}}
"""


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            "0.065",
            "2 x eps = 0.02, the width of the ball, received 0.065 (at eps = 0.01; likewise at eps = 0.02, 0.03)",
        ),
        ("$eps", ""),
        ("$its", "received 1 (at eps = 0.01, its = 1; likewise at eps = 0.01, its = 2; "),
    ],
)
def test_a_problem_at_256_points_is_one_line(
    step: str, message: str, write: Callable[..., Path], catalogue: Catalogue
) -> None:
    try:
        load(write(WIDE % step), catalogue)
    except SpecError as wrong:
        (problem,) = wrong.problems
        assert message
        assert message in problem.message
        assert problem.path == "generate.pgd.eps_step"
    else:
        assert not message


def test_the_component_that_is_checked_is_the_one_that_is_planned_and_run(
    write: Callable[..., Path], catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Any] = []
    monkeypatch.setattr(catalogue.of(Generator)["shift"], "check", lambda self: (checked.append(self), iter(()))[1])
    graph = TaskGraph(load(write(ONCE), catalogue), Digests(tmp_path / "digests.json"))
    tasks = [task for task in graph.tasks.values() if task.stage == "lighter"]
    assert len(checked) == len(tasks) == 2
    for component, task in zip(checked, tasks, strict=True):
        assert task.component is component
        assert TaskSpec.of(task, "run", catalogue).component is component


def test_a_worker_builds_the_component_of_a_message(experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    checked = experiment(ONCE)
    graph = TaskGraph(checked, Digests(tmp_path / "digests.json"))
    task = next(task for task in graph.tasks.values() if task.stage == "lighter")
    message = TaskSpec.of(task, "run", checked.catalogue).message()
    assert message["component"] == {
        "type": "shift",
        "data": "grey.train",
        "noise": {"type": "fixed", "by": 0.1},
        "seconds": 0.0,
        "counter": None,
    }
    assert type(message["inputs"]["grey.train"]) is dict
    received = TaskSpec.received(message)
    assert received.inputs == task.inputs
    assert received.message() == message
