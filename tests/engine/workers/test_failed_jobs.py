"""Jobs without a worker are reported, replaced, and end a run without workers; only consecutive failures count."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from temper.core.cluster import Cluster, FailedJob, WorkerEnv
from temper.engine.running.engine import NoWorkers
from temper.engine.workers.failed_jobs import CHECK_INTERVAL, MIN_FAILURES, FailedJobs


@dataclass(frozen=True, kw_only=True)
class Jobs(Cluster):
    """A cluster whose failed jobs are ``started.failed``."""

    def failed_jobs(self, started: Any, joined: Collection[str]) -> Sequence[FailedJob]:
        return [failed for failed in started.failed if failed.job not in joined]

    def replace_job(self, started: Any, failed: FailedJob) -> None:
        started.failed.remove(failed)
        started.replaced.append(failed.job)

    def start(self, env: WorkerEnv) -> Any:
        raise NotImplementedError


class Messages:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def began(self, fingerprint: str, where: str) -> None: ...

    def report(self, fingerprint: str, done: int, total: int, unit: str) -> None: ...


class Case:
    """Tracked jobs, with a clock that advances by one interval per check."""

    def __init__(self, workers: int, log: Path) -> None:
        self.started = SimpleNamespace(failed=[], replaced=[], observed=set())
        self.message, self.log, self.now = Messages(), log, 0.0
        self.starts = FailedJobs(Jobs(workers=workers), self.started, self.message, lambda: self.now)

    def look(self, *jobs: str) -> None:
        self.started.failed += [FailedJob("worker", job, job, "ended with exit code 3", str(self.log)) for job in jobs]
        self.now += CHECK_INTERVAL
        self.starts.check()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    log = tmp_path / "job.err"
    log.write_text("first\n" + "no such module\n" * 10, encoding="utf-8")
    return Case(2, log)


def test_failed_jobs_are_reported_and_replaced_up_to_a_limit(case: Case) -> None:
    case.look("1")
    case.look("2")
    assert case.started.replaced == ["1", "2"]
    first, second = case.message.lines
    assert first.startswith("job 1 exited before its worker connected: ended with exit code 3; see its log ")
    assert first.count("no such module") == 10
    assert "first" not in first
    assert "no such module" not in second
    with pytest.raises(NoWorkers, match=r"3 jobs in a row exited before a worker connected .*job 3 exited"):
        case.look("3")


def test_connected_worker_resets_the_count(case: Case) -> None:
    for job in ("1", "2"):
        case.look(job)
    case.starts.joined("4")
    for job in ("5", "6"):
        case.look(job)
    assert case.started.replaced == ["1", "2", "5", "6"]


def test_job_whose_worker_connected_did_not_fail(case: Case) -> None:
    case.starts.joined("1")
    case.look("1")
    assert case.message.lines == []


def test_limit_is_the_number_of_workers(case: Case) -> None:
    many = Case(MIN_FAILURES + 2, case.log)
    many.look(*map(str, range(MIN_FAILURES + 1)))
    with pytest.raises(NoWorkers):
        many.look("last")


def test_remaining_workers_continue_without_new_jobs(case: Case) -> None:
    case.started.observed.add("alive")
    for job in ("1", "2", "3"):
        case.look(job)
    case.look()
    assert case.started.replaced == ["1", "2"]
    assert sum("continues with the workers it has" in line for line in case.message.lines) == 1
    assert sum(line.startswith("job 3 ") for line in case.message.lines) == 1
    case.starts.joined("4")
    case.look()
    assert case.started.replaced == ["1", "2", "3"]


def test_jobs_are_checked_at_intervals(case: Case) -> None:
    case.started.failed.append(FailedJob("worker", "1", "1", "ended", ""))
    case.now += CHECK_INTERVAL / 2
    case.starts.check()
    assert case.message.lines == []
