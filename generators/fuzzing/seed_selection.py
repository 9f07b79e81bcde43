"""Seed selection: the images of the pool that a fuzzer starts from, in order."""

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
    """The pool of seeds: ``size`` images, the model's activations on them, and the fitted guidance.

    ``seen`` is ``None`` without guidance.
    """

    size: int
    seen: Activations | None
    guidance: Sequence[tuple[Criterion, Arrays]]


@dataclass(frozen=True, kw_only=True)
class SeedSelection(Component):
    """Selects the images of a pool to start from."""

    guided: ClassVar[bool] = True
    """Whether the selection needs the fuzzer's guidance, which must then be set."""
    selective: ClassVar[bool] = False
    """Whether the selection needs the units that a criterion of the guidance selects, so that one must do so."""

    @abstractmethod
    def order(self, pool: SeedPool, rng: np.random.Generator) -> Rows:
        """Return images of the pool in order, int64 (k,); the others are not seeds."""


@dataclass(frozen=True, kw_only=True)
class RandomSeeds(SeedSelection):
    """Random images without repetition.

    Source: GenerativeRepair, fuzzers RN, RInp and SemOcc.
    """

    tag = "random"
    guided = False

    def order(self, pool: SeedPool, rng: np.random.Generator) -> Rows:
        return rng.permutation(pool.size)


@dataclass(frozen=True, kw_only=True)
class CoverageSeeds(SeedSelection):
    """Images in greedy order of the coverage each adds to those before it, by the first criterion of the guidance.

    Source: Rothermel et al. (2001), Prioritizing Test Cases for Regression Testing, additional coverage.
    """

    tag = "coverage"

    def order(self, pool: SeedPool, rng: np.random.Generator) -> Rows:
        assert pool.seen is not None
        criterion, learnt = pool.guidance[0]
        return criterion.coverage(learnt, pool.seen).additional_order(pool.seen)


@dataclass(frozen=True, kw_only=True)
class PeakSeeds(SeedSelection):
    """Images for which a unit that the guidance selects is the most active of its layer, in random order.

    With ``knw`` as guidance the units are those that carry transfer knowledge (with ``unit: position``, single
    positions of feature maps), with ``idc`` the most important ones. Layers in which all units are selected do not
    count: there every image has one.

    Source: GenerativeRepair, fuzzer KnwInp, whose order is that of the data set.
    """

    tag = "peak"
    selective = True

    def for_smoke(self) -> RandomSeeds:
        return RandomSeeds()  # in an untrained model, a transfer unit is hardly ever the most active one

    def order(self, pool: SeedPool, rng: np.random.Generator) -> Rows:
        assert pool.seen is not None
        qualified = np.zeros(pool.size, np.bool_)
        for criterion, learnt in pool.guidance:
            watched = np.unique(criterion.units(learnt, pool.seen))
            starts = pool.seen.layer_starts(criterion.positions)
            chosen = np.diff(np.searchsorted(watched, starts)) < np.diff(starts)
            qualified |= np.isin(pool.seen.peaks(criterion.positions)[:, chosen], watched).any(axis=1)
        return rng.permutation(np.flatnonzero(qualified))
