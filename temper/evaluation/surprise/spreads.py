"""The spread of each class's traces: the units that vary, their mean and covariance, and a whitening matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Range
from temper.core.errors import StageError, UndertrainedModelError
from temper.evaluation.surprise.traces import Groups, TraceScore
from temper.nn.adequacy.reference_data import Arrays, ReferenceData

Floats = NDArray[np.float64]
LEAST = 2
"""Minimum number of images of a class to estimate their spread."""
ROUNDING = 1e-13
"""Eigenvalues below this share of the largest are rounding errors, since activations are float32."""
FLOOR = 1e-6
Singular = Annotated[
    Literal["lift", "published"],
    "lift: a singular covariance is lifted to `floor`; published: it is kept, as in SciPy's gaussian_kde and so in SADL's code, whose "
    "scores then depend on rounding errors, and one without a Cholesky factor is an error",
]


@dataclass(frozen=True, kw_only=True)
class SpreadScore(TraceScore):
    """A score that compares an input's trace with the spread of those of its predicted class."""

    var_threshold: Annotated[float, "variance below which a unit is excluded", Range(ge=0)] = 1e-5
    mask: Annotated[
        Literal["per_class", "union"],
        "per_class: each class excludes the units that hardly vary in it; union: all exclude those of any class",
    ] = "per_class"
    floor: Annotated[
        float,
        "smallest eigenvalue of a class's covariance, as a share of their mean; lower ones are lifted to it (or to the rounding error "
        "of the largest, if that is more), and with 0 a singular covariance is an error",
        Range(ge=0, lt=1),
    ] = FLOOR
    singular: Singular = "lift"

    def check(self) -> Iterator[tuple[str, str]]:
        if self.singular == "published" and self.floor != FLOOR:
            yield (
                "floor",
                f"singular: published lifts nothing, received {self.floor:g}; remove one of the two",
            )

    def fit(self, reference: ReferenceData) -> Arrays:
        learnt = self.learnt_traces(reference)
        traces, groups = np.asarray(learnt["traces"]), Groups(learnt)
        units = traces.shape[1]
        kept, means = np.zeros((groups.count, units), np.bool_), np.zeros((groups.count, units))
        roots, volumes = np.zeros((groups.count, units, units)), np.zeros(groups.count)
        singular = np.zeros(groups.count, np.int64)
        judged = np.flatnonzero(groups.sizes() >= LEAST)
        if not len(judged):
            raise UndertrainedModelError(
                f"{self.tag}: expected a class predicted for {LEAST} training images, received none; use more"
            )
        for label in judged:
            means[label], roots[label] = _moments(traces[groups.rows[groups.slices[label]]])
            variances = np.diagonal(roots[label]) * (1 - 1 / groups.sizes()[label])
            # The variance of equal values may be a rounding error above 0.
            varied = np.ptp(traces[groups.rows[groups.slices[label]]], axis=0) > 0
            kept[label] = varied & (variances >= self.var_threshold)
        if self.mask == "union":
            kept[judged] = kept[judged].all(axis=0)
        if not kept.any():
            raise UndertrainedModelError(
                f"{self.tag}: expected units whose variance is at least {self.var_threshold:g}, found none "
                f"(mask: {self.mask}); lower var_threshold, or use another layer"
            )
        for label in judged:
            (columns,) = np.nonzero(kept[label])
            covariance = roots[label][np.ix_(columns, columns)]
            roots[label] = 0
            if len(columns):
                root, volumes[label], singular[label] = self._whitening(covariance, groups.names[label])
                roots[label][columns, : len(columns)] = root
        return {**learnt, "kept": kept, "means": means, "roots": roots, "volumes": volumes, "singular": singular}

    def _whitening(self, covariance: Floats, name: str) -> tuple[Floats, float, int]:
        """Return W with W^T C W = 1 of a covariance C, ln(det C) / 2, and the number of singular directions of C.

        C is lifted in these first, unless it is kept as published.
        """
        total = np.trace(covariance)
        share = self.floor * total / len(covariance)
        if (root := _inverse_root(covariance, least=max(share, ROUNDING * total))) is not None:
            return root, _half_log_determinant(root), 0
        values, vectors = np.linalg.eigh(covariance)
        least = max(share, ROUNDING * values.max())
        low = int((values < least).sum())
        if self.singular == "published":
            if (root := _inverse_root(covariance, least=0.0)) is not None:
                return root, _half_log_determinant(root), low
            raise self._is_singular(name, low, len(values), "the published code fails here, too; set singular: lift")
        if low and not self.floor:
            raise self._is_singular(name, low, len(values), "set a floor above 0")
        values = np.maximum(values, least)
        return vectors / np.sqrt(values), float(np.log(values).sum() / 2), low

    def _is_singular(self, name: str, low: int, units: int, remedy: str) -> StageError:
        return StageError(
            f"{self.tag}: the covariance of class {name} is singular ({low} of {units} directions); {remedy}, "
            "or raise var_threshold"
        )

    def remarks(self, learnt: Arrays) -> Iterator[str]:
        groups = Groups(learnt)
        yield from groups.remarks(LEAST)
        judged = groups.sizes() >= LEAST
        units = learnt["kept"].shape[1]
        out = units - learnt["kept"][judged].sum(axis=1)
        if len(still := np.flatnonzero(judged)[out == units]):
            yield f"classes in which no unit varies, so that they have no scores: {groups.listed(still)}"
        if out.any():
            number = f"{out.min()}" if out.min() == out.max() else f"{out.min()} to {out.max()}"
            yield f"{number} of {units} units excluded from each class: variance below {self.var_threshold:g}"
        if len(flat := np.flatnonzero(learnt["singular"])):
            most = int(learnt["singular"].max())
            done = (
                "lifted to the floor"
                if self.singular == "lift"
                else "kept as published, so that scores depend on rounding errors,"
            )
            yield f"classes with a singular covariance, {done} in at most {most} directions: {groups.listed(flat)}"


