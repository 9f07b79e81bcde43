"""The family of trained targets whose layers can be made narrower than published, or wider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from core.component import Range
from targets.models.trained import TrainedTarget


@dataclass(frozen=True, kw_only=True)
class WidenedTarget(TrainedTarget):
    """A network with a factor for the width of all its hidden layers. Members ask ``units`` how wide each is."""

    width: Annotated[
        float,
        "factor of the feature maps and neurons of every hidden layer",
        Range(gt=0),
    ] = 1.0

    def units(self, published: int) -> int:
        """Return how many maps or neurons a layer has that was published with so many; at least one."""
        return max(1, round(self.width * published))
