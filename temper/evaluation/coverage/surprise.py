"""Surprise coverage (LSC, DSC): the spread of inputs over levels of surprise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Range
from temper.core.errors import StageError
from temper.evaluation.surprise.dsa import DSA
from temper.evaluation.surprise.lsa import LSA
from temper.evaluation.surprise.spreads import Singular
from temper.evaluation.surprise.traces import TraceScore
from temper.nn.adequacy.coverage import NO_CELL, CellCoverage, Counts, Criterion
from temper.nn.adequacy.reference_data import Arrays, ReferenceData
from temper.nn.adequacy.score import NOT_FITTED_ON, Scores
from temper.nn.inspection.activations import Activations

Layers = Annotated[
    tuple[str, ...] | None, "names of the layers whose units are the trace; default: the last hidden one"
]
Mask = Literal["per_class", "union"]
Buckets = Annotated[int, "n, the number of equal buckets", Range(ge=1)]


@dataclass(frozen=True, kw_only=True)
class SurpriseCriterion(Criterion):
    """Coverage of n equal buckets of (lower, upper] by an input's surprise."""

    layers: Layers = None
    buckets: Buckets = 1000

    @property
    @abstractmethod
    def score(self) -> TraceScore:
        """The surprise."""

    @abstractmethod
    def bounds(self, profile: Arrays) -> tuple[float, float]:
        """Return the bounds of the buckets."""

    def profile(self, reference: ReferenceData) -> dict[str, NDArray[Any]]:
        return dict(self.score.fit(reference))

    def surprise(self, profile: Arrays, seen: Activations) -> Scores:
        """Return the surprise of n inputs, none of them a training image, float64 (n,)."""
        return self.judging(profile)(seen, np.full(len(seen), NOT_FITTED_ON))

    def judging(self, profile: Arrays) -> Callable[[Activations, NDArray[np.int64]], Scores]:
        """Return a function from inputs to their surprise; its second argument marks training images."""
        score, judge = self.score, self.score.judge(profile)
        return lambda seen, own: judge.scores(score.traces(seen), seen.predicted, own)

    def coverage(self, profile: Arrays, like: Activations) -> CellCoverage:
        lower, upper = self.bounds(profile)
        if not lower < upper:
            raise StageError(
                f"{self.tag}: expected a lower bound below the upper one, received {lower:g} and {upper:g}"
            )

        surprise = self.judging(profile)

        def hits(seen: Activations) -> Counts:
            values = surprise(seen, np.full(len(seen), NOT_FITTED_ON))
            inside = (values > lower) & (values <= upper)  # False for nan
            # Divide last, so that a value on the bound of two buckets is in the lower one.
            place = (np.where(inside, values, upper) - lower) * self.buckets / (upper - lower)
            bucket = np.clip(np.ceil(place).astype(np.int64) - 1, 0, self.buckets - 1)
            return np.where(inside, bucket, NO_CELL)[:, None]

        return _SurpriseCoverage(self.buckets, hits, remarks=tuple(self.score.remarks(profile)))


class _SurpriseCoverage(CellCoverage):
    """Coverage of cells that also counts the inputs that hit none."""

    _outside = 0

    @property
    def remarks(self) -> tuple[str, ...]:
        outside = f"{self._outside} inputs outside the bounds or without surprise"
        return (*super().remarks, outside) if self._outside else super().remarks

    def count(self, hits: Counts) -> None:
        super().count(hits)
        self._outside += int((hits == NO_CELL).sum())

    def state(self) -> dict[str, NDArray[Any]]:
        return {**super().state(), "outside": np.array(self._outside)}

    def restore(self, state: Arrays) -> Self:
        self._outside = int(state["outside"])
        return super().restore(state)


@dataclass(frozen=True, kw_only=True)
class LSC(SurpriseCriterion):
    """Likelihood-based surprise coverage: the share of buckets of surprise by likelihood (``lsa``) that some input hits.

    Published tables use the smallest surprise of the evaluated inputs themselves for ``lower``, so that more inputs may
    cover less.

    Source: Kim, Feldt and Yoo (2019), Guiding Deep Learning System Testing Using Surprise Adequacy, on surprise coverage.
    """

    tag = "lsc"

    lower: Annotated[
        float | None, "surprise up to which nothing counts, in nats; default: the smallest of a training image"
    ] = None
    upper: Annotated[float, "surprise above which nothing counts, in nats"] = 2000.0
    mask: Annotated[
        Mask, "as for `lsa`; union: all classes use the same units, so that their surprises are comparable"
    ] = "union"
    singular: Singular = "lift"

    @property
    def score(self) -> LSA:
        return LSA(layers=self.layers, mask=self.mask, singular=self.singular)

    def profile(self, reference: ReferenceData) -> dict[str, NDArray[Any]]:
        learnt = super().profile(reference)
        if self.lower is not None:
            return learnt
        least = np.nanmin([np.inf, *self._least(learnt, reference.activations)])
        if not np.isfinite(least):
            raise StageError("lsc: no training image has a surprise to start the buckets from; set `lower`")
        return {**learnt, "least": np.array(least)}

    def _least(self, learnt: Arrays, seen: Activations) -> Iterator[float]:
        surprise, start = self.judging(learnt), 0
        for block in seen.blocks():
            values = surprise(block, np.arange(start, start + len(block)))
            yield float(np.min(values, initial=np.inf, where=np.isfinite(values)))
            start += len(block)

    def bounds(self, profile: Arrays) -> tuple[float, float]:
        return (float(profile["least"]) if self.lower is None else self.lower), self.upper


@dataclass(frozen=True, kw_only=True)
class DSC(SurpriseCriterion):
    """Distance-based surprise coverage: the share of buckets of surprise by distance (``dsa``) that some input hits.

    Source: Kim, Feldt and Yoo (2019), Guiding Deep Learning System Testing Using Surprise Adequacy, on surprise coverage.
    """

    tag = "dsc"

    lower: Annotated[float, "surprise up to which nothing counts", Range(ge=0)] = 0.0
    upper: Annotated[float, "surprise above which nothing counts", Range(gt=0)] = 2.0

    @property
    def score(self) -> DSA:
        return DSA(layers=self.layers)

    def bounds(self, profile: Arrays) -> tuple[float, float]:
        return self.lower, self.upper
