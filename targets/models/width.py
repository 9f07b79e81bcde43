"""The family of trained targets whose layers can be narrower or wider than published."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

from temper.core.component import Range
from temper.targets.models.trained import TrainedTarget

SMOKE_WIDTH = 0.125
"""The largest width in a smoke run: published networks take minutes of CPU time for one pass over its images."""


@dataclass(frozen=True, kw_only=True)
class WidenedTarget(TrainedTarget):
    """A network with a width factor for all hidden layers. Members get each layer's width from ``units``."""

    width: Annotated[
        float,
        "factor of the feature maps and neurons of every hidden layer",
        Range(gt=0),
    ] = 1.0

    def for_smoke(self) -> Self:
        """Return a narrow network, without published weights, which fit one width only."""
        return self if self.initial_weights else replace(self, width=min(self.width, SMOKE_WIDTH))

    def units(self, published: int) -> int:
        """Return the number of maps or neurons of a layer from its published number; at least one."""
        return max(1, round(self.width * published))
