"""The family of trained targets whose layers can be made narrower than published, or wider."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

from temper.core.component import Range
from temper.targets.models.trained import TrainedTarget

SMOKE_WIDTH = 0.125
"""The largest width in a smoke run: the published networks take minutes of a CPU for one pass over its images."""


@dataclass(frozen=True, kw_only=True)
class WidenedTarget(TrainedTarget):
    """A network with a factor for the width of all its hidden layers. Members ask ``units`` how wide each is."""

    width: Annotated[
        float,
        "factor of the feature maps and neurons of every hidden layer",
        Range(gt=0),
    ] = 1.0

    def for_smoke(self) -> Self:
        """Return a narrow network; published weights are those of one width."""
        return self if self.initial_weights else replace(self, width=min(self.width, SMOKE_WIDTH))

    def units(self, published: int) -> int:
        """Return how many maps or neurons a layer has that was published with so many; at least one."""
        return max(1, round(self.width * published))
