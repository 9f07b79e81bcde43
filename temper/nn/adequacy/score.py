"""The family of scores, which rate how much each input is worth labelling."""

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
NOT_FITTED_ON = -1
"""Marks an input that is not among those the score was fitted on."""


@dataclass(frozen=True, kw_only=True)
class Score(Component):
    """How much an input is worth labelling or training on; higher comes first.

    ``coarse`` means that many inputs share a value, so that their order is random.
    """

    coarse: ClassVar[bool] = False

    @property
    def stochastic(self) -> bool:
        return False

    @property
    def learns(self) -> bool:
        """Whether the score is fitted on training images at all."""
        return type(self).fit is not Score.fit

    def fit(self, reference: ReferenceData) -> Arrays:
        """Return the arrays fitted on the training images, by name; none by default."""
        return {}

    @abstractmethod
    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        """Return the scores of n inputs, float64 (n,), higher first; nan where an input cannot be scored.

        ``own`` (n,) has the position of each input among the training images, so that it is not compared with itself,
        or ``NOT_FITTED_ON``.
        """

    def remarks(self, learnt: Arrays) -> Iterator[str]:
        """Yield notes on the fit for the reader, such as classes that cannot be scored; nothing by default."""
        yield from ()


def descending(scores: Scores, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the inputs from the highest score to the lowest, int64 (n,); ties in random order, nan last."""
    # Shuffled before a stable sort, so that ties are in random order and nan comes last.
    shuffled = rng.permutation(len(scores))
    order: NDArray[np.int64] = shuffled[np.argsort(-scores[shuffled], kind="stable")]
    return order
