"""Jobs that exit before a worker connects: the cause is their environment, and the next job would exit too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from temper.core.cluster import Cluster, FailedJob
from temper.engine.running.engine import NoWorkers, Watcher
from temper.engine.storage.attempt_log import last_lines

MIN_FAILURES = 3
"""Minimum number of consecutive failed jobs after which a run ends."""
CHECK_INTERVAL = 5.0
"""Seconds between checks of the jobs."""
_LINES = 10
"""Lines of a job's log that are shown to the user."""


class FailedJobs:
    """The jobs of a cluster until their workers connect.

    A job that exits before its worker connects is reported and replaced. After as many consecutive failures as there
    are workers, no more jobs are submitted; the run ends once no worker is left. A pending job never counts as failed.
    """

    def __init__(
        self, cluster: Cluster, started: Any, watcher: Watcher, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster, self._started, self._watcher, self._clock = cluster, started, watcher, clock
        self._max_failures = max(MIN_FAILURES, cluster.workers)
        self._joined: set[str] = set()
        self._reported: set[str] = set()
        self._consecutive = 0
        self._last_check = clock()

    def joined(self, job: str) -> None:
        """Record that the worker of a job has connected."""
        self._joined.add(job)
        self._consecutive = 0

    def check(self) -> None:
        """Check, once per ``CHECK_INTERVAL``, for jobs that have failed since the last check.

        Raises:
            NoWorkers: too many consecutive jobs failed, and no worker is left.
        """
        if self._clock() - self._last_check < CHECK_INTERVAL:
            return
        for failed in self._cluster.failed_jobs(self._started, self._joined):
            if failed.key not in self._reported:
                self._reported.add(failed.key)
                self._consecutive += 1
                self._report(failed)
            if self._consecutive < self._max_failures:
                self._cluster.replace_job(self._started, failed)
        self._last_check = self._clock()

    def _report(self, failed: FailedJob) -> None:
        lines = last_lines(failed.log, _LINES) if self._consecutive == 1 else []
        self._watcher.say("\n".join([str(failed), *lines]))
        if self._consecutive < self._max_failures:
            return
        if not self._started.observed:
            raise NoWorkers(
                f"{self._consecutive} jobs in a row exited before a worker connected (the last: {failed}); correct the "
                "cluster file, or the environment of its jobs"
            )
        if self._consecutive == self._max_failures:
            self._watcher.say(
                f"{self._max_failures} jobs in a row failed like this; the run continues with the workers it has"
            )
