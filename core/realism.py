"""Realism: how much a made image looks like a real one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from core.augmenter import Augmented, Bench, Prepared, Seeds

Measures = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Realism(Prepared):
    """A measure of realism with the bound that images must keep, which each member declares as ``min`` or ``max``."""

    higher_is_better: ClassVar[bool]

    @property
    @abstractmethod
    def bound(self) -> float:
        """The least value that is accepted, or the largest where lower is better."""

    @abstractmethod
    def values(self, made: Augmented, seeds: Seeds, bench: Bench) -> Measures:
        """Return the realism of each image, float64 (n,)."""

    def accepts(self, values: Measures) -> NDArray[np.bool_]:
        """Return which values keep the bound, bool (n,); nan keeps none."""
        kept: NDArray[np.bool_] = values >= self.bound if self.higher_is_better else values <= self.bound
        return kept
