"""The family of scores: a number for each input that says how soon it is worth a label."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Component
from temper.nn.adequacy.reference_data import Arrays, ReferenceData
from temper.nn.inspection.activations import Activations

Scores = NDArray[np.float64]
NOT_LEARNT = -1
"""Says of an input that it is none of those the score learnt from."""


@dataclass(frozen=True, kw_only=True)
class Score(Component):
    """How much an input is worth a label, or a place in a training set: the higher, the sooner.

    ``coarse`` says that many inputs share a value, so that their order is a matter of chance.
    """

    coarse: ClassVar[bool] = False

    @property
    def stochastic(self) -> bool:
        return False

    @property
    def learns(self) -> bool:
        """Whether the score learns of training images at all."""
        return type(self).fit is not Score.fit

    def fit(self, material: ReferenceData) -> Arrays:
        """Return what must be learnt of training images, as arrays; nothing by default."""
        return {}

    @abstractmethod
    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        """Return the scores of n inputs, float64 (n,), higher sooner; nan where an input cannot be judged.

        ``own`` (n,) says which training image each input is, so that it is not compared with itself, or ``NOT_LEARNT``.
        """

    def remarks(self, learnt: Arrays) -> Iterator[str]:
        """Yield what a reader must know of what was learnt: classes that cannot be judged, say; nothing by default."""
        yield from ()


def descending(scores: Scores, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the inputs from the highest score to the lowest, int64 (n,); equals in random order, nan last."""
    shuffled = rng.permutation(len(scores))
    order: NDArray[np.int64] = shuffled[np.argsort(-scores[shuffled], kind="stable")]
    return order
