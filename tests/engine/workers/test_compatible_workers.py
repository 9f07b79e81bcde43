"""Runs on an existing scheduler: compatible workers compute, incompatible ones are reported once and get no tasks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from temper.engine.command_line.main import main
from temper.engine.progress.progress import Progress
from temper.engine.running import execution, task
from temper.engine.running.engine import NoWorkers
from temper.engine.running.execution import MAX_MISSING_REPORTS
from temper.engine.running.task import TaskOutcome, TaskSpec
from temper.engine.workers.compatibility import WorkerRequirements
from temper.engine.workers.compatible_workers import CHECK_INTERVAL, CompatibleWorkers
from temper.engine.workers.dask_engine import MAX_SUBMISSIONS
from temper.engine.workers.dask_messages import JOINED
from tests.conftest import PARTS, PLAIN, tables

pytestmark = pytest.mark.slow

TWO = """
name: plain
datasets: {grey: {type: plain}}
generate: {light: {type: shift, data: grey, noise: {type: fixed, by: 0.1}}}
evaluate: {shade: {type: shade, examples: [grey, light]}}
"""
Scheduler = Any
Run = Callable[..., tuple[int, str]]
Write = Callable[..., Path]


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """A scheduler in this process, without workers."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=0, processes=False, threads_per_worker=1, dashboard_address=None, protocol="tcp"
    ) as found:
        yield found


@pytest.fixture(autouse=True)
def short_check_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temper.engine.workers.compatible_workers.CHECK_INTERVAL", 0.2)


def add_workers(scheduler: Scheduler, count: int) -> None:
    scheduler.scale(len(scheduler.workers) + count)
    scheduler.wait_for_workers(len(scheduler.worker_spec), timeout=20)


@pytest.fixture
def on(run: Run, write: Write, scheduler: Scheduler) -> Callable[[str], tuple[int, str]]:
    """Run an experiment on the workers of the scheduler."""

    def on(text: str) -> tuple[int, str]:
        address = f"type: scheduler\nworkers: 2\naddress: {scheduler.scheduler_address}"
        return run(write(text), "--on", write(address, "cluster.yaml"))

    return on


def failure_records(folder: Path) -> list[Path]:
    """Return the failure and attempt records of a store."""
    store = folder / "outputs" / ".store"
    return [path for name in (".failed", ".attempts") for path in (store / name).rglob("*.json")]


def test_tables_equal_those_of_one_process(
    on: Callable[[str], tuple[int, str]], scheduler: Scheduler, tmp_path: Path, write: Write
) -> None:
    add_workers(scheduler, 2)
    code, output = on(PLAIN)
    assert code == 0, output
    assert "10 computed" in output
    file, alone = write(PLAIN), tmp_path / "alone"
    assert main([str(file), "--components", str(PARTS), "--outputs", str(alone)]) == 0
    assert tables(tmp_path / "outputs" / "plain") == tables(alone / "plain")
    assert not list((tmp_path / "outputs" / ".store" / ".dask").glob("temper-*"))
    assert not [name for name in scheduler.scheduler.worker_plugins if name.startswith("temper")]


