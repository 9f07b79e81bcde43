"""The engine for several workers, local or on a cluster: Dask, with our own accounting of worker deaths."""

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

MAX_SUBMISSIONS = 3
"""How often a task is submitted to Dask without a result before the run ends."""
_SETTINGS = {
    # The attempt log on disk attributes a death to its stage; Dask would attribute it to every queued task.
    "distributed.scheduler.allowed-failures": 1000,
    # A stage may block Python, and so Dask's heartbeat, for long.
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.daemon": False,
    "distributed.admin.system-monitor.gil.enabled": False,
}


class DaskEngine:
    """Workers that import the framework once each.

    Dask attributes a worker's death to every task queued there; so it is set to allow any number of deaths, and the attempt
    log on disk says which stage was running. Results live in the store only: a future carries just the outcome. A task
    that ends otherwise is reported with the reason and submitted again, ``MAX_SUBMISSIONS`` times in all.
    Only workers that meet the requirements of the run receive tasks.
    """

    def __init__(self, terms: WorkerRequirements, cluster: Cluster, watcher: Watcher) -> None:
        import dask
        import distributed  # noqa: F401 - defines its settings, which are then overridden temporarily

        for name in ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.worker"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger("dask_jobqueue").setLevel(logging.CRITICAL)
        shield_resource_tracker()
        self.slots = cluster.slots
        self._terms, self._workers, self._watcher = terms, cluster, watcher
        self._perform = performer(terms.root, terms.token)
        self._tasks: dict[str, tuple[TaskSpec, Any]] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._submissions: Counter[str] = Counter()
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
            Unreachable: nobody answers there, or a worker or scheduler has another Python version.
        """
        from distributed import Client

        ways = self._cluster if isinstance(self._cluster, dict) else {"address": self._cluster}
        place = ways["address"]
        try:
            client = Client(**ways)
        except OSError as error:
            raise Unreachable(f"no scheduler answers at {place}: {error}; start one, or correct the file") from error
        if others := _other_pythons(client):
            client.close(timeout=5)
            raise Unreachable(
                f"{', '.join(others)}, and the runner {_python()}; start them with the same version of Python"
            )
        return client

    def submit(self, task: TaskSpec) -> None:
        self._check_scheduler()
        self._submissions[task.fingerprint] += 1
        # A new key: Dask may still hold the result of an earlier attempt.
        key = f"{task.fingerprint}-{self._terms.token}-{next(self._numbers)}"
        needs = {self._terms.token: 1}
        future = self._client.submit(self._perform, task.message(), key=key, pure=False, resources=needs)
        self._tasks[key] = (task, future)
        future.add_done_callback(lambda future: self._ended.put(future.key))

    def next(self, timeout: float) -> TaskOutcome | None:
        if not self._tasks:
            return None
        self._check_scheduler()
        self._starts.check()
        self._agreement.check()
        try:
            key = self._ended.get(timeout=timeout)
        except queue.Empty:
            return None
        task, future = self._tasks.pop(key)
        if future.status == "finished":
            del self._submissions[task.fingerprint]
            return self._explained(TaskOutcome(**future.result()))
        self._check_scheduler()
        cause, times = _cause(future), self._submissions[task.fingerprint]
        if times == MAX_SUBMISSIONS:
            raise NoWorkers(f"{task.label} was submitted {times} times without a result, the last time: {cause}")
        self._watcher.say(f"{task.label}: {cause}; submitting it again (attempt {times + 1} of {MAX_SUBMISSIONS})")
        self.submit(task)
        return None

    def _heard(self, hear: Callable[..., None], token: str, *what: Any) -> None:
        """Pass on a worker's message; other runs may share the scheduler."""
        if token == self._terms.token:
            hear(*what)

    def _joined(self, address: str, where: str, job: str, objection: str) -> None:
        self._starts.joined(job)
        self._agreement.heard(address, where, objection)

    def _recall(self) -> None:
        """Make workers repeat their answers: some may have sent them before the scheduler knew its listener."""
        for _, event in self._client.get_events(JOINED):
            self._heard(self._joined, *event)

    def _check_scheduler(self) -> None:
        """Raise ``NoWorkers`` if the scheduler is gone."""
        if self._client.status != "running":
            raise NoWorkers(
                f"the connection to the scheduler ({self._client.scheduler.address}) is lost; check whether it still runs"
            )

    def _explained(self, outcome: TaskOutcome) -> TaskOutcome:
        """Return an outcome with how the workers that died of it ended, as far as that is known here."""
        if not outcome.deaths:
            return outcome
        exits = [self._workers.worker_exit(record) for record in outcome.deaths]
        ended = [{**record, "end": exit_.end} for record, exit_ in zip(outcome.deaths, exits, strict=True)]
        explained = TaskOutcome.of_deaths(outcome.fingerprint, StageDied(ended))
        return replace(explained, out_of_memory=any(exit_.out_of_memory for exit_ in exits))

    def close(self) -> None:
        logging.disable(logging.CRITICAL)  # workers that are ended on purpose log errors about it
        self._terms.proof.unlink(missing_ok=True)
        try:
            with suppress(OSError, TimeoutError, ValueError):  # a scheduler that is gone has nothing to close
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
    return f"Dask reports it as {future.status}"


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _other_pythons(client: Any) -> list[str]:
    """Return which of a scheduler and its workers have another Python version, which cannot unpickle our functions."""
    found = client.get_versions()
    hosts = {"the scheduler": found["scheduler"], **{f"worker {name}": one for name, one in found["workers"].items()}}
    return [
        f"{name} has Python {one['host']['python']}"
        for name, one in hosts.items()
        if one and not one["host"]["python"].startswith(f"{_python()}.")
    ]
