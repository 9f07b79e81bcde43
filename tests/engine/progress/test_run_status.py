"""The progress of a run: running tasks and their workers, the time left, and a bounded number of lines."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.progress import progress
from temper.engine.progress.live_view import live_view, summary
from temper.engine.progress.progress import Progress
from temper.engine.progress.run_status import RunStatus

TEXT = """
name: many
seeds: [1, 2, 3, 4, 5, 6, 7, 8]
datasets: {grey: {type: plain}}
generate:
  one: {type: shift, data: grey, noise: {type: drawn}}
  two: {type: walk, data: one}
"""


class Clock:
    """A clock that the test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def tasks(graph: Callable[..., TaskGraph]) -> list[Task]:
    return list(graph(TEXT).tasks.values())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def status(tasks: list[Task], clock: Clock) -> RunStatus:
    status = RunStatus(clock)
    status.begin(tasks, {}, workers=4)
    return status


def of(tasks: list[Task], stage: str) -> list[Task]:
    return [task for task in tasks if task.stage == stage]


def begin(status: RunStatus, tasks: list[Task]) -> None:
    for number, task in enumerate(tasks):
        status.start(task)
        status.began(task.fingerprint, f"n{number}:1")


def test_running_tasks_are_listed_oldest_first_up_to_a_limit(
    status: RunStatus, tasks: list[Task], clock: Clock
) -> None:
    ones = of(tasks, "one")
    status.start(ones[7])  # submitted, and not yet on a worker
    for number, task in enumerate(ones[:7]):
        clock.now += 1
        status.start(task)
        status.began(task.fingerprint, f"n{number}:1")
    snapshot = status.snapshot(3)
    assert [row.where for row in snapshot.rows] == ["n0:1", "n1:1", "n2:1"]
    assert [row.elapsed(clock.now) for row in snapshot.rows] == [6, 5, 4]
    assert (snapshot.hidden, snapshot.running, snapshot.workers, snapshot.total, snapshot.waiting) == (5, 7, 7, 17, 10)
    assert status.snapshot(20).rows[-1].where == ""


def test_resumed_task_is_estimated_from_its_first_report(status: RunStatus, tasks: list[Task], clock: Clock) -> None:
    task = tasks[-1]
    begin(status, [task])
    status.report(task.fingerprint, 60, 100, "steps")
    clock.now += 10
    (row,) = status.snapshot(1).rows
    assert row.left(clock.now) is None
    status.report(task.fingerprint, 80, 100, "steps")
    (row,) = status.snapshot(1).rows
    assert row.left(clock.now) == 10
    assert (row.done, row.total, row.unit) == (80, 100, "steps")


def test_time_left_is_estimated_from_tasks_of_the_same_type(status: RunStatus, tasks: list[Task], clock: Clock) -> None:
    grey, ones, twos = of(tasks, "grey"), of(tasks, "one"), of(tasks, "two")
    assert status.left() is None
    begin(status, grey)
    clock.now += 2
    assert status.end(grey[0]) == 2
    assert status.left() is None  # the sixteen others are unknown
    begin(status, ones[:2])
    clock.now += 6
    status.end(ones[0])
    status.end(ones[1])
    assert status.left() is None
    begin(status, twos[:2])
    clock.now += 3
    status.end(twos[0])
    # Six of six seconds, six of three, and one that has used its three seconds and is assumed to need a fifth more.
    assert status.left() == pytest.approx(6 * 6 + 6 * 3 + 0.2 * 3)


def test_time_left_is_at_least_that_of_the_longest_task(status: RunStatus, tasks: list[Task], clock: Clock) -> None:
    for task in tasks[:-1]:
        begin(status, [task])
        status.end(task)
    begin(status, tasks[-1:])
    status.report(tasks[-1].fingerprint, 1, 101, "steps")
    clock.now += 5
    status.report(tasks[-1].fingerprint, 2, 101, "steps")
    assert status.left() == 5 * 99


def test_estimates_of_earlier_runs_come_first(tasks: list[Task], clock: Clock) -> None:
    status = RunStatus(clock)
    status.begin(tasks, {task.fingerprint: 4.0 for task in tasks}, workers=2)
    assert status.left() == 17 * 4 / 2


def test_failed_task_is_ended_and_interrupted_task_is_not(status: RunStatus, tasks: list[Task]) -> None:
    begin(status, tasks[:2])
    status.end(tasks[0], failed=True)
    status.stop(tasks[1])
    snapshot = status.snapshot(5)
    assert (snapshot.ended, snapshot.failed, snapshot.running, snapshot.waiting) == (1, 1, 0, 16)
    status.add(tasks[0])
    assert (status.total, status.snapshot(5).waiting) == (18, 17)
    status.add(tasks[0])
    assert status.total == 18


def test_late_reports_of_a_worker_are_ignored(status: RunStatus, tasks: list[Task]) -> None:
    assert status.began(tasks[0].fingerprint, "n1:1") is None
    status.report(tasks[0].fingerprint, 1, 2, "steps")
    assert status.snapshot(5).rows == ()


def text(status: RunStatus, clock: Clock, most: int) -> list[str]:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    console.print(live_view(status.snapshot(most), clock.now))
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


