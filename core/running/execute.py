"""Carries a plan out: hands ready works to the engine, and goes on when one fails."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.language.discovery import Catalogue
from core.running.engine import Engine
from core.running.graph import Graph, Work
from core.running.plan import Plan
from core.running.progress import Progress
from core.running.task import Outcome, Task
from core.storage.history import Failures, Timings
from core.storage.lease import Leases
from core.storage.store import Store

MAX_DAMAGES = 2
"""How often an artefact that is damaged is made again within one run; a disk that spoils everything must not hold it."""
POLL = 0.2
"""Seconds between two looks at what another runner is making."""


@dataclass
class Tally:
    """How the works of a run ended, by fingerprint: the cause of each failure, and whose failure skipped a work."""

    made: list[str] = field(default_factory=list)
    failed: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


class Execution:
    """One run of a plan."""

    def __init__(
        self, graph: Graph, plan: Plan, store: Store, engine: Engine, progress: Progress, catalogue: Catalogue
    ) -> None:
        self._graph, self._plan, self._store = graph, plan, store
        self._engine, self._progress, self._catalogue = engine, progress, catalogue
        self._failures, self._timings = Failures(store.root), Timings(store.root)
        self._leases = Leases(store.root / ".leases")
        self._run = uuid.uuid4().hex
        self._open: dict[str, Work] = {}
        self._running: set[str] = set()
        self._damages: Counter[str] = Counter()
        self.tally = Tally()

    def run(self) -> Tally:
        """Make everything the plan says, and return how it ended."""
        self._open = {step.work.fingerprint: step.work for step in self._plan.having("run")}
        for step in self._plan.having("failed"):
            record = self._failures.get(step.work.fingerprint) or {"label": step.work.label, "cause": step.reason}
            self._fail(step.work, record, known=True)
        self._progress.begin(self._open.values(), {f: s.seconds for f, s in self._plan.steps.items()})
        try:
            while self._open:
                busy = self._submit_ready()
                if not self._running:
                    if not busy:
                        break
                    time.sleep(POLL)
                    continue
                outcome = self._engine.next(POLL)
                if outcome is not None:
                    self._settle(outcome)
        finally:
            self._leases.close()
        return self.tally

    def _submit_ready(self) -> bool:
        """Hand over what is ready; return whether something ready is being made by another runner."""
        elsewhere = False
        for fingerprint, work in list(self._open.items()):
            if len(self._running) >= self._engine.slots:
                break
            if fingerprint in self._running or fingerprint not in self._open or not self._ready(work):
                continue
            if not self._leases.acquire(fingerprint):
                elsewhere = True
                continue
            if self._made_meanwhile(fingerprint):
                self._leases.release(fingerprint)
                self._close(work)
                continue
            if fingerprint in self._plan.forced:
                self._store.drop(fingerprint)
            self._failures.forget(fingerprint)
            self._running.add(fingerprint)
            self._progress.start(work)
            self._engine.submit(Task.of(work, self._run, self._catalogue))
        return elsewhere

    def _ready(self, work: Work) -> bool:
        return not any(need in self._open for need in work.needs)

    def _made_meanwhile(self, fingerprint: str) -> bool:
        return fingerprint not in self._plan.forced and self._store.has(fingerprint)

    def _settle(self, outcome: Outcome) -> None:
        work = self._open[outcome.fingerprint]
        self._running.discard(outcome.fingerprint)
        self._leases.release(outcome.fingerprint)
        match outcome.status:
            case "done":
                self._timings.add(work, float(outcome.cost.get("seconds", 0.0)))
                self.tally.made.append(work.fingerprint)
                self._close(work)
            case "damaged" if self._damages[outcome.damaged] < MAX_DAMAGES:
                # Its maker goes back into the plan, and the work that found the damage waits for it.
                self._damages[outcome.damaged] += 1
                self._progress.say(f"{outcome.cause}; it is made again")
                self._reopen(outcome.damaged)
            case _:
                record = self._failures.add(work, outcome.cause, outcome.log, outcome.cost)
                self._fail(work, record)

    def _reopen(self, fingerprint: str) -> None:
        self._store.drop(fingerprint)
        maker = self._graph.works[fingerprint]
        self._open[fingerprint] = maker
        self._progress.add(maker)
        for need in maker.needs:
            if need not in self._open and not self._store.has(need):
                self._reopen(need)

    def _close(self, work: Work) -> None:
        self._open.pop(work.fingerprint, None)
        self._progress.finish(work)

    def _fail(self, work: Work, record: Mapping[str, Any], known: bool = False) -> None:
        self._open.pop(work.fingerprint, None)
        self.tally.failed[work.fingerprint] = record
        self._progress.fail(work, str(record["cause"]), known)
        for fingerprint in self._dependents(work.fingerprint):
            step = self._plan.steps[fingerprint]
            if step.state in ("run", "failed") and fingerprint not in self.tally.failed:
                self._open.pop(fingerprint, None)
                self.tally.skipped.setdefault(fingerprint, work.label)
                self._progress.skip(self._graph.works[fingerprint], work.label)

    def _dependents(self, fingerprint: str) -> Iterable[str]:
        found = {fingerprint}
        for other, work in self._graph.works.items():
            if found.intersection(work.needs):
                found.add(other)
                yield other
