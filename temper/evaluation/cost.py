"""The computing cost of stages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from temper.core.artefacts import Artefact, Row
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.cell_evaluation import CellEvaluation


@dataclass(frozen=True, kw_only=True)
class Cost(CellEvaluation):
    """Seconds, CPU seconds, peak memory and images per second of stages, as measured when they were computed.

    The figures are stored with each artefact, so that a resumed or fully cached run still reports them. For an
    interrupted stage, everything up to the checkpoint it resumed from counts, in any process; work lost in the
    interruption, or in attempts that ran out of memory, does not. Peak memory is the resident set of the whole process,
    the framework included. ``preparation_seconds`` is the time that a generator took to learn, once for all its parts.

    Source: the timing tables of DeepCustom and guided retraining, which report seconds alone.
    """

    tag = "cost"
    cells = (("stages", "examples"),)
    metrics = ("seconds", "preparation_seconds", "cpu_seconds", "peak_memory", "images_per_second")
    framework = False
    rows = ("examples",)
    columns = ("metric",)

    stages: Annotated[tuple[Ref[Artefact], ...], "the models and generators to report the cost of"]

    def measure(self, run: Run) -> Iterable[Row]:
        cost = run.cost(self.stages[0])
        images = int(cost["images"])
        yield self._row("seconds", cost["seconds"], "seconds", images)
        if "preparation_seconds" in cost:
            yield self._row("preparation_seconds", cost["preparation_seconds"], "seconds", images)
        yield self._row("cpu_seconds", cost["cpu_seconds"], "seconds", images)
        yield self._row("peak_memory", cost["peak_memory"] / 2**20, "MiB", images)
        if images:
            yield self._row("images_per_second", images / cost["seconds"], "images/s", images, better=True)

    def _row(self, metric: str, value: float, unit: str, images: int, better: bool = False) -> Row:
        columns: dict[str, Any] = self.about()
        return Row(metric=metric, value=float(value), n=max(images, 1), unit=unit, higher_is_better=better, **columns)
