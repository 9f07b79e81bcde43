"""Seed selection: which images of the pool a fuzzer starts from, the first to try first."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Component
from temper.nn.adequacy.coverage import Criterion
from temper.nn.adequacy.reference_data import Arrays
from temper.nn.inspection.activations import Activations

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class SeedPool:
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
    selective: ClassVar[bool] = False
    """Whether the choice takes the units that a criterion of the guidance selects, so that one must select some."""

    @abstractmethod
    def order(self, pool: SeedPool, rng: np.random.Generator) -> Rows:
        """Return images of the pool, the first to try first, int64 (k,); those left out are no seeds."""


@dataclass(frozen=True, kw_only=True)
class RandomSeeds(SeedSelection):
    """Images at random, none twice.

    Source: GenerativeRepair, fuzzers RN, RInp and SemOcc.
    """

    tag = "random"
    guided = False

    def order(self, pool: SeedPool, rng: np.random.Generator) -> Rows:
        return rng.permutation(pool.size)


@dataclass(frozen=True, kw_only=True)
class CoverageSeeds(SeedSelection):
    """Images in the order of what each adds to what those before it cover, by the first criterion of the guidance.

    Source: Rothermel et al. (2001), Prioritizing Test Cases for Regression Testing, additional coverage.
    """

    tag = "coverage"

    def order(self, pool: SeedPool, rng: np.random.Generator) -> Rows:
        assert pool.seen is not None
        criterion, learnt = pool.guidance[0]
        return criterion.coverage(learnt, pool.seen).additional_order(pool.seen)


@dataclass(frozen=True, kw_only=True)
class PeakSeeds(SeedSelection):
    """Images for which a unit that the guidance watches is the most active of its layer, in random order.

    With ``knw`` as guidance the units are those that carry transfer knowledge (with ``unit: position``, single positions of
    feature maps), with ``idc`` the most important ones. Layers all of whose units are watched do not count: there every
    image has one.

    Source: GenerativeRepair, fuzzer KnwInp, whose order is that of the data set.
    """

    tag = "peak"
    selective = True

    def for_smoke(self) -> RandomSeeds:
        return RandomSeeds()  # a unit that carries knowledge is hardly ever the most active one before a model has any

    def order(self, pool: SeedPool, rng: np.random.Generator) -> Rows:
        assert pool.seen is not None
        qualified = np.zeros(pool.size, np.bool_)
        for criterion, learnt in pool.guidance:
            watched = np.unique(criterion.units(learnt, pool.seen))
            starts = pool.seen.layer_starts(criterion.positions)
            chosen = np.diff(np.searchsorted(watched, starts)) < np.diff(starts)
            qualified |= np.isin(pool.seen.peaks(criterion.positions)[:, chosen], watched).any(axis=1)
        return rng.permutation(np.flatnonzero(qualified))
