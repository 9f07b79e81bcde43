"""Grid Engine."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from temper.clusters.jobqueue import MEMORY, JobQueue


@dataclass(frozen=True, kw_only=True)
class SGE(JobQueue):
    """Workers as jobs of Sun or Univa Grid Engine.

    Source: dask-jobqueue's SGECluster.
    """

    tag = "sge"
    queue_class = "SGECluster"
    job_id_variable = "JOB_ID"
    submit_command = "qsub"
    array_directive = "#$ -t 1-{count}"
    array_index_variable = "SGE_TASK_ID"
    requeue_command = "exit 99"  # the exit code with which a job asks to be requeued

    queue: Annotated[str | None, "queue; default: the site's"] = None
    parallel: Annotated[str, "parallel environment that allocates several processors of one host to a job"] = "smp"

    def job_arguments(self) -> dict[str, Any]:
        wanted = [f"h_vmem={self._memory_per_slot()}"]
        if self.gpus:
            wanted.append(f"gpu={self.gpus}")
        # Grid Engine then sends USR1 or USR2 before it suspends or kills a job.
        directives = ["-notify", *self.options]
        if self.cores > 1:
            directives.append(f"-pe {self.parallel} {self.cores}")
        return {
            "queue": self.queue,
            "project": self.account,
            "walltime": self.walltime_hms,
            "resource_spec": ",".join(wanted),
            "job_extra_directives": directives,
        }

    def _memory_per_slot(self) -> str:
        """Return the memory to request: Grid Engine counts it per slot, that is per processor."""
        found = re.fullmatch(MEMORY, self.memory)
        assert found is not None  # checked by check()
        number, unit = found.groups()
        share = float(number) / self.cores
        if share.is_integer() or unit == "K":
            return f"{math.ceil(share)}{unit}"
        # Grid Engine accepts integers only: in the next smaller unit, rounded up.
        below = "KMGT"["KMGT".index(unit) - 1]
        return f"{math.ceil(share * 1024)}{below}"
