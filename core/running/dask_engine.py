"""The engine for several workers, here or on a cluster: Dask, under our own rules of blame."""

from __future__ import annotations

import logging
import os
import uuid
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from core.cluster import JOB, Cluster
from core.running.engine import Unreachable, Watcher, here
from core.running.premises import premises
from core.running.starts import Starts
from core.running.task import Outcome, Task, perform
from core.running.warned import heed_warnings
from core.running.worker_log import keep_log
from core.storage.ledger import StageDied

JOINED, BEGAN, PROGRESS = "joined", "began", "progress"
"""The topics on which workers speak to the runner."""
_SETTINGS = {
    # A death is blamed by the ledger on disk, not on every task that was queued beside it.
    "distributed.scheduler.allowed-failures": 1000,
    # A stage may keep Python from answering for long.
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.daemon": False,
    "distributed.admin.system-monitor.gil.enabled": False,
}


class DaskEngine:
    """Workers that import the framework once each.

    Dask would blame a worker's death on every task queued there; so it is told to allow any number of deaths, and
    the ledger on disk says which stage was being worked on. Results live in the store only: what a future says
    is "it ended", and one that is lost is looked up on disk and else submitted again.
    """

    def __init__(self, root: Path, cluster: Cluster, watcher: Watcher) -> None:
        import dask
        from distributed import Client

        for name in ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.worker"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger("dask_jobqueue").setLevel(logging.CRITICAL)
        self.slots = cluster.slots
        self._root, self._workers, self._watcher = root, cluster, watcher
        self._tasks: dict[Any, Task] = {}
        with dask.config.set({**_SETTINGS, **cluster.settings}):
            self._cluster = cluster.start(premises(root))
            ways = self._cluster if isinstance(self._cluster, dict) else {"address": self._cluster}
            try:
                self._client = Client(**ways)
            except OSError as error:
                raise Unreachable(
                    f"no scheduler answers at {self._cluster}: {error}; start one, or mend the file"
                ) from error
        self._starts = Starts(cluster, self._cluster, watcher)
        self._client.subscribe_topic(JOINED, lambda event: self._starts.joined(event[1]))
        self._client.register_plugin(_manners())
        self._client.subscribe_topic(BEGAN, lambda event: watcher.began(*event[1]))
        self._client.subscribe_topic(PROGRESS, lambda event: watcher.report(*event[1]))

    def submit(self, task: Task) -> None:
        future = self._client.submit(
            _perform, asdict(task), str(self._root), key=f"{task.fingerprint}-{uuid.uuid4().hex[:8]}", pure=False
        )
        self._tasks[future] = task

    def next(self, timeout: float) -> Outcome | None:
        from distributed import wait

        if not self._tasks:
            return None
        self._starts.look()
        try:
            done = wait(list(self._tasks), timeout=timeout, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return None
        future = done.pop()
        task = self._tasks.pop(future)
        if future.status == "finished":
            return self._explained(Outcome(**future.result()))
        self._watcher.say(f"{task.label}: the worker was lost; trying again")
        self.submit(task)
        return None

    def _explained(self, outcome: Outcome) -> Outcome:
        """Return an outcome with how the workers that died of it came to their end, as far as that can be known from here."""
        if not outcome.deaths:
            return outcome
        fates = [self._workers.fate(record) for record in outcome.deaths]
        ended = [{**record, "end": fate.end} for record, fate in zip(outcome.deaths, fates, strict=True)]
        told = Outcome.of_deaths(outcome.fingerprint, StageDied(ended))
        return replace(told, out_of_memory=any(fate.out_of_memory for fate in fates))

    def close(self) -> None:
        logging.disable(logging.CRITICAL)  # workers that are ended on purpose complain about it
        try:
            self._client.close(timeout=5)
            if hasattr(self._cluster, "close"):
                self._cluster.close(timeout=10)
        finally:
            logging.disable(logging.NOTSET)


def _perform(values: dict[str, Any], root: str) -> dict[str, Any]:
    """Perform a task on a worker."""
    from distributed import get_worker

    worker, task = get_worker(), Task(**values)
    worker.log_event(BEGAN, (task.fingerprint, here()))

    def report(*what: Any) -> None:
        worker.log_event(PROGRESS, what)

    return asdict(perform(task, Path(root), report))


def _manners() -> Any:
    """Return what a worker does before its first task."""
    from distributed import WorkerPlugin

    class Manners(WorkerPlugin):  # type: ignore[misc]
        name = "manners"

        def setup(self, worker: Any) -> None:
            keep_log()
            heed_warnings(worker)
            worker.log_event(JOINED, os.environ.get(JOB, ""))

    return Manners()
