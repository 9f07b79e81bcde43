"""LSF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from temper.clusters.jobqueue import JobQueue
from temper.core.component import Range


@dataclass(frozen=True, kw_only=True)
class LSF(JobQueue):
    """Workers as jobs of IBM Spectrum LSF.

    Source: dask-jobqueue's LSFCluster.
    """

    tag = "lsf"
    queue_class = "LSFCluster"
    job_id_variable = "LSB_JOBID"
    submit_command = "bsub"
    array_directive = '#BSUB -J "temper[1-{count}]"\n#BSUB -Q 130'
    array_index_variable = "LSB_JOBINDEX"
    requeue_command = "exit 130"  # -Q: a job with this exit code is requeued

    queue: Annotated[str | None, "queue; default: the site's"] = None
    grace: Annotated[
        int, "grace period for saving a checkpoint, in minutes before the end of the walltime", Range(ge=1)
    ] = 2

    def check(self) -> Iterator[tuple[str, str]]:
        yield from super().check()
        if 0 < self.walltime_seconds <= self.grace * 60:
            yield "grace", f"expected less than the walltime of {self.walltime}, received {self.grace} minutes"

    def job_arguments(self) -> dict[str, Any]:
        minutes = -(-self.walltime_seconds // 60)  # LSF counts whole minutes: rounded up
        directives = [f"-wa TERM -wt {self.grace}", *self.options]
        if self.gpus:
            directives.append(f"-gpu num={self.gpus}")
        return {
            "queue": self.queue,
            "project": self.account,
            "walltime": f"{minutes // 60:02d}:{minutes % 60:02d}",
            "ncpus": self.cores,
            "job_extra_directives": directives,
        }
