"""Worker processes on this machine."""

from __future__ import annotations

import atexit
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import Annotated, Any

from temper.clusters import dask_without_http
from temper.core.cluster import LOGS, Cluster, WorkerEnv, WorkerExit, exit_in_words
from temper.core.component import Range

_PATIENCE = 2.0
"""Seconds within which a nanny learns of its worker's end."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_GPU = r"\d+|(GPU|MIG)-[\w/-]+"
"""The number or the name of a GPU, or the name of a part of one."""
_EXITS: dict[int, int] = {}
"""The exit codes of this process's workers, by process id."""


@dataclass(frozen=True, kw_only=True)
class Local(Cluster):
    """Worker processes on this machine, each replaced when it dies.

    Each computes on as many threads as the experiment file says. With ``gpus``, every worker sees one GPU, the first
    worker the first; more workers than GPUs share them, and none reserves memory that it does not use.

    Source: Dask's SpecCluster, with a nanny for each worker.
    """

    tag = "local"

    gpus: Annotated[int, "GPUs to share out among the workers; 0: every worker sees all there are", Range(ge=0)] = 0

    def check(self) -> Iterator[tuple[str, str]]:
        if self.gpus > self.workers:
            yield "gpus", f"{self.workers} workers use no more than {self.workers} of {self.gpus}; raise workers"
        visible = _visible()
        if visible is not None and self.gpus > len(visible):
            yield "gpus", f"expected at most the {len(visible)} that {_VISIBLE} names, received {self.gpus}"

    def start(self, env: WorkerEnv) -> Any:
        from distributed import SpecCluster
        from distributed.security import Security

        # Whoever reaches a scheduler's port runs code on its workers: without TLS, every other user of this machine could.
        guarded = {"protocol": "tls", "security": Security.temporary(), "host": "127.0.0.1"}
        folder = str(env.folder)
        nanny = _nanny()
        workers = {
            number: {
                "cls": nanny,
                "options": {
                    "nthreads": 1,
                    "memory_limit": 0,
                    "env": {**env.environment, **self._share(number), LOGS: _logs()},
                    "local_directory": folder,
                    "silence_logs": logging.CRITICAL,
                    "worker_class": dask_without_http.Worker,
                    **guarded,
                },
            }
            for number in range(self.workers)
        }
        scheduler = {"cls": dask_without_http.Scheduler, "options": {"port": 0, "dashboard": False, **guarded}}
        security = guarded["security"]
        return SpecCluster(workers=workers, scheduler=scheduler, security=security, silence_logs=logging.CRITICAL)

    def worker_exit(self, worker: Mapping[str, Any]) -> WorkerExit:
        pid, deadline = int(worker["pid"]), time.monotonic() + _PATIENCE
        while pid not in _EXITS and time.monotonic() < deadline:
            time.sleep(0.02)
        return WorkerExit(exit_in_words(_EXITS[pid])) if pid in _EXITS else WorkerExit()

    def _share(self, number: int) -> dict[str, str]:
        """Return the variables that give a worker its share of the GPUs."""
        share: dict[str, str] = {}
        if self.gpus:
            share[_VISIBLE] = (_visible() or list(map(str, range(self.gpus))))[number % self.gpus]
        if self.gpus < self.workers:
            share |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        return share


def _visible() -> list[str] | None:
    """Return the GPUs that the runner may use, by number or name; ``None`` if nothing limits them.

    Source: CUDA, which uses those before the first invalid one, such as -1.
    """
    named = os.environ.get(_VISIBLE)
    if named is None:
        return None
    return list(dict.fromkeys(takewhile(re.compile(_GPU).fullmatch, map(str.strip, named.split(",")))))


@cache
def _logs() -> str:
    """Return the folder of the logs of this process's workers, which exists as long as the process lives."""
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
