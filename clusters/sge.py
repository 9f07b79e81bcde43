"""Grid Engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from clusters.jobqueue import JobQueue


@dataclass(frozen=True, kw_only=True)
class SGE(JobQueue):
    """Workers as jobs of Sun or Univa Grid Engine.

    Source: dask-jobqueue's SGECluster.
    """

    tag = "sge"
    queue_class = "SGECluster"
    id = "JOB_ID"
    log = "temper.o${JOB_ID}"
    submit = "qsub"
    array = "#$ -t 1-{count}"
    index = "SGE_TASK_ID"
    again = "exit 99"

    queue: Annotated[str | None, "queue; default: the site's"] = None
    parallel: Annotated[str, "parallel environment that gives a job several processors of one host"] = "smp"

    def job(self) -> dict[str, Any]:
        wanted = [f"h_vmem={self.memory.replace('i', '').removesuffix('B')}"]
        if self.gpus:
            wanted.append(f"gpu={self.gpus}")
        directives = ["-notify", *self.options]
        if self.cores > 1:
            directives.append(f"-pe {self.parallel} {self.cores}")
        return {
            "queue": self.queue,
            "project": self.account,
            "walltime": self.clock,
            "resource_spec": ",".join(wanted),
            "job_extra_directives": directives,
        }
