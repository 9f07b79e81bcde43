"""Seed selection: which images of the pool a fuzzer starts from, the first to try first."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from core.adequacy.coverage import Criterion
from core.adequacy.material import Arrays
from core.component import Component
from core.networks.activations import Activations

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """What seeds are chosen from: ``size`` images, what the model computes of them, and the guidance with what it learnt.

    ``seen`` is ``None`` where nothing guides.
    """

    size: int
    seen: Activations | None
    guidance: Sequence[tuple[Criterion, Arrays]]


@dataclass(frozen=True, kw_only=True)
class SeedSelection(Component):
    """Which images of a pool to start from."""

    guided: ClassVar[bool] = True
    """Whether the choice takes the fuzzer's guidance, which must then be there."""

    @abstractmethod
    def order(self, pool: Pool, rng: np.random.Generator) -> Rows:
        """Return images of the pool, the first to try first, int64 (k,); those left out are no seeds."""


@dataclass(frozen=True, kw_only=True)
class RandomSeeds(SeedSelection):
    """Images at random, none twice.

    Source: GenerativeRepair, fuzzers RN, RInp and SemOcc.
    """

    tag = "random"
    guided = False

    def order(self, pool: Pool, rng: np.random.Generator) -> Rows:
        return rng.permutation(pool.size)


@dataclass(frozen=True, kw_only=True)
class CoverageSeeds(SeedSelection):
    """Images in the order of what each adds to what those before it cover, by the first criterion of the guidance.

    Source: Rothermel et al. (2001), Prioritizing Test Cases for Regression Testing, additional coverage.
    """

    tag = "coverage"

    def order(self, pool: Pool, rng: np.random.Generator) -> Rows:
        assert pool.seen is not None
        criterion, learnt = pool.guidance[0]
        return criterion.coverage(learnt, pool.seen).additional_order(pool.seen)


@dataclass(frozen=True, kw_only=True)
class PeakSeeds(SeedSelection):
    """Images for which a unit that the guidance watches is the most active of its layer, in random order.

    With ``knw`` as guidance the units are those that carry transfer knowledge, with ``idc`` the most important ones.

    Source: GenerativeRepair, fuzzer KnwInp, whose order is that of the data set.
    """

    tag = "peak"

    def order(self, pool: Pool, rng: np.random.Generator) -> Rows:
        assert pool.seen is not None
        ends = np.cumsum([layer.units for layer in pool.seen.layers])
        firsts = ends - [layer.units for layer in pool.seen.layers]
        # A position in a map is (height, width, unit), flat.
        peaks = firsts + pool.seen.peak % [layer.units for layer in pool.seen.layers]
        watched = np.concatenate([criterion.units(learnt, pool.seen) for criterion, learnt in pool.guidance])
        return rng.permutation(np.flatnonzero(np.isin(peaks, watched).any(axis=1)))
