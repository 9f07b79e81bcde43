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

from core import stop
from core.checkpoint import Checkpoint
from core.files import NoRoom
from core.language.discovery import Catalogue
from core.running.agenda import Agenda
from core.running.engine import Engine, NoWorkers
from core.running.graph import Graph, Work
from core.running.memory import MAX_TRIES, Less, changes, in_words
from core.running.plan import Plan
from core.running.progress import Progress
from core.running.shard import Shard
from core.running.task import Outcome, Task
from core.running.waiting import Waiting
from core.stage import Stage
from core.storage.history import Failures, Timings
from core.storage.lease import LEASES, Leases
from core.storage.ledger import SHARDS, Ledger
from core.storage.store import CHECKPOINTS, Store

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
        graph: Graph,
        plan: Plan,
        store: Store,
        engine: Engine,
        progress: Progress,
        catalogue: Catalogue,
        less: Less,
        shard: Shard | None = None,
    ) -> None:
        self._graph, self._plan, self._store = graph, plan, store
        self._engine, self._progress, self._catalogue = engine, progress, catalogue
        self._failures, self._timings = Failures(store.root), Timings(store.root, smoke=graph.smoke)
        self._leases = Leases(store.root / LEASES)
        self._waiting = Waiting(self._leases)
        self._run = SHARDS if shard else uuid.uuid4().hex
        self._works = [step.work for step in plan.having("run")]
        self._agenda = Agenda(shard.order(self._works) if shard else self._works)
        self._damages: Counter[str] = Counter()
        self._unseen: Counter[str] = Counter()
        self._less, self._lessened = less, dict[str, list[Stage]]()
        self.tally = Tally()

    def run(self) -> Tally:
        """Make everything the plan says, and return how it ended; a request to stop leaves the rest.

        Raises:
            NoRoom: the disk is full.
            NoWorkers: there are none, or what they say they have made is not there.
        """
        estimates = {f: s.seconds for f, s in self._plan.steps.items()}
        self._progress.begin(self._works, estimates, self._engine.slots)
        self._try_again()
        for step in self._plan.having("failed"):
            record = self._failures.get(step.work.fingerprint) or {"label": step.work.label, "cause": step.reason}
            self._fail(step.work, record, known=True)
        try:
            while self._agenda and not stop.requested():
                self._submit_ready()
                if self._running:
                    outcome = self._engine.next(POLL)
                    if outcome is not None:
                        self._settle(outcome)
                elif not self._agenda.waits:
                    break
                else:
                    self._waiting.tell(self._progress.say)
                    time.sleep(POLL)
        finally:
            self._leases.close()
        return self.tally

    def _try_again(self) -> None:
        """Forget that works failed which are to be made now, and whom they killed."""
        again = self._failures.fingerprints() & {work.fingerprint for work in self._works}
        self._failures.forget(again)
        for fingerprint in again:
            Ledger(self._store.root, fingerprint, SHARDS).forget()

    def _submit_ready(self) -> None:
        """Hand over what can begin; what another runner is making is looked at again later."""
        while self._running < self._engine.slots and (work := self._agenda.take()) is not None:
            fingerprint = work.fingerprint
            if not self._leases.acquire(fingerprint):
                self._waiting.add(work)
                self._agenda.give_back(fingerprint, delay=ELSEWHERE)
                continue
            self._waiting.discard(work)
            if self._made_meanwhile(work):
                self._leases.release(fingerprint)
                self._close(work)
            elif (record := self._failures.get(fingerprint)) is not None:
                self._leases.release(fingerprint)
                self._fail(work, record)  # another runner has tried it since this one began
            else:
                self._begin(work)

    def _begin(self, work: Work) -> None:
        if self._store.folder(work.fingerprint).exists():
            self._store.drop(work.fingerprint)  # forced, or not what was written
        self._progress.start(work)
        lessened = self._lessened.get(work.fingerprint)
        self._engine.submit(Task.of(work, self._run, self._catalogue, lessened[-1] if lessened else None))

    @property
    def _running(self) -> int:
        return self._agenda.out

    def _made_meanwhile(self, work: Work) -> bool:
        return work.fingerprint not in self._plan.forced and work.is_there(self._store)

    def _settle(self, outcome: Outcome) -> None:
        work = self._agenda[outcome.fingerprint]
        self._leases.release(outcome.fingerprint)
        match outcome.status:
            case "done" if not self._arrived(work.fingerprint):
                self._look_again(work, outcome)
            case "done" if changed := work.bound.changed_file():
                self._store.drop(work.fingerprint)
                cause = (
                    f"{changed} changed while this run went on; the artefact is not kept: run the same command again"
                )
                self._fail(work, self._failures.add(work, cause, cause, outcome.cost, outcome.host))
            case "done":
                self._timings.add(work, float(outcome.cost.get("seconds", 0.0)))
                self.tally.made.add(work.fingerprint)
                self._close(work)
            case "full":
                raise NoRoom(outcome.cause)
            case "stopped":
                self._progress.stop(work)
                self._agenda.give_back(work.fingerprint)
            case "damaged" if self._damages[outcome.damaged] < MAX_DAMAGES:
                # Its maker goes back into the plan, and the work that found the damage waits for it.
                self._damages[outcome.damaged] += 1
                self._progress.say(f"{outcome.cause}; it is made again")
                self._reopen(outcome.damaged)
                self._agenda.give_back(work.fingerprint)
            case "failed" if outcome.out_of_memory and self._lessen(work):
                self._agenda.give_back(work.fingerprint)
            case _:
                cause = outcome.cause
                if tried := self._lessened.get(work.fingerprint):
                    cause += f"; the last try was with {in_words(changes(work.component, tried[-1]))}"
                self._fail(work, self._failures.add(work, cause, outcome.log, outcome.cost, outcome.host))

    def _arrived(self, fingerprint: str) -> bool:
        """Return whether an artefact that a worker has made is in the store."""
        if self._store.has(fingerprint):
            return True
        # A network file system remembers for a while what was not there, until the folder is opened again.
        with suppress(OSError), os.scandir(self._store.root):
            pass
        return self._store.has(fingerprint)

    def _look_again(self, work: Work, outcome: Outcome) -> None:
        """Leave a work that is said to be done and is not in the store until later, when it is made again unless it is there then.

        Raises:
            NoWorkers: it was so ``MAX_UNSEEN`` times.
        """
        self._unseen[work.fingerprint] += 1
        told = f"a worker on {outcome.host} says it is done, but its artefact is not in {self._store.root.resolve()}"
        if self._unseen[work.fingerprint] == MAX_UNSEEN:
            raise NoWorkers(f"{work.label}: {MAX_UNSEEN} times {told}; see what the workers have at that place")
        self._progress.retry(work, f"is not made: {told}")
        self._agenda.give_back(work.fingerprint, delay=UNSEEN)

    def _lessen(self, work: Work) -> bool:
        """Return whether a work whose memory ran out is to be tried again, with less."""
        tried = self._lessened.setdefault(work.fingerprint, [])
        before = tried[-1] if tried else work.component
        after = self._less.of(before, work.stage)
        if after is before or len(tried) == MAX_TRIES:
            return False
        tried.append(after)
        Ledger(self._store.root, work.fingerprint, self._run).forget()  # what it died of with more
        Checkpoint(self._store.root / CHECKPOINTS / work.fingerprint).drop()  # one artefact is made with one setting
        self._progress.retry(work, f"out of memory; tried again with {in_words(changes(work.component, after))}")
        return True

    def _reopen(self, fingerprint: str) -> None:
        self._store.drop(fingerprint)
        maker = self._graph.works[fingerprint]
        self._agenda.add(maker)
        self._progress.add(maker)
        for need in maker.needs:
            if need not in self._agenda and not self._store.has(need):
                self._reopen(need)

    def _close(self, work: Work) -> None:
        self._agenda.done(work.fingerprint)
        self._progress.finish(work)

    def _fail(self, work: Work, record: Mapping[str, Any], known: bool = False) -> None:
        self._agenda.drop(work.fingerprint)
        self.tally.failed[work.fingerprint] = record
        self._progress.fail(work, str(record["cause"]), known)
        for fingerprint in self._graph.dependents(work.fingerprint):
            step = self._plan.steps[fingerprint]
            if step.state in ("run", "failed") and fingerprint not in self.tally.failed:
                self._agenda.drop(fingerprint)
                self.tally.skipped.setdefault(fingerprint, work.label)
                self._progress.skip(self._graph.works[fingerprint], work.label)
