"""How the traces of each class spread: the units that vary, their mean and covariance, and what makes them white."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from core.adequacy.material import Arrays, Material
from core.component import Range
from core.faults import StageError
from evaluation.surprise.traces import Groups, TraceScore, listed

Floats = NDArray[np.float64]
LEAST = 2
"""Images of a class that it takes to say how they spread."""
ROUNDING = 1e-13
"""Eigenvalues below this share of the largest are rounding errors; activations are float32, their squares no better."""


@dataclass(frozen=True, kw_only=True)
class SpreadScore(TraceScore):
    """A score that compares an input's trace with how those of its predicted class spread."""

    var_threshold: Annotated[float, "variance below which a unit is left out", Range(ge=0)] = 1e-5
    mask: Annotated[
        Literal["per_class", "union"],
        "per_class: each class leaves out the units that hardly vary in it; union: all leave out those of any class",
    ] = "per_class"
    floor: Annotated[
        float,
        "least eigenvalue of a class's covariance, as a share of their mean; lower ones are lifted to it, "
        "and with 0 a singular covariance is an error",
        Range(ge=0, lt=1),
    ] = 1e-6

    def fit(self, material: Material) -> Arrays:
        learnt = self.learnt_traces(material)
        traces, groups = np.asarray(learnt["traces"]), Groups(learnt)
        units = traces.shape[1]
        kept, means = np.zeros((groups.count, units), np.bool_), np.zeros((groups.count, units))
        roots, volumes = np.zeros((groups.count, units, units)), np.zeros(groups.count)
        lifted = np.zeros(groups.count, np.int64)
        judged = np.flatnonzero(groups.sizes() >= LEAST)
        if not len(judged):
            raise StageError(
                f"{self.tag}: expected a class predicted for {LEAST} training images, received none; use more"
            )
        for label in judged:
            means[label], roots[label] = _moments(traces[groups.rows[groups.slices[label]]])
            variances = np.diagonal(roots[label]) * (1 - 1 / groups.sizes()[label])
            kept[label] = variances >= max(self.var_threshold, np.finfo(np.float32).tiny)
        if self.mask == "union":
            kept[judged] = kept[judged].all(axis=0)
        if not kept.any():
            raise StageError(
                f"{self.tag}: expected units whose variance is at least {self.var_threshold:g}, found none "
                f"(mask: {self.mask}); lower var_threshold, or look at another layer"
            )
        for label in judged:
            (columns,) = np.nonzero(kept[label])
            covariance = roots[label][np.ix_(columns, columns)]
            roots[label] = 0
            if len(columns):
                root, volumes[label], lifted[label] = self._whitening(covariance, int(label))
                roots[label][columns, : len(columns)] = root
        return {**learnt, "kept": kept, "means": means, "roots": roots, "volumes": volumes, "lifted": lifted}

    def _whitening(self, covariance: Floats, label: int) -> tuple[Floats, float, int]:
        """Return W with W^T C W = 1 of a class's covariance C, ln(det C) / 2, and in how many directions C was lifted."""
        total = np.trace(covariance)
        mean = total / len(covariance)
        if (root := _inverse_root(covariance, least=max(self.floor * mean, ROUNDING * total))) is not None:
            return root, -float(np.log(np.diagonal(root)).sum()), 0
        values, vectors = np.linalg.eigh(covariance)
        low = values < max(self.floor * mean, ROUNDING * values.max())
        if low.any() and not self.floor:
            raise StageError(
                f"{self.tag}: the covariance of class {label} is singular ({int(low.sum())} of {len(values)} directions); "
                "give a floor above 0, or raise var_threshold"
            )
        values = np.where(low, self.floor * mean, values)
        return vectors / np.sqrt(values), float(np.log(values).sum() / 2), int(low.sum())

    def remarks(self, learnt: Arrays) -> Iterator[str]:
        groups = Groups(learnt)
        yield from groups.remarks(LEAST)
        judged = groups.sizes() >= LEAST
        units = learnt["kept"].shape[1]
        out = units - learnt["kept"][judged].sum(axis=1)
        if len(still := np.flatnonzero(judged)[out == units]):
            yield f"classes in which no unit varies, so that they have no scores: {listed(still)}"
        if out.any():
            number = f"{out.min()}" if out.min() == out.max() else f"{out.min()} to {out.max()}"
            yield f"{number} of {units} units left out of each class: variance below {self.var_threshold:g}"
        if len(flat := np.flatnonzero(learnt["lifted"])):
            most = int(learnt["lifted"].max())
            yield f"classes with a singular covariance, lifted to the floor in at most {most} directions: {listed(flat)}"


class Spread:
    """How one class spreads: traces made white by it have mean 0 and covariance 1.

    ``units`` is the number of those that vary, ``volume`` half the logarithm of the covariance's determinant.
    """

    def __init__(self, learnt: Arrays, label: int) -> None:
        (self._columns,) = np.nonzero(learnt["kept"][label])
        self.units = len(self._columns)
        self._mean = np.asarray(learnt["means"][label])[self._columns]
        self._root = np.asarray(learnt["roots"][label])[self._columns, : self.units]
        self.volume = float(learnt["volumes"][label])

    def white(self, traces: NDArray[np.float32], width: float = 1.0) -> Floats:
        """Return traces (n, units of the layer) made white, in multiples of ``width``, float64 (n, units)."""
        own = traces if self.units == traces.shape[1] else traces[:, self._columns]
        made: Floats = (own - self._mean) @ (self._root / width)
        return made


def _moments(traces: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Return the mean (units,) and the covariance (units, units) of traces, float64."""
    mean = traces.mean(axis=0, dtype=np.float64)
    centred = traces - mean
    return mean, centred.T @ centred / (len(traces) - 1)


def _inverse_root(covariance: Floats, least: float) -> Floats | None:
    """Return W with W^T C W = 1 if C surely has no eigenvalue below ``least``; a tenth of the time of eigenvalues.

    |W|^2 in the Frobenius norm is the trace of C^-1, and so at least the inverse of the least eigenvalue.
    """
    from scipy.linalg import lapack

    factor, failed = lapack.dpotrf(covariance, lower=1, clean=1)
    if failed:
        return None
    inverse = lapack.dtrtri(factor, lower=1)[0]
    root: Floats = np.ascontiguousarray(inverse.T)
    return root if least * np.vdot(root, root) < 1 else None