class Spread:
    """The spread of one class: whitened traces have mean 0 and covariance 1.

    ``units`` is the number of those that vary, ``volume`` half the logarithm of the covariance's determinant.
    """

    def __init__(self, learnt: Arrays, label: int) -> None:
        (self._columns,) = np.nonzero(learnt["kept"][label])
        self.units = len(self._columns)
        self._mean = np.asarray(learnt["means"][label])[self._columns]
        self._root = np.asarray(learnt["roots"][label])[self._columns, : self.units]
        self.volume = float(learnt["volumes"][label])

    def white(self, traces: NDArray[np.float32], width: float = 1.0) -> Floats:
        """Return whitened traces (n, units of the layer), in multiples of ``width``, float64 (n, units)."""
        own = traces if self.units == traces.shape[1] else traces[:, self._columns]
        made: Floats = (own - self._mean) @ (self._root / width)
        return made


def _moments(traces: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Return the mean (units,) and the covariance (units, units) of traces, float64."""
    mean = traces.mean(axis=0, dtype=np.float64)
    centred = traces - mean
    return mean, centred.T @ centred / (len(traces) - 1)


def _inverse_root(covariance: Floats, least: float) -> Floats | None:
    """Return W with W^T C W = 1 if C certainly has no eigenvalue below ``least``; ten times as fast as eigenvalues.

    |W|^2 in the Frobenius norm is the trace of C^-1, and so at least the inverse of the smallest eigenvalue.
    """
    from scipy.linalg import lapack

    factor, failed = lapack.dpotrf(covariance, lower=1, clean=1)
    if failed:
        return None
    inverse = lapack.dtrtri(factor, lower=1)[0]
    root: Floats = np.ascontiguousarray(inverse.T)
    return root if least * np.vdot(root, root) < 1 else None


def _half_log_determinant(root: Floats) -> float:
    """Return ln(det C) / 2 of the covariance that a triangular root whitens."""
    return -float(np.log(np.diagonal(root)).sum())