def test_terminal_shows_a_line_per_worker_and_a_total(status: RunStatus, tasks: list[Task], clock: Clock) -> None:
    begin(status, of(tasks, "one")[:6])
    clock.now += 65
    status.report(of(tasks, "one")[0].fingerprint, 5, 6, "images")
    lines = text(status, clock, 3)
    assert len(lines) == 5
    assert lines[0].split()[:2] == ["n0:1", "one.test"]
    assert "5/6 images" in lines[0]
    assert "1 min 05 s" in lines[0]
    assert lines[3].strip() == "and 3 more"
    assert "0 of 17 done, 6 running on 6 workers, 11 waiting" in lines[4]


def test_summary_contains_the_end_time(tasks: list[Task], clock: Clock) -> None:
    status = RunStatus(clock)
    status.begin(tasks, {task.fingerprint: 400.0 for task in tasks}, workers=1)
    assert ", about 1 h 53 min left, " in summary(status.snapshot(1))
    assert " at " in summary(status.snapshot(1))


def test_without_a_terminal_many_tasks_are_reported_in_few_lines(
    tasks: list[Task], clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "RunStatus", lambda: RunStatus(clock))
    console = Console(file=io.StringIO(), width=200)
    with Progress(console, tmp_path / "log.txt") as shown:
        shown.begin(tasks, {}, 8)
        for number, task in enumerate(of(tasks, "one")):
            shown.start(task)
            shown.began(task.fingerprint, f"n{number}:1")
        for _ in range(50):
            clock.now += 1
            for task in of(tasks, "one"):
                shown.report(task.fingerprint, int(clock.now - 1000), 100, "images")
            shown.report_running()
    lines = str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 2 * (progress.MAX_LINES + 2)  # after 10 seconds, and after 20 more
    assert lines[-7].endswith("one.test seed=1 on n0:1: 30/100 images, for 30 s, about 1 min 10 s left")
    assert lines[-2].endswith("and 3 more")
    assert "0 of 17 done, 8 running on 8 workers, 9 waiting" in lines[-1]


@pytest.fixture
def shown(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Progress]:
    """The progress report to a stream without a terminal; the test triggers its checks."""
    monkeypatch.setattr(progress, "RunStatus", lambda: RunStatus(clock))
    monkeypatch.setattr(progress, "CHECK_INTERVAL", 1e6)
    with Progress(Console(file=io.StringIO(), width=200), tmp_path / "log.txt") as shown:
        yield shown


def moments(shown: Progress, clock: Clock, seconds: int) -> list[int]:
    """Return the seconds after which something was reported."""
    output, start, stream = [], clock.now, shown._console.file
    for _ in range(seconds):
        clock.now += 1
        before = stream.getvalue()  # type: ignore[attr-defined]
        shown.report_running()
        if stream.getvalue() != before:  # type: ignore[attr-defined]
            output.append(int(clock.now - start))
    return output


def test_stage_without_progress_reports_is_reported(shown: Progress, tasks: list[Task], clock: Clock) -> None:
    shown.begin(tasks, {}, 1)
    shown.start(tasks[0])
    shown.began(tasks[0].fingerprint, "here")
    assert moments(shown, clock, 400) == [10, 30, 70, 130, 190, 250, 310, 370]
    assert "grey on here, for 6 min 10 s" in (shown._console.file.getvalue())  # type: ignore[attr-defined]
    shown.finish(tasks[0])
    shown.start(tasks[1])
    shown.began(tasks[1].fingerprint, "here")
    assert moments(shown, clock, 35) == [10, 30]  # the next task is reported as soon


def test_task_that_starts_while_another_runs_is_reported_soon(shown: Progress, tasks: list[Task], clock: Clock) -> None:
    shown.begin(tasks, {}, 2)
    for number, task in enumerate(tasks[:2]):
        shown.start(task)
        shown.began(task.fingerprint, f"n{number}")
        output = moments(shown, clock, 75)
        assert output[0] <= 2 * progress.FIRST_REPORT
        assert max(after - before for before, after in pairwise([0, *output])) <= progress.MAX_INTERVAL


def test_tasks_without_a_worker_are_reported(shown: Progress, tasks: list[Task], clock: Clock) -> None:
    shown.begin(tasks, {}, 2)
    shown.start(tasks[0])
    assert moments(shown, clock, 35) == [10, 30]
    assert "0 of 17 done, 17 waiting" in shown._console.file.getvalue()  # type: ignore[attr-defined]


def test_stage_that_blocks_the_main_thread_is_reported(
    tasks: list[Task], clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "RunStatus", lambda: RunStatus(clock))
    monkeypatch.setattr(progress, "CHECK_INTERVAL", 0.001)
    output = threading.Event()
    with Progress(Console(file=io.StringIO(), width=200), tmp_path / "log.txt") as shown:
        monkeypatch.setattr(shown, "say", lambda text: output.set())
        shown.begin(tasks, {}, 1)
        shown.start(tasks[0])
        shown.began(tasks[0].fingerprint, "here")
        clock.now += 11
        assert output.wait(60)
