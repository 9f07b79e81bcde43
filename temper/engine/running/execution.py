"""Executes a plan: submits ready tasks to the engine, and continues after a failure."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from temper.core.checkpoint import Checkpoint
from temper.core.stage import Stage
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.planning.history import Failures, Timings
from temper.engine.planning.plan import Plan
from temper.engine.planning.shard import Shard
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.progress.progress import Progress
from temper.engine.running.engine import Engine, NoWorkers
from temper.engine.running.lease_waits import LeaseWaits
from temper.engine.running.out_of_memory import MAX_TRIES, OutOfMemoryRetry, changes, changes_in_words
from temper.engine.running.ready_queue import ReadyQueue
from temper.engine.running.task import TaskOutcome, TaskSpec
from temper.engine.storage.attempt_log import SHARDS, AttemptLog
from temper.engine.storage.leases import LEASES, Leases
from temper.engine.storage.store import CHECKPOINTS, Store
from temper.system import stop_request
from temper.system.files import NoRoom

MAX_RECOMPUTATIONS = 2
"""How often a damaged artefact is recomputed within one run: a failing disk must not cause an endless loop."""
POLL_INTERVAL = 0.2
"""Seconds to wait for the engine before the ready queue is checked again."""
MAX_MISSING_REPORTS = 3
"""How often a task may be reported done while its artefact is missing from the store."""
MISSING_RECHECK = 5.0
"""Seconds until the store is checked again for such an artefact: network file systems cache metadata."""
LEASE_RECHECK = 1.0
"""Seconds until a task that another runner computes is checked again."""


@dataclass
class RunOutcome:
    """How the tasks of a run ended, by fingerprint: the cause of each failure, and whose failure skipped a task."""

    computed: set[str] = field(default_factory=set)
    failed: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


class Execution:
    """One run of a plan."""

    def __init__(
        self,
        graph: TaskGraph,
        plan: Plan,
        store: Store,
        engine: Engine,
        progress: Progress,
        catalogue: Catalogue,
        retry_settings: OutOfMemoryRetry,
        shard: Shard | None = None,
    ) -> None:
        self._graph, self._plan, self._store = graph, plan, store
        self._engine, self._progress, self._catalogue = engine, progress, catalogue
        self._failures, self._timings = Failures(store.root), Timings(store.root, smoke=graph.smoke)
        self._leases = Leases(store.root / LEASES)
        self._waiting = LeaseWaits(self._leases)
        self._run = SHARDS if shard else uuid.uuid4().hex
        self._tasks = [step.task for step in plan.having("run")]
        self._queue = ReadyQueue(shard.order(self._tasks) if shard else self._tasks)
        self._recomputations: Counter[str] = Counter()
        self._missing_reports: Counter[str] = Counter()
        self._retry_settings, self._reduced = retry_settings, dict[str, list[Stage]]()
        self.outcome = RunOutcome()

    def run(self) -> RunOutcome:
        """Run the tasks of the plan, and return how they ended; after a stop request no more are started.

        Raises:
            NoRoom: the disk is full.
            NoWorkers: no worker is left, or artefacts that workers report as done are missing.
        """
        estimates = {f: s.seconds for f, s in self._plan.steps.items()}
        self._progress.begin(self._tasks, estimates, self._engine.workers)
        self._forget_failures()
        # Known failures are reported again, and their dependents skipped.
        for step in self._plan.having("failed"):
            record = self._failures.get(step.task.fingerprint) or {"label": step.task.label, "cause": step.reason}
            self._fail(step.task, record, known=True)
        try:
            while self._queue and not stop_request.requested():
                self._submit_ready()
                if self._running:
                    outcome = self._engine.next(POLL_INTERVAL)
                    if outcome is not None:
                        self._handle_outcome(outcome)
                elif not self._queue.can_progress:
                    break  # all remaining tasks depend on failed ones
                else:
                    self._waiting.report(self._progress.say)
                    time.sleep(POLL_INTERVAL)
        finally:
            self._leases.close()
        return self.outcome

    def _forget_failures(self) -> None:
        """Forget earlier failures and worker deaths of the tasks that run now."""
        again = self._failures.fingerprints() & {task.fingerprint for task in self._tasks}
        self._failures.forget(again)
        for fingerprint in again:
            AttemptLog(self._store.root, fingerprint, SHARDS).forget()

    def _submit_ready(self) -> None:
        """Submit the tasks that can start; those that another runner computes are checked again later."""
        while self._running < self._engine.workers and (task := self._queue.take()) is not None:
            fingerprint = task.fingerprint
            if not self._leases.acquire(fingerprint):
                self._waiting.add(task)
                self._queue.requeue(fingerprint, delay=LEASE_RECHECK)
                continue
            self._waiting.discard(task)
            if self._is_computed_meanwhile(task):
                self._leases.release(fingerprint)
                self._finish(task)
            elif (record := self._failures.get(fingerprint)) is not None:
                self._leases.release(fingerprint)
                self._fail(task, record)  # in another runner, since this run began
            else:
                self._submit(task)

    def _submit(self, task: Task) -> None:
        if self._store.folder(task.fingerprint).exists():
            self._store.drop(task.fingerprint)  # forced, or damaged
        self._progress.start(task)
        reduced = self._reduced.get(task.fingerprint)
        self._engine.submit(TaskSpec.of(task, self._run, self._catalogue, reduced[-1] if reduced else None))

    @property
    def _running(self) -> int:
        return self._queue.in_progress

    def _is_computed_meanwhile(self, task: Task) -> bool:
        return task.fingerprint not in self._plan.forced and task.is_there(self._store)

    def _handle_outcome(self, outcome: TaskOutcome) -> None:
        task = self._queue[outcome.fingerprint]
        self._leases.release(outcome.fingerprint)
        match outcome.status:
            case "done" if not self._is_stored(task.fingerprint):
                self._recheck(task, outcome)
            case "done" if changed := task.bound.changed_file():
                self._store.drop(task.fingerprint)
                cause = f"{changed} changed during this run, so the artefact is discarded; run the same command again"
                self._fail(task, self._failures.add(task, cause, cause, outcome.cost, outcome.host))
            case "done":
                self._timings.add(task, float(outcome.cost.get("seconds", 0.0)))
                self.outcome.computed.add(task.fingerprint)
                self._finish(task)
            case "full":
                raise NoRoom(outcome.cause)
            case "stopped":
                self._progress.stop(task)
                self._queue.requeue(task.fingerprint)
            case "damaged" if self._recomputations[outcome.damaged] < MAX_RECOMPUTATIONS:
                # The damaged task runs again, and the task that found the damage waits for it.
                self._recomputations[outcome.damaged] += 1
                self._progress.say(f"{outcome.cause}; it is recomputed")
                self._recompute(outcome.damaged)
                self._queue.requeue(task.fingerprint)
            case "failed" if outcome.out_of_memory and self._retry_reduced(task):
                self._queue.requeue(task.fingerprint)
            case _:
                cause = outcome.cause
                if tried := self._reduced.get(task.fingerprint):
                    cause += f"; the last attempt used {changes_in_words(changes(task.component, tried[-1]))}"
                self._fail(task, self._failures.add(task, cause, outcome.log, outcome.cost, outcome.host))

    def _is_stored(self, fingerprint: str) -> bool:
        """Return whether an artefact that a worker reports as done is in the store."""
        if self._store.has(fingerprint):
            return True
        # A network file system caches that a file is missing until the folder is opened again.
        with suppress(OSError), os.scandir(self._store.root):
            pass
        return self._store.has(fingerprint)

    def _recheck(self, task: Task, outcome: TaskOutcome) -> None:
        """Requeue a task that is reported done but missing from the store; it runs again unless it appears meanwhile.

        Raises:
            NoWorkers: this happened ``MAX_MISSING_REPORTS`` times.
        """
        self._missing_reports[task.fingerprint] += 1
        report = f"a worker on {outcome.host} reports it done, but its artefact is not in {self._store.root.resolve()}"
        if self._missing_reports[task.fingerprint] == MAX_MISSING_REPORTS:
            raise NoWorkers(f"{task.label}: {MAX_MISSING_REPORTS} times {report}; check that path on the workers")
        self._progress.retry(task, f"is not done: {report}")
        self._queue.requeue(task.fingerprint, delay=MISSING_RECHECK)

    def _retry_reduced(self, task: Task) -> bool:
        """Return whether a task that ran out of memory can be retried with reduced settings."""
        tried = self._reduced.setdefault(task.fingerprint, [])
        before = tried[-1] if tried else task.component
        after = self._retry_settings.reduce(before, task.stage)
        if after is before or len(tried) == MAX_TRIES:
            return False
        tried.append(after)
        AttemptLog(
            self._store.root, task.fingerprint, self._run
        ).forget()  # deaths with the larger settings do not count
        Checkpoint(
            self._store.root / CHECKPOINTS / task.fingerprint
        ).drop()  # the whole artefact must have the same settings
        self._progress.retry(task, f"out of memory; retrying with {changes_in_words(changes(task.component, after))}")
        return True

    def _recompute(self, fingerprint: str) -> None:
        """Queue a damaged task again, together with the inputs that are missing from the store."""
        self._store.drop(fingerprint)
        task = self._graph.tasks[fingerprint]
        self._queue.add(task)
        self._progress.add(task)
        for need in task.needs:
            if need not in self._queue and not self._store.has(need):
                self._recompute(need)

    def _finish(self, task: Task) -> None:
        self._queue.done(task.fingerprint)
        self._progress.finish(task)

    def _fail(self, task: Task, record: Mapping[str, Any], known: bool = False) -> None:
        self._queue.drop(task.fingerprint)
        self.outcome.failed[task.fingerprint] = record
        self._progress.fail(task, str(record["cause"]), known)
        for fingerprint in self._graph.dependents(task.fingerprint):
            step = self._plan.steps[fingerprint]
            # Cached dependents stay valid.
            if step.state in ("run", "failed") and fingerprint not in self.outcome.failed:
                self._queue.drop(fingerprint)
                self.outcome.skipped.setdefault(fingerprint, task.label)
                self._progress.skip(self._graph.tasks[fingerprint], task.label)
