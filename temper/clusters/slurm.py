"""Slurm."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from temper.clusters.jobqueue import JobQueue
from temper.core.cluster import WorkerExit, exit_in_words
from temper.core.component import Range

_PATIENCE = 10.0
"""Seconds within which Slurm records how a job ended."""
_ENDED = [
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "LAUNCH_FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "RECONFIG_FAIL",
    "REVOKED",
    "TIMEOUT",
]
"""The states of jobs that will not run again."""


@dataclass(frozen=True, kw_only=True)
class Slurm(JobQueue):
    """Workers as jobs of Slurm.

    Source: dask-jobqueue's SLURMCluster.
    """

    tag = "slurm"
    queue_class = "SLURMCluster"
    id = "SLURM_JOB_ID"
    submit = "sbatch"
    # A requeued worker would connect to a runner that has already replaced it.
    alone = ("--no-requeue",)
    array = "#SBATCH --array=1-{count}\n#SBATCH --requeue"
    index = "SLURM_ARRAY_TASK_ID"
    again = 'scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"'

    partition: Annotated[str | None, "partition; default: the site's"] = None
    grace: Annotated[
        int, "grace period for saving a checkpoint, in seconds before the end of the walltime", Range(ge=10)
    ] = 120

    def check(self) -> Iterator[tuple[str, str]]:
        yield from super().check()
        if 0 < self.seconds <= self.grace:
            yield "grace", f"{self.grace} s leave nothing of a walltime of {self.walltime}"

    def worker_exit(self, worker: Mapping[str, Any]) -> WorkerExit:
        if not worker.get("job"):
            return WorkerExit()
        deadline = time.monotonic() + _PATIENCE
        while (found := _fate(str(worker["job"]))) is None and time.monotonic() < deadline:
            time.sleep(0.2)
        return found or WorkerExit()

    def ended(self, jobs: Collection[str]) -> set[str]:
        return {job for job, state in _states().items() if job in jobs and state in _ENDED}

    def job(self) -> dict[str, Any]:
        directives = [f"--signal=B:TERM@{self.grace}", *self.options]
        if self.gpus:
            directives.append(f"--gres=gpu:{self.gpus}")
        return {
            "queue": self.partition,
            "account": self.account,
            "walltime": self.walltime,
            "job_cpu": self.cores,
            "job_extra_directives": directives,
        }


def _states() -> dict[str, str]:
    """Return the state that Slurm reports for each job of this user, recently ended ones included; empty if it cannot be queried."""
    # The user's default options of squeue may hide jobs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    command = ["squeue", "--all", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%i %T"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(re.findall(r"^(\S+) (\S+)$", asked.stdout, re.MULTILINE))


def _fate(job: str) -> WorkerExit | None:
    """Return Slurm's report of how a job ended, empty for an unknown job, ``None`` while it ends."""
    try:
        asked = subprocess.run(
            ["scontrol", "show", "job", "--oneliner", job],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return WorkerExit()
    said = dict(re.findall(r"(JobState|ExitCode)=(\S+)", asked.stdout))
    if not said:
        return WorkerExit()
    state = said["JobState"]
    if state in ("RUNNING", "COMPLETING"):
        return None
    if state == "OUT_OF_MEMORY":  # its signal number means nothing
        return WorkerExit(f"killed for its memory, the job {state}", out_of_memory=True)
    code, _, number = said["ExitCode"].partition(":")
    return WorkerExit(f"{exit_in_words(-int(number) if int(number) else int(code))}, the job {state}")
