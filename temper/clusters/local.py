"""Worker processes on this machine."""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from temper.clusters import dask_without_http
from temper.clusters.gpu_assignment import VISIBLE_DEVICES, gpu_variables, visible_gpus
from temper.core.cluster import LOGS, Cluster, WorkerEnv, WorkerExit, exit_in_words
from temper.core.component import Range

_TIMEOUT = 2.0
"""Seconds to wait until a nanny has recorded its worker's exit."""
_EXITS: dict[int, int] = {}
"""The exit codes of this process's workers, by process id."""


@dataclass(frozen=True, kw_only=True)
class Local(Cluster):
    """Worker processes on this machine, each replaced when it dies.

    Each computes on the number of threads in the experiment file. With ``gpus``, every worker sees one GPU, the first
    worker the first; if there are more workers than GPUs, they share them, and none reserves memory that it does not
    use.

    Source: Dask's SpecCluster, with a nanny for each worker.
    """

    tag = "local"

    gpus: Annotated[
        int, "number of GPUs, assigned to the workers in turn; 0: every worker sees all GPUs", Range(ge=0)
    ] = 0

    def check(self) -> Iterator[tuple[str, str]]:
        if self.gpus > self.workers:
            yield "gpus", f"expected at most the {self.workers} workers, received {self.gpus}; raise workers"
        visible = visible_gpus()
        if visible is not None and self.gpus > len(visible):
            yield "gpus", f"expected at most the {len(visible)} that {VISIBLE_DEVICES} lists, received {self.gpus}"

    def start(self, env: WorkerEnv) -> Any:
        from distributed import SpecCluster
        from distributed.security import Security

        # Whoever reaches a scheduler's port can run code on its workers: without TLS, every user of this machine could.
        encrypted = {"protocol": "tls", "security": Security.temporary(), "host": "127.0.0.1"}
        folder = str(env.folder)
        nanny = _nanny()
        workers = {
            number: {
                "cls": nanny,
                "options": {
                    "nthreads": 1,
                    "memory_limit": 0,  # Dask would pause or kill a worker over the limit
                    "env": {**env.environment, **gpu_variables(number, self.workers, self.gpus), LOGS: _log_folder()},
                    "local_directory": folder,
                    "silence_logs": logging.CRITICAL,
                    "worker_class": dask_without_http.Worker,
                    **encrypted,
                },
            }
            for number in range(self.workers)
        }
        scheduler = {"cls": dask_without_http.Scheduler, "options": {"port": 0, "dashboard": False, **encrypted}}
        security = encrypted["security"]
        return SpecCluster(workers=workers, scheduler=scheduler, security=security, silence_logs=logging.CRITICAL)

    def worker_exit(self, worker: Mapping[str, Any]) -> WorkerExit:
        pid, deadline = int(worker["pid"]), time.monotonic() + _TIMEOUT
        while pid not in _EXITS and time.monotonic() < deadline:
            time.sleep(0.02)
        return WorkerExit(exit_in_words(_EXITS[pid])) if pid in _EXITS else WorkerExit()


@cache
def _log_folder() -> str:
    """Return the folder of the workers' logs; it is removed when this process exits."""
    folder = tempfile.mkdtemp(prefix="temper-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _nanny() -> type:
    """Return Dask's nanny, extended to record how its workers ended."""
    from distributed import Nanny

    class RecordingNanny(Nanny):  # type: ignore[misc]
        _watched: int | None = None

        async def instantiate(self) -> Any:
            self._watched = None
            status = await super().instantiate()
            self._watched = self.pid
            return status

        def _on_worker_exit_sync(self, exitcode: int) -> None:
            if self._watched is not None:
                _EXITS[self._watched] = exitcode
            super()._on_worker_exit_sync(exitcode)

    return RecordingNanny
