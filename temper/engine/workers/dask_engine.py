"""The engine for several workers, local or on a cluster: Dask, with Temper's own accounting of worker deaths."""

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
from temper.engine.workers.dask_messages import BEGAN, JOINED, PROGRESS, compatibility_plugin, task_function
from temper.engine.workers.failed_jobs import FailedJobs
from temper.engine.workers.worker_env import worker_env

MAX_SUBMISSIONS = 3
"""How often a task is submitted to Dask without a result before the run ends with an error."""
_SETTINGS = {
    # The attempt log on disk attributes a death to its stage; Dask would attribute it to every queued task.
    "distributed.scheduler.allowed-failures": 1000,
    # A stage may hold the GIL for minutes, and block Dask's heartbeat.
    "distributed.scheduler.worker-ttl": None,
    # A daemonic process could not start processes of its own.
    "distributed.worker.daemon": False,
    "distributed.admin.system-monitor.gil.enabled": False,
}


class DaskEngine:
    """Workers that import the framework once each.

    Dask attributes a worker's death to every task queued there; so it may count any number of deaths, and the attempt
    log on disk says which stage was running. Artefacts are in the store only: a future carries just the outcome. A task
    without an outcome is reported with the reason and submitted again, ``MAX_SUBMISSIONS`` times in all. Only workers
    that meet the requirements of the run receive tasks.
    """

    def __init__(self, requirements: WorkerRequirements, cluster: Cluster, watcher: Watcher) -> None:
        import dask
        import distributed  # noqa: F401 - defines the default settings, which are overridden below

        for name in ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.worker"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger("dask_jobqueue").setLevel(logging.CRITICAL)
        shield_resource_tracker()
        self.workers = cluster.workers
        self._requirements, self._cluster, self._watcher = requirements, cluster, watcher
        self._perform = task_function(requirements.root, requirements.token)
        self._tasks: dict[str, tuple[TaskSpec, Any]] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._submissions: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        requirements.write_store_marker()
        with dask.config.set({**_SETTINGS, **cluster.settings}):
            self._started = cluster.start(worker_env(Path(requirements.root)))
            self._client = self._connected()
        self._failed_jobs = FailedJobs(cluster, self._started, watcher)
        self._compatible_workers = CompatibleWorkers(self._started, self._client, watcher, self._replay_answers)
        for topic, handler in ((JOINED, self._on_worker_joined), (BEGAN, watcher.began), (PROGRESS, watcher.report)):
            self._client.subscribe_topic(topic, lambda event, handler=handler: self._on_message(handler, *event[1]))
        self._client.register_plugin(compatibility_plugin(asdict(requirements)))
        self._replay_answers()

    def _connected(self) -> Any:
        """Return a client of the scheduler.

        Raises:
            Unreachable: no scheduler answers, or the scheduler or a worker has another Python version.
        """
        from distributed import Client

        connection = self._started if isinstance(self._started, dict) else {"address": self._started}
        try:
            client = Client(**connection)
        except OSError as error:
            raise Unreachable(
                f"no scheduler answers at {connection['address']}: {error}; start one, or correct the cluster file"
            ) from error
        if others := _other_pythons(client):
            client.close(timeout=5)
            raise Unreachable(
                f"{', '.join(others)}, but the runner has {_python()}; start them with the same version of Python"
            )
        return client

    def submit(self, task: TaskSpec) -> None:
        self._check_scheduler()
        self._submissions[task.fingerprint] += 1
        # A unique key: Dask may still hold the result of an earlier attempt.
        key = f"{task.fingerprint}-{self._requirements.token}-{next(self._numbers)}"
        needs = {self._requirements.token: 1}  # a resource that only compatible workers offer
        future = self._client.submit(self._perform, task.message(), key=key, pure=False, resources=needs)
        self._tasks[key] = (task, future)
        # Called in a thread of Dask's, hence the queue.
        future.add_done_callback(lambda future: self._ended.put(future.key))

    def next(self, timeout: float) -> TaskOutcome | None:
        if not self._tasks:
            return None
        self._check_scheduler()
        self._failed_jobs.check()
        self._compatible_workers.check()
        try:
            key = self._ended.get(timeout=timeout)
        except queue.Empty:
            return None
        task, future = self._tasks.pop(key)
        if future.status == "finished":
            del self._submissions[task.fingerprint]
            return self._with_worker_exits(TaskOutcome(**future.result()))
        self._check_scheduler()
        cause, times = _cause(future), self._submissions[task.fingerprint]
        if times == MAX_SUBMISSIONS:
            raise NoWorkers(f"{task.label} was submitted {times} times without a result, the last time: {cause}")
        self._watcher.say(f"{task.label}: {cause}; submitting it again (attempt {times + 1} of {MAX_SUBMISSIONS})")
        self.submit(task)
        return None

    def _on_message(self, handler: Callable[..., None], token: str, *values: Any) -> None:
        """Handle a worker's message if it concerns this run: other runs may share the scheduler."""
        if token == self._requirements.token:
            handler(*values)

    def _on_worker_joined(self, address: str, where: str, job: str, incompatibility: str) -> None:
        self._failed_jobs.joined(job)
        self._compatible_workers.record_answer(address, where, incompatibility)

    def _replay_answers(self) -> None:
        """Handle the answers that workers sent before this client was subscribed to them."""
        for _, event in self._client.get_events(JOINED):
            self._on_message(self._on_worker_joined, *event)

    def _check_scheduler(self) -> None:
        """Raise ``NoWorkers`` if the scheduler is gone."""
        if self._client.status != "running":
            raise NoWorkers(
                f"the connection to the scheduler ({self._client.scheduler.address}) is lost; check that it still runs"
            )

    def _with_worker_exits(self, outcome: TaskOutcome) -> TaskOutcome:
        """Return an outcome together with how the workers that it killed exited, as far as the cluster knows."""
        if not outcome.deaths:
            return outcome
        exits = [self._cluster.worker_exit(record) for record in outcome.deaths]
        ended = [{**record, "end": exit_.end} for record, exit_ in zip(outcome.deaths, exits, strict=True)]
        explained = TaskOutcome.of_deaths(outcome.fingerprint, StageDied(ended))
        return replace(explained, out_of_memory=any(exit_.out_of_memory for exit_ in exits))

    def close(self) -> None:
        logging.disable(logging.CRITICAL)  # workers that are terminated on purpose log errors
        self._requirements.store_marker.unlink(missing_ok=True)
        try:
            with suppress(OSError, TimeoutError, ValueError):  # the scheduler may be gone
                # A scheduler outlives the run, and would pass the plugin on to new workers.
                if self._client.status == "running" and not hasattr(self._started, "close"):
                    self._client.unregister_worker_plugin(self._requirements.token)
            self._client.close(timeout=5)
            if hasattr(self._started, "close"):
                self._started.close(timeout=10)
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
    """Return which of a scheduler and its workers have another Python version: they cannot unpickle our functions."""
    found = client.get_versions()
    hosts = {"the scheduler": found["scheduler"], **{f"worker {name}": one for name, one in found["workers"].items()}}
    return [
        f"{name} has Python {one['host']['python']}"
        for name, one in hosts.items()
        if one and not one["host"]["python"].startswith(f"{_python()}.")
    ]
