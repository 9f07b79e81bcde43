"""Carries a plan out: hands ready works to the engine, and goes on when one fails."""

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
from temper.engine.language.discovery import Catalogue
from temper.engine.planning.history import Failures, Timings
from temper.engine.planning.plan import Plan
from temper.engine.planning.shard import Shard
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.progress.progress import Progress
from temper.engine.running.engine import Engine, NoWorkers
from temper.engine.running.lease_waits import LeaseWaits
from temper.engine.running.out_of_memory import MAX_TRIES, OutOfMemoryRetry, changes, in_words
from temper.engine.running.ready_queue import ReadyQueue
from temper.engine.running.task import TaskOutcome, TaskSpec
from temper.engine.storage.attempt_log import SHARDS, AttemptLog
from temper.engine.storage.leases import LEASES, Leases
from temper.engine.storage.store import CHECKPOINTS, Store
from temper.system import stop_request
from temper.system.files import NoRoom

MAX_DAMAGES = 2
"""How often an artefact that is damaged is made again within one run; a disk that spoils everything must not hold it."""
POLL = 0.2
"""Seconds for which the engine is listened to before the agenda is looked at again."""
MAX_UNSEEN = 3
"""How often a work may be said to be done without an artefact in the store."""
UNSEEN = 5.0
"""Seconds until the store is looked at again for such an artefact."""
ELSEWHERE = 1.0
"""Seconds until the next look at what another runner is making."""


