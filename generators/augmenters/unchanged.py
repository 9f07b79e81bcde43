"""No change: the control of every augmenter."""

from __future__ import annotations

from dataclasses import dataclass

from temper.core.augmenter import Augmented, Augmenter, AugmenterContext, Seeds


@dataclass(frozen=True, kw_only=True)
class Unchanged(Augmenter):
    """The seeds themselves; with one iteration, the effect of seed selection without augmentation.

    Source: GenerativeRepair, the axes Random (ID) and Knw (ID) of its charts.
    """

    tag = "unchanged"

    def augment(self, seeds: Seeds, context: AugmenterContext) -> Augmented:
        return Augmented(seeds.x, seeds.y)
