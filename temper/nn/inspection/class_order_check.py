"""Whether a classifier is better than chance on its data set, and whether its classes are in another order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import lgamma, log

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, Labels
from temper.core.classifier import Classifier
from temper.core.confidence_intervals import wilson

SAMPLE = 1000
"""Number of images that a classifier is checked on, or ``PER_CLASS`` for each class if that is more."""
PER_CLASS = 20
# The 97.5 % quantile of the normal distribution: a 95 % interval.
_QUANTILE = 1.96
ERROR = 0.01
"""Error probability of reporting another order where there is none."""


@dataclass(frozen=True)
class ClassMismatch:
    """Why a classifier may not match these classes in this order.

    ``hits`` of ``n`` images are right; always predicting the most frequent class gives ``chance``, at least 1 /
    classes. ``order`` has for each class the one whose output represents it, ``hits_in_order`` is how many would then
    be right; ``None`` if no other order explains the predictions better.
    """

    n: int
    hits: int
    chance: float
    order: tuple[int, ...] | None
    hits_in_order: int

    @property
    def is_chance(self) -> bool:
        """Whether the share of right answers is not clearly above that of a guess."""
        return wilson(self.hits, self.n)[0] <= self.chance

    def text(self, names: Sequence[str]) -> str:
        """Return the mismatch as a sentence."""
        text = f"right on {self.hits / self.n:.2%} of {self.n} images"
        if self.is_chance:
            text += f", which is not clearly above a guess ({self.chance:.2%})"
        if self.order is None:
            return text
        moved = [f"{names[i]} for {names[j]}" for i, j in enumerate(self.order) if i != j]
        shown = ", ".join(moved[:4]) + (f" and {len(moved) - 4} more" if len(moved) > 4 else "")
        return (
            f"{text}; with its classes in another order it would be right on {self.hits_in_order / self.n:.2%}: "
            f"it takes images of {shown}"
        )


def class_mismatch(y: Labels, predicted: Labels, classes: int) -> ClassMismatch | None:
    """Return the mismatch between predictions (n,) and labels ``y`` (n,); ``None`` if there is none.

    The order is the one with the most hits (an assignment problem on the confusion matrix). Classes are exchanged if
    images of each are predicted as the other class more often than as their own, by a sign test on all of these at
    ``ERROR``, corrected for the number of possible orders (Bonferroni). On imbalanced classes a model need not beat the
    most frequent one if it is right on enough of each. A sample so small that even a perfect score would not be above
    chance is inconclusive.

    Source: Kuhn (1955), The Hungarian Method for the Assignment Problem.
    """
    n = len(y)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (y, predicted), 1)
    hits = int(confusion.trace())
    chance = max(1 / classes, float(confusion.sum(axis=1).max(initial=0)) / max(n, 1))
    if n == 0 or wilson(n, n)[0] <= chance:
        return None
    order = _order(confusion)
    found = ClassMismatch(
        n, hits, chance, order, hits if order is None else int(confusion[range(classes), order].sum())
    )
    return found if order is not None or (found.is_chance and not _beats_chance_per_class(confusion)) else None


def evenly_spaced_sample(examples: Examples, classes: int) -> Examples:
    """Return as many evenly spaced examples as the check of a classifier needs."""
    n = min(len(examples), max(SAMPLE, PER_CLASS * classes))
    # Evenly spaced, so that a set sorted by class is covered.
    return examples.take(np.unique(np.linspace(0, len(examples) - 1, n).round().astype(np.int64)))


def mismatch_of(classifier: Classifier, examples: Examples) -> ClassMismatch | None:
    """Return the mismatch between a classifier and its data set, checked on a sample; ``None`` if there is none."""
    if not len(examples) or int(examples.y.max()) >= classifier.num_classes:
        return None
    sample = evenly_spaced_sample(examples, classifier.num_classes)
    return class_mismatch(sample.y, classifier.predict(sample.x), classifier.num_classes)


def _beats_chance_per_class(confusion: NDArray[np.int64]) -> bool:
    """Return whether the mean accuracy over the classes is clearly above that of a guess.

    A model that does not neglect rare classes may pass this while right on fewer images than the most frequent class
    has.
    """
    images = confusion.sum(axis=1)
    there = images > 0
    hits, n = confusion.diagonal()[there], images[there]
    smoothed = (hits + 1) / (n + 2)  # Laplace: a class of few images, all right, has an uncertain rate
    error = float(np.sqrt((smoothed * (1 - smoothed) / n).sum())) / len(n)
    return bool((hits / n).mean() - _QUANTILE * error > 1 / len(n))


def _order(confusion: NDArray[np.int64]) -> tuple[int, ...] | None:
    from scipy.optimize import linear_sum_assignment

    classes = len(confusion)
    # Among equally good orders, the one that moves the fewest classes.
    places = linear_sum_assignment(confusion + np.eye(classes) / (classes + 1), maximize=True)[1].tolist()
    order = list(range(classes))
    for cycle in _cycles(places):
        if _is_certain(confusion, cycle, [places[i] for i in cycle]):
            for i in cycle:
                order[i] = places[i]
    return tuple(order) if order != sorted(order) else None


def _cycles(places: Sequence[int]) -> Iterator[list[int]]:
    """Yield the groups of classes that are exchanged with each other."""
    left = {i for i, place in enumerate(places) if place != i}
    while left:
        cycle = [min(left)]
        while (following := places[cycle[-1]]) != cycle[0]:
            cycle.append(following)
        left -= set(cycle)
        yield cycle


def _is_certain(confusion: NDArray[np.int64], own: list[int], other: list[int]) -> bool:
    """Whether images of some classes are significantly more often predicted as the other class than as their own."""
    from scipy.stats import binom

    right, moved = confusion[own, own], confusion[own, other]
    # A class without images has no evidence; it takes a free position.
    if (moved <= right)[confusion[own].any(axis=1)].any():
        return False
    # The logarithm of the number of cycles of this length among the classes.
    choices = lgamma(len(confusion) + 1) - lgamma(len(confusion) - len(own) + 1) - log(len(own))
    # In logarithms: the probability underflows for a few thousand images.
    by_chance = float(binom.logsf(moved.sum() - 1, moved.sum() + right.sum(), 0.5))
    return by_chance + choices <= log(ERROR)
