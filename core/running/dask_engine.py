"""The engine for several worker processes: Dask's local cluster, under our own rules of blame."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.language.discovery import ROOT
from core.running.task import Outcome, Report, Task, perform

TOPIC = "progress"


class DaskLocal:
    """Worker processes that import the framework once each and are replaced when they die.

    Dask would blame a worker's death on every task queued there; so it is told to allow any number of deaths, and
    the ledger on disk says which stage was being worked on. Results live in the store only: what a future says
    is "it ended", and one that is lost is looked up on disk and else submitted again.
    """

    def __init__(self, root: Path, jobs: int, report: Report, say: Callable[[str], None]) -> None:
        import dask
        from distributed import Client, LocalCluster

        for name in ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.worker"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.slots = jobs
        self._root, self._say = root, say
        self._tasks: dict[Any, Task] = {}
        threads = str(max(1, (os.cpu_count() or 1) // jobs))
        settings = {
            "distributed.scheduler.allowed-failures": 1000,
            "distributed.scheduler.worker-ttl": None,
            "distributed.worker.daemon": False,
            "distributed.admin.system-monitor.gil.enabled": False,
        }
        environment = {
            "OMP_NUM_THREADS": threads,
            "TF_NUM_INTRAOP_THREADS": threads,
            "TF_NUM_INTEROP_THREADS": threads,
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
            "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "tensorflow"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        with dask.config.set(settings):
            self._cluster = LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,
                dashboard_address=None,
                env=environment,
                silence_logs=logging.CRITICAL,
                local_directory=str(root / ".dask"),
            )
            self._client = Client(self._cluster)
        self._client.subscribe_topic(TOPIC, lambda event: report(*event[1]))

    def submit(self, task: Task) -> None:
        future = self._client.submit(
            _perform, asdict(task), str(self._root), key=f"{task.fingerprint}-{uuid.uuid4().hex[:8]}", pure=False
        )
        self._tasks[future] = task

    def next(self, timeout: float) -> Outcome | None:
        from distributed import wait

        if not self._tasks:
            return None
        try:
            done = wait(list(self._tasks), timeout=timeout, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return None
        future = done.pop()
        task = self._tasks.pop(future)
        if future.status == "finished":
            return Outcome(**future.result())
        self._say(f"{task.label}: the worker was lost; trying again")
        self.submit(task)
        return None

    def close(self) -> None:
        logging.disable(logging.CRITICAL)  # workers that are ended on purpose complain about it
        try:
            self._client.close(timeout=5)
            self._cluster.close(timeout=10)
        finally:
            logging.disable(logging.NOTSET)


def _perform(values: dict[str, Any], root: str) -> dict[str, Any]:
    """Perform a task on a worker."""
    from distributed import get_worker

    worker = get_worker()

    def report(fingerprint: str, done: int, total: int, unit: str) -> None:
        worker.log_event(TOPIC, (fingerprint, done, total, unit))

    return asdict(perform(Task(**values), Path(root), report))
