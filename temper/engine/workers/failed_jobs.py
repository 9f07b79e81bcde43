"""Jobs that exit before a worker connects: the cause is their environment, not a stage, and it would stop the next job too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from temper.core.cluster import Cluster, FailedJob
from temper.engine.running.engine import NoWorkers, Watcher
from temper.engine.storage.attempt_log import last_lines

MIN_FAILURES = 3
"""Consecutive jobs without a worker after which a run of few workers ends."""
EVERY = 5.0
"""Seconds between checks of the jobs."""
_LINES = 10
"""Lines of a log that are shown to the user."""


class FailedJobs:
    """The jobs of a cluster until their workers connect.

    A job that exits without a worker is reported and replaced. After as many in a row as there are workers none is
    submitted any more while some workers live, and the run ends once none does. A pending job never counts as failed.
    """

    def __init__(
        self, cluster: Cluster, started: Any, watcher: Watcher, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster, self._started, self._watcher, self._clock = cluster, started, watcher, clock
        self._most = max(MIN_FAILURES, cluster.workers)
        self._joined: set[str] = set()
        self._reported: set[str] = set()
        self._in_a_row = 0
        self._last_check = clock()

    def joined(self, job: str) -> None:
        """Record that the worker of a job has connected."""
        self._joined.add(job)
        self._in_a_row = 0

    def check(self) -> None:
        """Check from time to time for jobs that have failed since the last check.

        Raises:
            NoWorkers: so many failed that others will too, and no worker is left.
        """
        if self._clock() - self._last_check < EVERY:
            return
        for failed in self._cluster.failed_starts(self._started, self._joined):
            if failed.key not in self._reported:
                self._reported.add(failed.key)
                self._in_a_row += 1
                self._report(failed)
            if self._in_a_row < self._most:
                self._cluster.replace(self._started, failed)
        self._last_check = self._clock()

    def _report(self, failed: FailedJob) -> None:
        lines = last_lines(failed.log, _LINES) if self._in_a_row == 1 else []
        self._watcher.say("\n".join([str(failed), *lines]))
        if self._in_a_row < self._most:
            return
        if not self._started.observed:
            raise NoWorkers(
                f"{self._in_a_row} jobs in a row exited before a worker connected (the last: {failed}); correct the cluster "
                "file, or the environment of its jobs"
            )
        if self._in_a_row == self._most:
            self._watcher.say(f"{self._most} jobs in a row failed so; the run continues with the workers it has")
