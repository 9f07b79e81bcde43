"""PBS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from temper.clusters.jobqueue import JobQueue


@dataclass(frozen=True, kw_only=True)
class PBS(JobQueue):
    """Workers as jobs of PBS Pro or OpenPBS; the site's configuration sets when it signals a job before its end.

    Source: dask-jobqueue's PBSCluster.
    """

    tag = "pbs"
    queue_class = "PBSCluster"
    job_id_variable = "PBS_JOBID"
    submit_command = "qsub"
    array_directive = "#PBS -J 1-{count}\n#PBS -r y"
    array_index_variable = "PBS_ARRAY_INDEX"
    requeue_command = 'qrerun "$PBS_JOBID"'

    queue: Annotated[str | None, "queue; default: the site's"] = None

    def job_arguments(self) -> dict[str, Any]:
        wanted = f"select=1:ncpus={self.cores}:mem={self.memory.replace('i', '').lower()}"
        return {
            "queue": self.queue,
            "account": self.account,
            "walltime": self.walltime_hms,
            "resource_spec": wanted + (f":ngpus={self.gpus}" if self.gpus else ""),
            "job_extra_directives": list(self.options),
        }