@dataclass
class Tally:
    """How the works of a run ended, by fingerprint: the cause of each failure, and whose failure skipped a work."""

    made: set[str] = field(default_factory=set)
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
        less: OutOfMemoryRetry,
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
        self._damages: Counter[str] = Counter()
        self._unseen: Counter[str] = Counter()
        self._less, self._reduced = less, dict[str, list[Stage]]()
        self.tally = Tally()

    def run(self) -> Tally:
        """Make everything the plan says, and return how it ended; a request to stop leaves the rest.

        Raises:
            NoRoom: the disk is full.
            NoWorkers: there are none, or what they say they have made is not there.
        """
        estimates = {f: s.seconds for f, s in self._plan.steps.items()}
        self._progress.begin(self._tasks, estimates, self._engine.slots)
        self._try_again()
        for step in self._plan.having("failed"):
            record = self._failures.get(step.task.fingerprint) or {"label": step.task.label, "cause": step.reason}
            self._fail(step.task, record, known=True)
        try:
            while self._queue and not stop_request.requested():
                self._submit_ready()
                if self._running:
                    outcome = self._engine.next(POLL)
                    if outcome is not None:
                        self._settle(outcome)
                elif not self._queue.waits:
                    break
                else:
                    self._waiting.tell(self._progress.say)
                    time.sleep(POLL)
        finally:
            self._leases.close()
        return self.tally

    def _try_again(self) -> None:
        """Forget that works failed which are to be made now, and whom they killed."""
        again = self._failures.fingerprints() & {task.fingerprint for task in self._tasks}
        self._failures.forget(again)
        for fingerprint in again:
            AttemptLog(self._store.root, fingerprint, SHARDS).forget()

    def _submit_ready(self) -> None:
        """Hand over what can begin; what another runner is making is looked at again later."""
        while self._running < self._engine.slots and (task := self._queue.take()) is not None:
            fingerprint = task.fingerprint
            if not self._leases.acquire(fingerprint):
                self._waiting.add(task)
                self._queue.give_back(fingerprint, delay=ELSEWHERE)
                continue
            self._waiting.discard(task)
            if self._made_meanwhile(task):
                self._leases.release(fingerprint)
                self._close(task)
            elif (record := self._failures.get(fingerprint)) is not None:
                self._leases.release(fingerprint)
                self._fail(task, record)  # another runner has tried it since this one began
            else:
                self._begin(task)

    def _begin(self, task: Task) -> None:
        if self._store.folder(task.fingerprint).exists():
            self._store.drop(task.fingerprint)  # forced, or not what was written
        self._progress.start(task)
        reduced = self._reduced.get(task.fingerprint)
        self._engine.submit(TaskSpec.of(task, self._run, self._catalogue, reduced[-1] if reduced else None))

    @property
    def _running(self) -> int:
        return self._queue.out

    def _made_meanwhile(self, task: Task) -> bool:
        return task.fingerprint not in self._plan.forced and task.is_there(self._store)

    def _settle(self, outcome: TaskOutcome) -> None:
        task = self._queue[outcome.fingerprint]
        self._leases.release(outcome.fingerprint)
        match outcome.status:
            case "done" if not self._arrived(task.fingerprint):
                self._look_again(task, outcome)
            case "done" if changed := task.bound.changed_file():
                self._store.drop(task.fingerprint)
                cause = (
                    f"{changed} changed while this run went on; the artefact is not kept: run the same command again"
                )
                self._fail(task, self._failures.add(task, cause, cause, outcome.cost, outcome.host))
            case "done":
                self._timings.add(task, float(outcome.cost.get("seconds", 0.0)))
                self.tally.made.add(task.fingerprint)
                self._close(task)
            case "full":
                raise NoRoom(outcome.cause)
            case "stopped":
                self._progress.stop(task)
                self._queue.give_back(task.fingerprint)
            case "damaged" if self._damages[outcome.damaged] < MAX_DAMAGES:
                # Its maker goes back into the plan, and the work that found the damage waits for it.
                self._damages[outcome.damaged] += 1
                self._progress.say(f"{outcome.cause}; it is made again")
                self._reopen(outcome.damaged)
                self._queue.give_back(task.fingerprint)
            case "failed" if outcome.out_of_memory and self._retry_with_less(task):
                self._queue.give_back(task.fingerprint)
            case _:
                cause = outcome.cause
                if tried := self._reduced.get(task.fingerprint):
                    cause += f"; the last try was with {in_words(changes(task.component, tried[-1]))}"
                self._fail(task, self._failures.add(task, cause, outcome.log, outcome.cost, outcome.host))

    def _arrived(self, fingerprint: str) -> bool:
        """Return whether an artefact that a worker has made is in the store."""
        if self._store.has(fingerprint):
            return True
        # A network file system remembers for a while what was not there, until the folder is opened again.
        with suppress(OSError), os.scandir(self._store.root):
            pass
        return self._store.has(fingerprint)

    def _look_again(self, task: Task, outcome: TaskOutcome) -> None:
        """Leave a work that is said to be done and is not in the store until later, when it is made again unless it is there then.

        Raises:
            NoWorkers: it was so ``MAX_UNSEEN`` times.
        """
        self._unseen[task.fingerprint] += 1
        told = f"a worker on {outcome.host} says it is done, but its artefact is not in {self._store.root.resolve()}"
        if self._unseen[task.fingerprint] == MAX_UNSEEN:
            raise NoWorkers(f"{task.label}: {MAX_UNSEEN} times {told}; see what the workers have at that place")
        self._progress.retry(task, f"is not made: {told}")
        self._queue.give_back(task.fingerprint, delay=UNSEEN)

    def _retry_with_less(self, task: Task) -> bool:
        """Return whether a work whose memory ran out is to be tried again, with less."""
        tried = self._reduced.setdefault(task.fingerprint, [])
        before = tried[-1] if tried else task.component
        after = self._less.of(before, task.stage)
        if after is before or len(tried) == MAX_TRIES:
            return False
        tried.append(after)
        AttemptLog(self._store.root, task.fingerprint, self._run).forget()  # what it died of with more
        Checkpoint(self._store.root / CHECKPOINTS / task.fingerprint).drop()  # one artefact is made with one setting
        self._progress.retry(task, f"out of memory; tried again with {in_words(changes(task.component, after))}")
        return True

    def _reopen(self, fingerprint: str) -> None:
        self._store.drop(fingerprint)
        maker = self._graph.tasks[fingerprint]
        self._queue.add(maker)
        self._progress.add(maker)
        for need in maker.needs:
            if need not in self._queue and not self._store.has(need):
                self._reopen(need)

    def _close(self, task: Task) -> None:
        self._queue.done(task.fingerprint)
        self._progress.finish(task)

    def _fail(self, task: Task, record: Mapping[str, Any], known: bool = False) -> None:
        self._queue.drop(task.fingerprint)
        self.tally.failed[task.fingerprint] = record
        self._progress.fail(task, str(record["cause"]), known)
        for fingerprint in self._graph.dependents(task.fingerprint):
            step = self._plan.steps[fingerprint]
            if step.state in ("run", "failed") and fingerprint not in self.tally.failed:
                self._queue.drop(fingerprint)
                self.tally.skipped.setdefault(fingerprint, task.label)
                self._progress.skip(self._graph.tasks[fingerprint], task.label)
