"""The basis of surprise: the traces of training images in a layer, by predicted class."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.errors import StageError
from temper.nn.adequacy.reference_data import Arrays, ReferenceData
from temper.nn.adequacy.score import Score, Scores
from temper.nn.inspection.activations import Activations

Match = Literal["exclude", "include"]
Values = NDArray[np.float32]


class TraceJudge(ABC):
    """Scores inputs against the fitted training images, with a cache that serves any number of calls."""

    def __init__(self, learnt: Arrays) -> None:
        self.groups = Groups(learnt)

    def scores(self, traces: Values, predicted: NDArray[np.int64], own: NDArray[np.int64]) -> Scores:
        """Return the scores of n inputs by their traces (n, units), float64 (n,); nan where one cannot be scored.

        ``own`` (n,) has the position of each among the training images, so that it is not compared with itself, or
        ``NOT_FITTED_ON``.
        """
        finite, places = np.isfinite(traces).all(axis=1), self.groups.places(own)
        scores = np.full(len(traces), np.nan)
        for label in np.unique(predicted[finite]).tolist():
            rows = np.flatnonzero(finite & (predicted == label))
            scores[rows] = self.of_class(label, traces[rows], places[rows])
        return scores

    @abstractmethod
    def of_class(self, label: int, traces: Values, places: NDArray[np.int64]) -> Scores:
        """Return the scores of inputs of one predicted class.

        Their traces are finite; ``places`` is the position of each in ``groups.rows``, or -1.
        """


@dataclass(frozen=True, kw_only=True)
class TraceScore(Score):
    """A score that compares an input's trace, the values of a layer's units, with those of the training images.

    Classes are those the model predicts, not the labels.
    """

    layers: Annotated[
        tuple[str, ...] | None, "names of the layers whose units are the trace; default: the last hidden one"
    ] = None

    def traces(self, seen: Activations) -> Values:
        """Return the traces of n inputs, float32 (n, units)."""
        parts = [np.asarray(seen.means[:, part]) for part in seen.columns(self.layers or seen.last_hidden)]
        return np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts, axis=1)

    @abstractmethod
    def judge(self, learnt: Arrays) -> TraceJudge:
        """Return a judge that scores any number of sets of inputs."""

    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        return self.judge(learnt).scores(self.traces(seen), seen.predicted, own)

    def learnt_traces(self, reference: ReferenceData) -> dict[str, NDArray[np.generic]]:
        """Return the traces of the training images and their predicted classes.

        Raises:
            StageError: no training image has a finite trace.
        """
        seen = reference.activations
        traces = self.traces(seen)
        if not np.isfinite(traces).all(axis=1).any():
            raise StageError(
                f"{self.tag}: expected finite activations of the training images, received none; check the model's weights"
            )
        count = seen.logits.shape[1]
        names = [*reference.class_names, *map(str, range(len(reference.class_names), count))][:count]
        return {"traces": traces, "predicted": seen.predicted, "classes": np.array(names)}


class Groups:
    """Training images by predicted class, excluding those without a finite trace.

    Attributes:
        rows: the training images, class after class, each class in order.
        slices: the slice of each class in ``rows``.
        names: the names of the classes.
    """

    def __init__(self, learnt: Arrays) -> None:
        predicted = learnt["predicted"]
        finite = np.asarray(np.isfinite(learnt["traces"]).all(axis=1))
        self.names = tuple(map(str, learnt["classes"]))
        self.count = len(self.names)
        order = np.argsort(predicted, kind="stable")
        self.rows: NDArray[np.int64] = order[finite[order]]
        ends = np.searchsorted(predicted[self.rows], np.arange(self.count + 1))
        self.slices = [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]
        self._images = len(predicted)

    def places(self, own: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of training images in ``rows``; -1 for one that is none (see ``own``) or excluded."""
        places = np.full(self._images + 1, -1)  # the last entry is for inputs that are no training images
        places[self.rows] = np.arange(len(self.rows))
        found: NDArray[np.int64] = places[own]
        return found

    def sizes(self) -> NDArray[np.int64]:
        """Return the number of images of each class, int64 (classes,)."""
        return np.array([part.stop - part.start for part in self.slices])

    def remarks(self, least: int) -> Iterator[str]:
        """Yield notes on excluded images, and on classes with too few images to be scored."""
        if missing := self._images - len(self.rows):
            yield f"{missing} training images without finite activations excluded"
        if len(few := np.flatnonzero(self.sizes() < least)):
            number = "no training image" if least == 1 else f"fewer than {least} training images"
            yield f"classes predicted for {number}, so that they have no scores: {self.listed(few)}"

    def listed(self, labels: NDArray[np.int64], most: int = 8) -> str:
        """Return the names of classes, the first few of many."""
        shown = [self.names[label] for label in labels[:most]]
        return ", ".join(shown) + (", ..." if len(labels) > most else "")
