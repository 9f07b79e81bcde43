"""Worker processes on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from core.cluster import Cluster, Premises, threads
from core.component import Range


@dataclass(frozen=True, kw_only=True)
class Local(Cluster):
    """Worker processes on this machine, each replaced when it dies.

    The processors are shared out among the workers. With ``gpus``, every worker sees one of them, the first worker the first;
    more workers than GPUs share them, and leave each other the memory they do not use.

    Source: Dask's SpecCluster, with a nanny for each worker.
    """

    tag = "local"

    gpus: Annotated[int, "GPUs to share out among the workers; 0: every worker sees all there are", Range(ge=0)] = 0

    def check(self) -> Iterator[tuple[str, str]]:
        if self.gpus > self.workers:
            yield "gpus", f"{self.workers} workers use no more than {self.workers} of {self.gpus}; raise workers"

    def start(self, premises: Premises) -> Any:
        from distributed import Nanny, Scheduler, SpecCluster

        folder = str(premises.folder)
        workers = {
            number: {
                "cls": Nanny,
                "options": {
                    "nthreads": 1,
                    "memory_limit": 0,
                    "env": {**premises.environment, **self._share(number)},
                    "local_directory": folder,
                    "silence_logs": logging.CRITICAL,
                    "host": "127.0.0.1",
                },
            }
            for number in range(self.workers)
        }
        scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
        return SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL)

    def _share(self, number: int) -> dict[str, str]:
        """Return the variables that give a worker its share of the machine."""
        share = threads(max(1, (os.cpu_count() or 1) // self.workers))
        if self.gpus:
            share["CUDA_VISIBLE_DEVICES"] = str(number % self.gpus)
        if self.gpus < self.workers:
            share |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        return share
