"""Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from clusters.jobqueue import JobQueue
from core.component import Range


@dataclass(frozen=True, kw_only=True)
class Slurm(JobQueue):
    """Workers as jobs of Slurm.

    Source: dask-jobqueue's SLURMCluster.
    """

    tag = "slurm"
    queue_class = "SLURMCluster"
    log = "temper-${SLURM_JOB_ID}.err"
    submit = "sbatch"
    # A worker that is put back into the queue would come to a runner that has replaced it.
    alone = ("--no-requeue",)
    array = "#SBATCH --array=1-{count}\n#SBATCH --requeue\n#SBATCH --open-mode=append"
    index = "SLURM_ARRAY_TASK_ID"
    again = 'scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"'

    partition: Annotated[str | None, "partition; default: the site's"] = None
    grace: Annotated[
        int, "seconds before the end of the walltime at which a stage is told to keep what it has", Range(ge=10)
    ] = 120

    def check(self) -> Iterator[tuple[str, str]]:
        yield from super().check()
        if 0 < self.seconds <= self.grace:
            yield "grace", f"{self.grace} s leave nothing of a walltime of {self.walltime}"

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
