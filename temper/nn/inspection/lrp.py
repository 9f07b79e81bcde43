"""Layer-wise relevance propagation (LRP): the relevance of pixels and hidden units for each image's decision."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels
from temper.core.classifier import Classifier
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Body, Call, Tensor
from temper.nn.inspection.gradients import value_and_gradient
from temper.nn.inspection.lrp_rules import RelevanceRule, relevance_model, unit_relevance_model
from temper.system import backend

Batches = Iterator[tuple[slice, NDArray[np.float32]]]


def pixel_relevance(
    classifier: Classifier, x: Images, rule: RelevanceRule | None = None, y: Labels | None = None
) -> Batches:
    """Yield batches of images, each as a slice of ``x`` and the relevance of its pixels, shaped like the images.

    Relevance starts from one logit of each image: that of the class ``y``, or by default of the predicted class.
    Without a rule it is propagated by LRP-0.
    """
    return _batches(relevance_model(classifier.model, rule), _of_pixels, (), x, y)


def unit_relevance_batches(
    classifier: Classifier,
    x: Images,
    rule: RelevanceRule | None = None,
    y: Labels | None = None,
    layers: Collection[str] | None = None,
) -> Batches:
    """Yield batches of images, each as a slice of ``x`` and the relevance of all hidden units, (k, units).

    Units are those of ``temper.nn.inspection.units.Probe``, in its order, or only those of the named ``layers``. A
    feature map gets the sum over its positions.
    """
    carrier = unit_relevance_model(classifier.model, rule, layers)
    return _batches(carrier, _of_units, (carrier.inputs[1].shape[1],), x, y)


def _batches(carrier: Any, body: Body, static: tuple[int, ...], x: Images, y: Labels | None) -> Batches:
    starts = np.zeros(len(x), np.int64) if y is None else y
    for first in range(0, len(x), compiled_programs.BATCH):
        rows = slice(first, min(first + compiled_programs.BATCH, len(x)))
        arrays = np.asarray(x[rows]), starts[rows]
        yield rows, compiled_programs.run(carrier, body, arrays, static=(y is None, *static))[0]


def _of_pixels(call: Call, x: Tensor, y: Tensor, predicted: bool) -> tuple[Tensor]:
    return (x * value_and_gradient(lambda images: _chosen(call(images), y, predicted), x)[1],)


def _of_units(call: Call, x: Tensor, y: Tensor, predicted: bool, units: int) -> tuple[Tensor]:
    # All factors are 1, so the gradient with respect to one is already the unit's value times its gradient.
    factors = backend.keras().ops.ones((x.shape[0], units), x.dtype)
    return (value_and_gradient(lambda f: _chosen(call([x, f]), y, predicted), factors)[1],)


def _chosen(logits: Tensor, y: Tensor, predicted: bool) -> Tensor:
    """Return the logit that relevance starts from, (n,)."""
    ops = backend.keras().ops
    label = ops.argmax(ops.stop_gradient(logits), axis=-1) if predicted else y
    return ops.sum(logits * ops.one_hot(label, logits.shape[-1], dtype=logits.dtype), axis=-1)
