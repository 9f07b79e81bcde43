"""Realism: how much a generated image looks like a real one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.augmenter import Augmented, AugmenterContext, FittedComponent, Seeds
from temper.core.component import Range, fields_of

Measures = NDArray[np.float64]
_UNREACHED = 1e9


@dataclass(frozen=True, kw_only=True)
class Realism(FittedComponent):
    """A measure of realism with the bound that images must meet, which each member declares as ``min`` or ``max``."""

    higher_is_better: ClassVar[bool]

    def for_smoke(self) -> Self:
        """Accept everything: barely trained models find nothing realistic, and a smoke run must reach later steps."""
        name = "min" if self.higher_is_better else "max"
        bounds = next(field.bounds for field in fields_of(type(self)) if field.name == name) or Range()
        # The loosest bound that the field allows; one without an upper bound gets a huge number.
        return replace(self, **{name: bounds.ge if self.higher_is_better else bounds.le or _UNREACHED})

    @property
    @abstractmethod
    def bound(self) -> float:
        """The smallest accepted value, or the largest where lower is better."""

    @abstractmethod
    def values(self, made: Augmented, seeds: Seeds, context: AugmenterContext) -> Measures:
        """Return the realism of each image, float64 (n,)."""

    def accepts(self, values: Measures) -> NDArray[np.bool_]:
        """Return which values meet the bound, bool (n,); nan does not."""
        # Comparisons with nan are false, so an unmeasured image is rejected.
        kept: NDArray[np.bool_] = values >= self.bound if self.higher_is_better else values <= self.bound
        return kept
