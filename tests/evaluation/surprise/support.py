"""Activations and training material made of traces and predictions, without a model."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from temper.nn.adequacy.reference_data import ReferenceData
from temper.nn.adequacy.score import NOT_FITTED_ON, Score, Scores
from temper.nn.inspection.activations import SOFTMAX, Activations
from temper.nn.inspection.units import UnitLayer


def seen(traces: Any, predicted: Any, classes: int = 0, logits: Any = None) -> Activations:
    """Return activations of a last hidden layer with these traces, of a model that predicts these labels."""
    means = np.asarray(traces, np.float32)
    n, units = means.shape
    labels = np.asarray(predicted, np.int64)
    if logits is None:
        logits = np.eye(max(classes, 2, int(labels.max(initial=0)) + 1))[labels]
    logits = np.asarray(logits, np.float32)
    classes = logits.shape[1]
    layers = (UnitLayer("first", 1, 1, 1), UnitLayer("hidden", units, 1, 1), UnitLayer("logits", classes, 1, 1),
              UnitLayer(SOFTMAX, classes, 1, 1))  # fmt: skip
    whole = np.hstack([np.full((n, 1), 7.0), means, logits, np.full((n, classes), 0.1)]).astype(np.float32)
    low, high = np.zeros((n, 4), np.float32), np.ones((n, 4), np.float32)
    if units:
        low[:, 1], high[:, 1] = means.min(axis=1), means.max(axis=1)
    return Activations(layers, whole, whole > 0, low, high, np.zeros((n, 4), np.int32), logits)


def reference(learnt: Activations) -> ReferenceData:
    """Return training material of which only the activations are looked at."""
    nothing = cast(Any, SimpleNamespace(info={}))
    return ReferenceData(nothing, nothing, learnt, cast(Callable[..., Activations], None))


def values(score: Score, train: Activations, test: Activations, own: NDArray[np.int64] | None = None) -> Scores:
    """Return what a score says of inputs after it learnt of training images."""
    own = np.full(len(test), NOT_FITTED_ON) if own is None else own
    return score.values(score.fit(reference(train)), test, own, np.random.default_rng(0))


def remarks(score: Score, train: Activations) -> str:
    """Return what a score has to say of what it learnt."""
    return "; ".join(score.remarks(score.fit(reference(train))))
