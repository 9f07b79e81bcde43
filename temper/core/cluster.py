"""Clusters: where the workers of a run live, and how they come there."""

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
"""The environment variable that names the folder in which each worker keeps a log of its own."""
LOG = "TEMPER_LOG"
"""The environment variable that names the file into which a batch system writes what a worker says."""
JOB = "TEMPER_JOB"
"""The environment variable that names the job of a batch system in which a worker lives."""


def exit_in_words(code: int) -> str:
    """Return how a process ended whose exit code is ``code``, which is minus the signal where one killed it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


@dataclass(frozen=True)
class WorkerEnv:
    """What workers start with.

    ``folder`` is one that the runner and every worker see, for logs and certificates; ``environment`` are the variables a
    worker needs; ``python`` the interpreter, which must be at the same place on every host.
    """

    folder: Path
    environment: Mapping[str, str]
    python: str = sys.executable


@dataclass(frozen=True)
class WorkerExit:
    """How a worker's process came to its end, such as ``killed by SIGKILL``; nothing if that cannot be known.

    ``out_of_memory`` is whether its batch system says that it was killed for the memory it took.
    """

    end: str = ""
    out_of_memory: bool = False


@dataclass(frozen=True)
class FailedJob:
    """A job that ended before a worker came of it, or that its batch system did not take.

    ``name`` is that of the worker to be, ``key`` tells the job from others; ``job`` is nothing where there is none. ``end`` says
    how it ended, ``log`` where what it said is kept.
    """

    name: str
    key: str
    job: str
    end: str
    log: str

    def __str__(self) -> str:
        if not self.job:
            return f"a job could not be submitted: {self.end}"
        return f"job {self.job} ended before a worker came of it: {self.end}; its log is {self.log}"


@dataclass(frozen=True, kw_only=True)
class Cluster(Component):
    """Where the workers of a run live. Each worker does one stage at a time.

    ``settings`` are of Dask's, for the runner's side.
    """

    section: ClassVar[str] = "cluster file"
    requires: ClassVar[tuple[str, ...]] = ("dask", "distributed", "cryptography")
    settings: ClassVar[Mapping[str, Any]] = {}

    workers: Annotated[int, "workers at most, each of which does one stage at a time", Range(ge=1)]

    @property
    def processors(self) -> int | None:
        """How many processors each worker has; ``None`` if that is not for the cluster file to say."""
        return None

    @property
    def slots(self) -> int:
        """How many stages can be under way."""
        return self.workers

    def unavailable(self) -> str:
        """Return why workers cannot be had from here and what to do, or nothing."""
        return ""

    def array_job(self, command: Sequence[str], premises: WorkerEnv) -> str | None:
        """Return a script that submits ``workers`` shards of a command as one job, or ``None`` if there is no batch system."""
        return None

    def fate(self, worker: Mapping[str, Any]) -> WorkerExit:
        """Return how a worker's process came to its end.

        ``worker`` is what the ledger has of it: ``host``, ``pid`` and, in a batch system, ``job``.
        """
        return WorkerExit()

    def failed_starts(self, started: Any, joined: Collection[str]) -> Sequence[FailedJob]:
        """Return the jobs of a started cluster that have certainly ended without having been among ``joined``."""
        return ()

    def replace(self, started: Any, failed: FailedJob) -> None:
        """Submit another job in the place of one that failed."""

    @abstractmethod
    def start(self, premises: WorkerEnv) -> Any:
        """Return what Dask's client connects to: a started cluster, the address of a scheduler, or how else to find it."""