def test_incompatible_worker_receives_no_tasks(
    on: Callable[[str], tuple[int, str]], scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import get_worker

    add_workers(scheduler, 3)
    asked: list[str] = []

    def incompatibility(requirements: WorkerRequirements) -> str:
        asked.append("")
        return "it has other code" if len(asked) < 3 else ""

    monkeypatch.setattr(WorkerRequirements, "incompatibility", incompatibility)
    workers, perform = list[str](), task.perform

    def performed(*arguments: Any) -> TaskOutcome:
        workers.append(get_worker().address)
        return perform(*arguments)

    monkeypatch.setattr(task, "perform", performed)
    code, output = on(PLAIN)
    assert code == 0, output
    assert output.count("does not join this run: it has other code") == 1
    assert "10 computed, 0 cached, 0 failed" in output
    joined = [event for _, event in scheduler.scheduler.get_events(JOINED)]
    agreed = {address for _, address, _, _, why in joined if not why}
    assert len(joined) == 3
    assert set(workers) == agreed
    assert len(workers) == 10


def test_worker_that_joins_later_receives_queued_tasks(
    on: Callable[[str], tuple[int, str]], scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming, say = threading.Thread(target=add_workers, args=(scheduler, 1)), Progress.say

    def said_to(progress: Progress, text: str, style: str = "") -> None:
        say(progress, text, style)
        if text.startswith("the scheduler has no workers"):
            coming.start()

    monkeypatch.setattr(Progress, "say", said_to)
    code, output = on(PLAIN)
    coming.join()
    assert code == 0, output
    assert output.count("the scheduler has no workers; the run waits for one") == 1


def test_run_ends_without_a_compatible_worker(
    on: Callable[[str], tuple[int, str]], scheduler: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_workers(scheduler, 2)
    monkeypatch.setattr(WorkerRequirements, "incompatibility", lambda requirements: "it has other code")
    code, output = on(PLAIN)
    assert code == 4, output
    assert "no worker can join this run: it has other code. Finished tasks are saved. Resume with: " in output
    assert "Traceback" not in output
    assert failure_records(tmp_path) == []
    monkeypatch.undo()
    assert on(PLAIN)[0] == 0


def test_task_without_a_result_is_submitted_a_limited_number_of_times(
    on: Callable[[str], tuple[int, str]], scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_workers(scheduler, 1)

    def perform(*_: Any) -> TaskOutcome:
        raise OSError("odd things happen")

    monkeypatch.setattr(task, "perform", perform)
    code, output = on(TWO)
    assert code == 4, output
    assert output.count("grey: OSError: odd things happen; submitting it again") == MAX_SUBMISSIONS - 1
    assert f"grey was submitted {MAX_SUBMISSIONS} times without a result, the last time: OSError: odd things" in output
    assert "Traceback" not in output


def test_lost_scheduler_ends_the_run(
    on: Callable[[str], tuple[int, str]], scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_workers(scheduler, 1)
    going = threading.Thread(target=scheduler.close, kwargs={"timeout": 5})
    monkeypatch.setattr(Progress, "began", lambda *_: going.is_alive() or going.start())
    code, output = on(TWO.replace("0.1}", "0.1}, seconds: 2").replace("type: plain", "type: plain, images: 8"))
    going.join()
    assert code == 4, output
    assert f"the connection to the scheduler ({scheduler.scheduler_address}) is lost; " in output
    assert "Traceback" not in output


def test_task_without_a_stored_artefact_is_not_done(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def perform(task: TaskSpec, *_: Any) -> TaskOutcome:
        tried.append(task.label)
        return TaskOutcome(task.fingerprint, "done", host="far")

    monkeypatch.setattr("temper.engine.running.engine.perform", perform)
    monkeypatch.setattr(execution, "MISSING_RECHECK", 0.0)
    code, output = run(write(TWO))
    assert code == 4, output
    assert tried == ["grey"] * MAX_MISSING_REPORTS
    assert (
        output.count("grey is not done: a worker on far reports it done, but its artefact is not in ")
        == MAX_MISSING_REPORTS - 1
    )
    assert " made" not in output.replace("not made", "")


def test_artefact_that_appears_late_is_not_recomputed(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []
    real = execution.Execution._is_stored

    def late(execution: execution.Execution, fingerprint: str) -> bool:
        seen.append(fingerprint)
        return seen.count(fingerprint) > 1 and real(execution, fingerprint)

    monkeypatch.setattr(execution.Execution, "_is_stored", late)
    monkeypatch.setattr(execution, "MISSING_RECHECK", 0.0)
    code, output = run(write(TWO))
    assert code == 0, output
    assert len(seen) == len(set(seen)) == 4


def test_workers_without_temper_report_it(run: Run, write: Write, tmp_path: Path) -> None:
    program = (
        "from distributed import LocalCluster\n"
        "cluster = LocalCluster(n_workers=1, processes=False, threads_per_worker=1, dashboard_address=None, protocol='tcp')\n"
        "print(cluster.scheduler_address, flush=True)\n"
        "input()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, stdin=-1, stdout=-1, stderr=-3, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        code, output = run(
            write(TWO), "--on", write(f"type: scheduler\nworkers: 1\naddress: {address}", "cluster.yaml")
        )
        process.communicate("\n", timeout=20)
    assert code == 4, output
    assert output.count("it cannot import this version of Temper (ModuleNotFoundError: No module named 'temper'") == 2
    assert "Traceback" not in output
    assert failure_records(tmp_path) == []


def test_other_python_version_is_reported(
    on: Callable[[str], tuple[int, str]], scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("temper.engine.workers.dask_engine._python", lambda: "2.7")
    code, output = on(PLAIN)
    assert code == 2, output
    assert "the scheduler has Python 3." in output
    assert "the runner has 2.7; start them with the same version of Python" in output


class Case:
    """Tracked workers, with a clock that the test sets."""

    def __init__(self, started: Any) -> None:
        self.present: dict[str, int] = {}
        self.lines: list[str] = []
        self.now = 0.0
        watcher = SimpleNamespace(say=self.lines.append)
        client = SimpleNamespace(nthreads=lambda: self.present)
        self.compatible = CompatibleWorkers(started, client, watcher, lambda: None, lambda: self.now)  # type: ignore[arg-type]

    def check(self) -> None:
        self.now += CHECK_INTERVAL
        self.compatible.check()


def test_pending_jobs_are_waited_for() -> None:
    started = SimpleNamespace(requested={"1", "2"})
    case = Case(started)
    case.present = {"a": 1}
    case.compatible.record_answer("a", "n1:1", "it has other code")
    case.check()
    started.requested = {"1"}
    with pytest.raises(NoWorkers, match="it has other code"):
        case.check()


def test_workers_that_left_do_not_count() -> None:
    case = Case("tcp://host:1")
    case.present = {"a": 1, "b": 1}
    case.compatible.record_answer("a", "n1:1", "")
    case.compatible.record_answer("b", "n2:1", "it has other code")
    case.check()
    case.present = {"b": 1}
    with pytest.raises(NoWorkers):
        case.check()


def test_worker_without_an_answer_may_be_compatible() -> None:
    case = Case("tcp://host:1")
    case.present = {"a": 1, "b": 1}
    case.compatible.record_answer("b", "n2:1", "it has other code")
    case.check()
    assert case.lines == ["worker n2:1 does not join this run: it has other code"]
