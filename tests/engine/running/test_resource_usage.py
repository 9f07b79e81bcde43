"""The cost of a task, including that of earlier processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.checkpoint import Checkpoint
from temper.core.run import Run
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.running import resource_usage
from temper.engine.running.out_of_memory import OutOfMemoryRetry
from temper.engine.running.resource_usage import Meter, RunningCost
from temper.engine.running.task import TaskSpec, _preparations, perform
from temper.engine.storage.store import CHECKPOINTS, Store
from temper.system import stop_request

LONG_WALK = """
datasets:
  grey: {type: plain}
generate:
  walk: {type: walk, data: grey, steps: 5}
"""


class Clock:
    """Clocks on which each reading advances by ten seconds, five of them CPU time."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, meter: Meter) -> tuple[float, float]:
        self.looks += 1
        return 10.0 * self.looks, 5.0 * self.looks


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(resource_usage.Meter, "_clocks", lambda meter: clock(meter))
    return clock


def a_run() -> Run:
    return Run("stage", 0, None, lambda ref: None, lambda ref: {}, lambda done, total, unit: None)


def test_cost_includes_all_attempts(clock: Clock, tmp_path: Path) -> None:
    for attempt in range(3):
        checkpoint, meter, run = Checkpoint(tmp_path, interval=0), Meter(), a_run()
        checkpoint.attached = RunningCost(meter, run)
        with meter.watching(lambda peak: None):
            run.images += 7  # in each attempt, before its state is loaded
            checkpoint.load()
            run.images += 100
            checkpoint.save({}, {})
        # Each attempt takes ten seconds up to its checkpoint; time after it counts in the last attempt only.
        assert meter.cost.seconds == 10 * (attempt + 1) + 10
        assert meter.cost.cpu_seconds == 5 * (attempt + 1) + 5
        assert run.images == 7 + 100 * (attempt + 1)


def test_state_loaded_twice_counts_once_and_the_highest_peak_stays(clock: Clock) -> None:
    meter, run = Meter(), a_run()
    meter.cost.peak_memory = 30
    attached = RunningCost(meter, run)
    before = {"seconds": 800.0, "cpu_seconds": 1500.0, "peak_memory": 50, "images": 6}
    attached.restore(before)
    attached.restore(before)
    assert meter.as_dict() == {"seconds": 800.0, "cpu_seconds": 1500.0, "peak_memory": 50, "images": 0}
    assert run.images == 6
    attached.restore(before | {"peak_memory": 20})
    assert meter.cost.peak_memory == 50


def test_cost_of_an_artefact_is_that_of_all_its_attempts(
    clock: Clock, graph: Callable[..., TaskGraph], catalogue: Catalogue, tmp_path: Path
) -> None:
    """Like workers that are preempted one after another."""
    store = Store(tmp_path / "store")
    tasks = list(graph(LONG_WALK).tasks.values())
    dataset, walk = (next(work for work in tasks if work.stage == name) for name in ("grey", "walk"))

    def attempt(work: Task) -> Any:
        return perform(TaskSpec.of(work, "run", catalogue), store.root, lambda *what: None)

    assert attempt(dataset).status == "done"
    stop_request.request()
    try:
        statuses = [attempt(walk).status for _ in range(5)]
    finally:
        stop_request.withdraw()
    assert statuses == ["stopped"] * 5
    last = attempt(walk)
    assert last.status == "done"
    assert last.cost["seconds"] == 5 * 10 + 10
    assert store.meta(walk.fingerprint)["cost"] == last.cost
    assert isinstance(store.load(walk.fingerprint, Examples), Examples)


def test_shared_preparation_is_counted_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    needs: Mapping[str, list[str]] = {"base": [], "left": ["base"], "right": ["base"], "top": ["left", "right"]}
    for name, prepared in needs.items():
        examples = Examples(np.zeros((1, 2, 2, 1), np.float32), np.zeros(1, np.int64), np.arange(1))
        store.publish(name, examples, {"stage": name, "prepared": prepared, "cost": {"seconds": 1.0}})
    assert sorted(_preparations(store, store.meta("top"))) == ["base", "left", "right"]


def test_retry_with_reduced_settings_starts_from_scratch(
    graph: Callable[..., TaskGraph], catalogue: Catalogue, tmp_path: Path
) -> None:
    """Training must not change its batch size half-way."""
    from temper.engine.running.execution import Execution

    tasks = graph(LONG_WALK)
    walk = next(work for work in tasks.tasks.values() if work.stage == "walk")
    kept = Checkpoint(tmp_path / CHECKPOINTS / walk.fingerprint)
    kept.save({}, {})
    plan: Any = type("Plan", (), {"having": lambda self, state: []})()
    quiet: Any = type("Quiet", (), {"retry": lambda self, work, text: None})()
    less = OutOfMemoryRetry({"walk.steps": 2})
    nobody: Any = None
    execution = Execution(tasks, plan, Store(tmp_path), nobody, quiet, catalogue, less)
    assert execution._retry_reduced(walk)
    assert kept.load() is None
