"""Fidelity gates: which mutants are similar enough to their seed image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.augmenter import FittedComponent
from temper.core.component import Range
from temper.core.run import Run
from temper.generators.regression.pixel_mutations import Pixels, Values
from temper.generators.structural_similarity import Window, similarity

# The default of scikit-image, which DRFuzz calls.
_WINDOW = Window(7)
ALPHA, BETA = 0.02, 0.2
"""DeepHunter's share of entries that may change by any amount, and the change allowed for any number of them."""
Levels = NDArray[np.int64]


class Gate(ABC):
    """A running fidelity gate.

    ``network`` is a Keras model from images in [0, 1] to one number each, (n, 1), computed along with both versions;
    ``None`` if the gate needs none.
    """

    network: Any = None

    @abstractmethod
    def keeps(self, x: Pixels, roots: Pixels, scores: Values, root_scores: Values) -> NDArray[np.bool_]:
        """Return which mutants are faithful, bool (n,); scores (n,) are the network's, 0 without one."""


@dataclass(frozen=True, kw_only=True)
class Fidelity(FittedComponent):
    """A gate that compares a mutant with the seed at the root of its lineage, after any number of mutations."""

    @abstractmethod
    def gate(self, run: Run) -> Gate:
        """Return the running gate."""


class _GateItself(Gate):
    """The gate of a fidelity without preparations."""

    def gate(self, run: Run) -> Gate:
        """Return itself."""
        return self


@dataclass(frozen=True, kw_only=True)
class AnyFidelity(_GateItself, Fidelity):
    """Every mutant is faithful enough.

    Source: the variant of DRFuzz without fidelity.
    """

    tag = "none"

    def keeps(self, x: Pixels, roots: Pixels, scores: Values, root_scores: Values) -> NDArray[np.bool_]:
        return np.ones(len(x), np.bool_)


@dataclass(frozen=True, kw_only=True)
class StructuralFidelity(_GateItself, Fidelity):
    """Structural similarity to the seed, the mean over windows of 7 x 7, with uniform weights.

    Source: DRFuzz, fidelity mode ``ssim``; Wang, Bovik, Sheikh and Simoncelli (2004), Image Quality Assessment: From
    Error Visibility to Structural Similarity.
    Differs: a failed mutant is not retried with another operator.
    """

    tag = "ssim_to_seed"

    min: Annotated[float, "smallest similarity, 1 for equal images", Range(ge=-1, le=1)] = 0.99

    def keeps(self, x: Pixels, roots: Pixels, scores: Values, root_scores: Values) -> NDArray[np.bool_]:
        return similarity(x, roots, _WINDOW, 255.0) >= self.min


@dataclass(frozen=True, kw_only=True)
class DistanceFidelity(_GateItself, Fidelity):
    """Few entries differ from the seed's, or none by much: L0 < alpha * entries or L-inf < beta.

    Source: Xie et al. (2019), DeepHunter: A Coverage-Guided Fuzz Testing Framework for Deep Neural Networks, eq. 2.
    """

    tag = "l0linf"

    alpha: Annotated[float, "share of an image's entries that may change by any amount", Range(ge=0, le=1)] = ALPHA
    beta: Annotated[float, "change allowed for any number of entries, in pixel values", Range(ge=0, le=1)] = BETA

    def keeps(self, x: Pixels, roots: Pixels, scores: Values, root_scores: Values) -> NDArray[np.bool_]:
        return within_bounds(*difference_counts(x, roots), x[0].size, self.alpha, self.beta)


def difference_counts(x: Pixels, roots: Pixels) -> tuple[Levels, Levels]:
    """Return the number of differing entries of images, and the largest difference in levels, int64 (n,) each."""
    # Unsigned bytes: a plain difference would wrap.
    difference = np.maximum(x, roots) - np.minimum(x, roots)
    return np.count_nonzero(difference, axis=(1, 2, 3)), difference.max(axis=(1, 2, 3), initial=0).astype(np.int64)


def within_bounds(changed: Levels, levels: Levels, entries: int, alpha: float, beta: float) -> NDArray[np.bool_]:
    """Return where L0 < alpha * entries or L-inf < beta * 255, bool (n,)."""
    return np.asarray((changed < alpha * entries) | (levels < beta * 255))
