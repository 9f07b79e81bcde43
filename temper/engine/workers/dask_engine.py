"""The engine for several workers, here or on a cluster: Dask, under our own rules of blame."""

from __future__ import annotations

import itertools
import logging
import platform
import queue
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from temper.core.cluster import Cluster
from temper.engine.running.engine import NoWorkers, Unreachable, Watcher
from temper.engine.running.signals import shield_resource_tracker
from temper.engine.running.task import TaskOutcome, TaskSpec
from temper.engine.storage.attempt_log import StageDied
from temper.engine.workers.compatibility import WorkerRequirements
from temper.engine.workers.compatible_workers import CompatibleWorkers
from temper.engine.workers.dask_messages import BEGAN, JOINED, PROGRESS, admission, performer
from temper.engine.workers.failed_jobs import FailedJobs
from temper.engine.workers.worker_env import worker_env

MAX_HANDED_OUT = 3
"""How often a task is handed to Dask whose result does not come back, before the run ends."""
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
    is "it ended". One that ends otherwise is told with its reason and handed out again, ``MAX_HANDED_OUT`` times in all.
    Only workers that agree with the terms of the run are given tasks.
    """

    def __init__(self, terms: WorkerRequirements, cluster: Cluster, watcher: Watcher) -> None:
        import dask
        import distributed  # noqa: F401 - its settings must be there before others are put over them for a while

        for name in ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.worker"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger("dask_jobqueue").setLevel(logging.CRITICAL)
        shield_resource_tracker()
        self.slots = cluster.slots
        self._terms, self._workers, self._watcher = terms, cluster, watcher
        self._perform = performer(terms.root, terms.token)
        self._tasks: dict[str, tuple[TaskSpec, Any]] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._handed_out: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        terms.prove()
        with dask.config.set({**_SETTINGS, **cluster.settings}):
            self._cluster = cluster.start(worker_env(Path(terms.root)))
            self._client = self._connected()
        self._starts = FailedJobs(cluster, self._cluster, watcher)
        self._agreement = CompatibleWorkers(self._cluster, self._client, watcher, self._recall)
        for topic, hear in ((JOINED, self._joined), (BEGAN, watcher.began), (PROGRESS, watcher.report)):
            self._client.subscribe_topic(topic, lambda event, hear=hear: self._heard(hear, *event[1]))
        self._client.register_plugin(admission(asdict(terms)))
        self._recall()

    def _connected(self) -> Any:
        """Return a client of the scheduler.

        Raises:
            Unreachable: nobody answers there, or one whose Python cannot read what is sent.
        """
        from distributed import Client

        ways = self._cluster if isinstance(self._cluster, dict) else {"address": self._cluster}
        place = ways["address"]
        try:
            client = Client(**ways)
        except OSError as error:
            raise Unreachable(f"no scheduler answers at {place}: {error}; start one, or mend the file") from error
        if others := _other_pythons(client):
            client.close(timeout=5)
            raise Unreachable(
                f"{', '.join(others)}, and the runner {_python()}; start them with the same version of Python"
            )
        return client

    def submit(self, task: TaskSpec) -> None:
        self._check_scheduler()
        self._handed_out[task.fingerprint] += 1
        # Never the key of an earlier try, whose result Dask may still hold.
        key = f"{task.fingerprint}-{self._terms.token}-{next(self._numbers)}"
        needs = {self._terms.token: 1}
        future = self._client.submit(self._perform, asdict(task), key=key, pure=False, resources=needs)
        self._tasks[key] = (task, future)
        future.add_done_callback(lambda future: self._ended.put(future.key))

    def next(self, timeout: float) -> TaskOutcome | None:
        if not self._tasks:
            return None
        self._check_scheduler()
        self._starts.look()
        self._agreement.look()
        try:
            key = self._ended.get(timeout=timeout)
        except queue.Empty:
            return None
        task, future = self._tasks.pop(key)
        if future.status == "finished":
            del self._handed_out[task.fingerprint]
            return self._explained(TaskOutcome(**future.result()))
        self._check_scheduler()
        cause, times = _cause(future), self._handed_out[task.fingerprint]
        if times == MAX_HANDED_OUT:
            raise NoWorkers(
                f"{task.label} was handed out {times} times and no result came back, the last time: {cause}"
            )
        self._watcher.say(
            f"{task.label}: {cause}; it is handed out again, for the {times + 1}. of {MAX_HANDED_OUT} times"
        )
        self.submit(task)
        return None

    def _heard(self, hear: Callable[..., None], token: str, *what: Any) -> None:
        """Pass on what a worker says; other runs may have the same scheduler."""
        if token == self._terms.token:
            hear(*what)

    def _joined(self, address: str, where: str, job: str, objection: str) -> None:
        self._starts.joined(job)
        self._agreement.heard(address, where, objection)

    def _recall(self) -> None:
        """Hear again who has joined: some may have spoken before the scheduler knew who listens."""
        for _, event in self._client.get_events(JOINED):
            self._heard(self._joined, *event)

    def _check_scheduler(self) -> None:
        """Raise ``NoWorkers`` if the scheduler is there no more."""
        if self._client.status != "running":
            raise NoWorkers(
                f"the connection to the scheduler ({self._client.scheduler.address}) is lost; see whether it still runs"
            )

    def _explained(self, outcome: TaskOutcome) -> TaskOutcome:
        """Return an outcome with how the workers that died of it came to their end, as far as that can be known from here."""
        if not outcome.deaths:
            return outcome
        fates = [self._workers.fate(record) for record in outcome.deaths]
        ended = [{**record, "end": fate.end} for record, fate in zip(outcome.deaths, fates, strict=True)]
        told = TaskOutcome.of_deaths(outcome.fingerprint, StageDied(ended))
        return replace(told, out_of_memory=any(fate.out_of_memory for fate in fates))

    def close(self) -> None:
        logging.disable(logging.CRITICAL)  # workers that are ended on purpose complain about it
        self._terms.proof.unlink(missing_ok=True)
        try:
            with suppress(OSError, TimeoutError, ValueError):  # a scheduler that is gone keeps nothing
                if self._client.status == "running" and not hasattr(self._cluster, "close"):
                    self._client.unregister_worker_plugin(self._terms.token)
            self._client.close(timeout=5)
            if hasattr(self._cluster, "close"):
                self._cluster.close(timeout=10)
        finally:
            logging.disable(logging.NOTSET)


def _cause(future: Any) -> str:
    """Return why a future ended without a result, in one line."""
    if future.status == "error":
        error = future.exception()
        while error.__cause__ is not None:
            error = error.__cause__
        return " ".join(f"{type(error).__name__}: {error}".split())
    return f"Dask says that it is {future.status}"


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _other_pythons(client: Any) -> list[str]:
    """Return which of a scheduler and its workers have another version of Python, which cannot read our functions."""
    found = client.get_versions()
    hosts = {"the scheduler": found["scheduler"], **{f"worker {name}": one for name, one in found["workers"].items()}}
    return [
        f"{name} has Python {one['host']['python']}"
        for name, one in hosts.items()
        if one and not one["host"]["python"].startswith(f"{_python()}.")
    ]
