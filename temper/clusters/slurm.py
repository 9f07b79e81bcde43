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

_TIMEOUT = 10.0
"""Seconds to wait until Slurm has recorded how a job ended."""
_FINAL_STATES = [
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
"""The states of jobs that will not run any more."""


@dataclass(frozen=True, kw_only=True)
class Slurm(JobQueue):
    """Workers as jobs of Slurm.

    Source: dask-jobqueue's SLURMCluster.
    """

    tag = "slurm"
    queue_class = "SLURMCluster"
    job_id_variable = "SLURM_JOB_ID"
    submit_command = "sbatch"
    # The runner has already replaced a worker by the time it would be requeued.
    single_job_directives = ("--no-requeue",)
    array_directive = "#SBATCH --array=1-{count}\n#SBATCH --requeue"
    array_index_variable = "SLURM_ARRAY_TASK_ID"
    requeue_command = 'scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"'

    partition: Annotated[str | None, "partition; default: the site's"] = None
    grace: Annotated[
        int, "grace period for saving a checkpoint, in seconds before the end of the walltime", Range(ge=10)
    ] = 120

    def check(self) -> Iterator[tuple[str, str]]:
        yield from super().check()
        if 0 < self.walltime_seconds <= self.grace:
            yield "grace", f"expected less than the walltime of {self.walltime}, received {self.grace} s"

    def worker_exit(self, worker: Mapping[str, Any]) -> WorkerExit:
        if not worker.get("job"):
            return WorkerExit()
        deadline = time.monotonic() + _TIMEOUT
        while (found := _query_exit(str(worker["job"]))) is None and time.monotonic() < deadline:
            time.sleep(0.2)
        return found or WorkerExit()

    def ended_jobs(self, jobs: Collection[str]) -> set[str]:
        return {job for job, state in _job_states().items() if job in jobs and state in _FINAL_STATES}

    def job_arguments(self) -> dict[str, Any]:
        # B: Slurm signals the job's first process, which is the worker or forwards the signal to the shard.
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


def _job_states() -> dict[str, str]:
    """Return the states of this user's jobs, recently ended ones included; empty if Slurm cannot be queried."""
    # The user's default options of squeue may hide jobs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    command = ["squeue", "--all", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%i %T"]
    try:
        squeue = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(re.findall(r"^(\S+) (\S+)$", squeue.stdout, re.MULTILINE))


def _query_exit(job: str) -> WorkerExit | None:
    """Return how a job ended according to Slurm: empty for an unknown job, ``None`` while it is ending."""
    try:
        scontrol = subprocess.run(
            ["scontrol", "show", "job", "--oneliner", job],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return WorkerExit()
    fields = dict(re.findall(r"(JobState|ExitCode)=(\S+)", scontrol.stdout))
    if not fields:
        return WorkerExit()
    state = fields["JobState"]
    if state in ("RUNNING", "COMPLETING"):
        return None
    if state == "OUT_OF_MEMORY":  # Slurm reports no meaningful signal for it
        return WorkerExit(f"killed for its memory, the job {state}", out_of_memory=True)
    # The exit code, and the number of the signal that ended the job.
    code, _, number = fields["ExitCode"].partition(":")
    return WorkerExit(f"{exit_in_words(-int(number) if int(number) else int(code))}, the job {state}")
