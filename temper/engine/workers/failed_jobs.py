"""Jobs that end before a worker comes of them: their environment is at fault, not a stage, and the next job would fare no better."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from temper.core.cluster import Cluster, FailedJob
from temper.engine.running.engine import NoWorkers, Watcher
from temper.engine.storage.attempt_log import last_lines

MIN_FAILURES = 3
"""Jobs without a worker, one after another, after which a run of few workers ends."""
EVERY = 5.0
"""Seconds between two looks at the jobs."""
_LINES = 10
"""Lines of a log that the user is shown."""


class FailedJobs:
    """The jobs of a cluster until workers come of them.

    A job that has ended without a worker is told of and replaced. After as many in a row as there are workers no more are submitted
    while some workers live, and once none does the run ends. A job that waits, however long, says nothing.
    """

    def __init__(
        self, cluster: Cluster, started: Any, watcher: Watcher, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster, self._started, self._watcher, self._clock = cluster, started, watcher, clock
        self._most = max(MIN_FAILURES, cluster.workers)
        self._joined: set[str] = set()
        self._told: set[str] = set()
        self._in_a_row = 0
        self._looked = clock()

    def joined(self, job: str) -> None:
        """Take note that a worker has come of a job."""
        self._joined.add(job)
        self._in_a_row = 0

    def look(self) -> None:
        """See now and then to the jobs that have failed since the last look.

        Raises:
            NoWorkers: so many failed that others will, and there is no worker left.
        """
        if self._clock() - self._looked < EVERY:
            return
        for failed in self._cluster.failed_starts(self._started, self._joined):
            if failed.key not in self._told:
                self._told.add(failed.key)
                self._in_a_row += 1
                self._tell(failed)
            if self._in_a_row < self._most:
                self._cluster.replace(self._started, failed)
        self._looked = self._clock()

    def _tell(self, failed: FailedJob) -> None:
        lines = last_lines(failed.log, _LINES) if self._in_a_row == 1 else []
        self._watcher.say("\n".join([str(failed), *lines]))
        if self._in_a_row < self._most:
            return
        if not self._started.observed:
            raise NoWorkers(
                f"{self._in_a_row} jobs in a row ended before a worker came of one (the last: {failed}); mend the cluster file, "
                "or what its jobs find where they run"
            )
        if self._in_a_row == self._most:
            self._watcher.say(f"{self._most} jobs in a row failed so; the run goes on with the workers it has")
