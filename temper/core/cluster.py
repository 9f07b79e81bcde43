"""Clusters: where the workers of a run live, and how they are started."""

from __future__ import annotations

import signal
import sys
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from temper.core.component import Component, Range

LOGS = "TEMPER_LOGS"
"""The environment variable that names the folder of the workers' logs, one per worker."""
LOG = "TEMPER_LOG"
"""The environment variable that names the file to which a batch system writes a worker's output."""
JOB = "TEMPER_JOB"
"""The environment variable that names the batch job a worker runs in."""


def exit_in_words(code: int) -> str:
    """Return in words how a process with exit code ``code`` ended; a negative code is a signal that killed it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        # Popen reports a signal as a negative exit code.
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


@dataclass(frozen=True)
class WorkerEnv:
    """The environment that workers start in.

    ``folder``, for logs and certificates, is visible to the runner and all workers; ``environment`` holds the variables
    a worker needs; ``python`` is the interpreter, which must have the same path on every host.
    """

    folder: Path
    environment: Mapping[str, str]
    python: str = sys.executable


@dataclass(frozen=True)
class WorkerExit:
    """How a worker's process ended, such as ``killed by SIGKILL``; empty if that is unknown.

    ``out_of_memory`` is whether its batch system reports that it was killed for its memory use.
    """

    end: str = ""
    out_of_memory: bool = False


@dataclass(frozen=True)
class FailedJob:
    """A job that exited before its worker connected, or that its batch system rejected.

    ``name`` is that of its worker, ``key`` identifies the job; ``job`` is empty if none was submitted. ``end`` says how
    it ended, ``log`` is the path of its output.
    """

    name: str
    key: str
    job: str
    end: str
    log: str

    def __str__(self) -> str:
        if not self.job:
            return f"a job could not be submitted: {self.end}"
        return f"job {self.job} exited before its worker connected: {self.end}; see its log {self.log}"


@dataclass(frozen=True, kw_only=True)
class Cluster(Component):
    """Where the workers of a run live. Each worker runs one stage at a time.

    ``settings`` are Dask settings for the runner's process.
    """

    section: ClassVar[str] = "cluster file"
    requires: ClassVar[tuple[str, ...]] = ("dask", "distributed", "cryptography")
    settings: ClassVar[Mapping[str, Any]] = {}

    workers: Annotated[int, "maximum number of workers, each of which runs one stage at a time", Range(ge=1)]

    @property
    def processors(self) -> int | None:
        """The number of processors of each worker; ``None`` if the cluster file does not set it."""
        return None

    def unavailable(self) -> str:
        """Return why workers cannot be started from here and what to do; empty if they can."""
        return ""

    def array_job(self, command: Sequence[str], env: WorkerEnv) -> str | None:
        """Return a script that submits ``workers`` shards of a command as one job; ``None`` without a batch system."""
        return None

    def worker_exit(self, worker: Mapping[str, Any]) -> WorkerExit:
        """Return how a worker's process ended.

        ``worker`` is its entry in the attempt log: ``host``, ``pid`` and, in a batch system, ``job``.
        """
        return WorkerExit()

    def failed_jobs(self, started: Any, joined: Collection[str]) -> Sequence[FailedJob]:
        """Return the jobs of a started cluster that have definitely ended and are not among ``joined``."""
        return ()

    def replace_job(self, started: Any, failed: FailedJob) -> None:
        """Submit a replacement for a failed job."""

    @abstractmethod
    def start(self, env: WorkerEnv) -> Any:
        """Return what Dask's client connects to: a started cluster, a scheduler's address or a way to find it."""
