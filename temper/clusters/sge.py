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
    id = "JOB_ID"
    submit = "qsub"
    array = "#$ -t 1-{count}"
    index = "SGE_TASK_ID"
    again = "exit 99"

    queue: Annotated[str | None, "queue; default: the site's"] = None
    parallel: Annotated[str, "parallel environment that gives a job several processors of one host"] = "smp"

    def job(self) -> dict[str, Any]:
        wanted = [f"h_vmem={self._memory_of_a_slot()}"]
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

    def _memory_of_a_slot(self) -> str:
        """Return the memory to request, which Grid Engine counts for each slot, that is each processor."""
        found = re.fullmatch(MEMORY, self.memory)
        assert found is not None  # checked by check()
        number, unit = found.groups()
        share = float(number) / self.cores
        if share.is_integer() or unit == "K":
            return f"{math.ceil(share)}{unit}"
        below = "KMGT"["KMGT".index(unit) - 1]
        return f"{math.ceil(share * 1024)}{below}"
