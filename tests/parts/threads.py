"""An evaluation that reports the number of threads of its process."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from temper.core.artefacts import Examples, Row
from temper.core.component import Ref
from temper.core.families import Evaluation
from temper.core.run import Run
from temper.system import threads


@dataclass(frozen=True, kw_only=True)
class ThreadsUsed(Evaluation):
    """The number of threads by Temper's count, BLAS and the environment.

    Source: made up for the tests.
    """

    tag = "threads_used"
    metrics = ("own", "blas", "environment")
    framework = False
    rows = ("examples",)
    columns = ("metric",)

    examples: Annotated[Ref[Examples], "any images"]

    def about(self) -> dict[str, str]:
        return {"examples": self.examples.label}

    def measure(self, run: Run) -> Iterable[Row]:
        from threadpoolctl import threadpool_info

        blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
        found = {"own": threads.count(), "blas": max(blas), "environment": int(os.environ["TF_NUM_INTRAOP_THREADS"])}
        for metric, number in found.items():
            yield Row(metric=metric, value=float(number), n=1, unit="threads", higher_is_better=None, **self.about())
