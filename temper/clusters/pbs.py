"""PBS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from temper.clusters.jobqueue import JobQueue


@dataclass(frozen=True, kw_only=True)
class PBS(JobQueue):
    """Workers as jobs of PBS Pro or OpenPBS; the site sets how long before the end it sends a signal.

    Source: dask-jobqueue's PBSCluster.
    """

    tag = "pbs"
    queue_class = "PBSCluster"
    id = "PBS_JOBID"
    submit = "qsub"
    array = "#PBS -J 1-{count}\n#PBS -r y"
    index = "PBS_ARRAY_INDEX"
    again = 'qrerun "$PBS_JOBID"'

    queue: Annotated[str | None, "queue; default: the site's"] = None

    def job(self) -> dict[str, Any]:
        wanted = f"select=1:ncpus={self.cores}:mem={self.memory.replace('i', '').lower()}"
        return {
            "queue": self.queue,
            "account": self.account,
            "walltime": self.clock,
            "resource_spec": wanted + (f":ngpus={self.gpus}" if self.gpus else ""),
            "job_extra_directives": list(self.options),
        }
