"""Which pixels a classifier's decisions rest on, by layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from core import backend, programs
from core.artefacts import Examples
from core.classifier import Classifier
from core.component import Ref
from core.families import Localiser
from core.faults import StageError
from core.gradients import value_and_gradient
from core.probe import unfold
from core.programs import Call, Tensor
from core.rankings import PixelRanking
from core.run import Run
from localisation.relevance_rules import Epsilon, RelevanceRule, carried, ratio


@dataclass(frozen=True, kw_only=True)
class Relevance(Localiser):
    """How relevant each pixel is to each class: layer-wise relevance propagation, averaged over the images of a class.

    From one logit of an image, relevance goes down layer by layer to the pixels. Layers with weights hand it down by
    ``rule``; activations pass it on; max pooling gives it to the largest value; average pooling, normalisation and sums
    share it by LRP-0. Dropout is off. With epsilon 0.01 and the data set's test part, the 20 most relevant pixels are
    those DeepCustom publishes.

    Source: Bach, Binder, Montavon, Klauschen, Müller and Samek (2015), On Pixel-Wise Explanations for Non-Linear
    Classifier Decisions by Layer-Wise Relevance Propagation; DeepCustom's relevant pixels.
    """

    tag = "relevance"
    produces = PixelRanking

    model: Annotated[Ref[Classifier], "the model whose decisions are explained"]
    data: Annotated[
        Ref[Examples] | None, "images to average over; default: the training part of the model's data set"
    ] = None
    rule: Annotated[RelevanceRule, "how layers with weights hand relevance down"] = Epsilon()  # noqa: RUF009 - frozen
    start: Annotated[
        Literal["predicted", "true"],
        "the logit that relevance starts from: that of the predicted, or of the true class",
    ] = "predicted"

    @property
    def stochastic(self) -> bool:
        return False

    def produce(self, run: Run) -> PixelRanking:
        assert self.data is not None  # the graph fills in the model's data set
        images, classes = run[self.data], run[self.model].num_classes
        carrier = carrying(run[self.model].model, self.rule)
        sums = np.zeros((classes, *images.shape))
        for done, label, relevance in _batches(carrier, images, self.start):
            np.add.at(sums, label, relevance)
            run.progress(done, len(images), "images")
        run.images += len(images)
        counts = np.bincount(images.y, minlength=classes)
        means = np.full_like(sums, np.nan)
        np.divide(sums, counts[:, None, None, None], out=means, where=counts[:, None, None, None] > 0)
        info = {"rule": self.rule.tag, "start": self.start, "images": counts.tolist()}
        return PixelRanking(means, info)


def carrying(model: Any, rule: RelevanceRule) -> Any:
    """Return a model of the same outputs whose derivatives carry relevance: R(tensor) = tensor * gradient.

    Raises:
        StageError: a layer with weights is neither dense nor convolutional nor a batch normalisation.
    """
    unfolded = unfold(model)

    def call(layer: Any, *arguments: Any, **options: Any) -> Tensor:
        outputs = layer(*arguments, **options)
        original = unfolded.get_layer(layer.name)
        if layer.weights:
            layer.set_weights(original.get_weights())
        if _is_linear(layer):
            return rule.carry(layer, arguments[0], outputs)
        return _passed_on(arguments[0], outputs) if _is_activation(layer) else outputs

    return backend.keras().models.clone_model(unfolded, call_function=call, clone_function=_copy)


def relevance_of(call: Call, x: Tensor, y: Tensor, start: str) -> tuple[Tensor]:
    """Return the relevance of each pixel, shaped like ``x``; ``call`` is a model made by ``carrying``."""
    ops = backend.keras().ops

    def chosen(images: Tensor) -> Tensor:
        logits = call(images)
        label = ops.argmax(ops.stop_gradient(logits), axis=-1) if start == "predicted" else y
        return ops.sum(logits * ops.one_hot(label, logits.shape[-1], dtype=logits.dtype), axis=-1)

    return (x * value_and_gradient(chosen, x)[1],)


def _batches(carrier: Any, images: Examples, start: str) -> Iterator[tuple[int, Any, Any]]:
    """Yield how many images are done, and a batch's labels and relevance."""
    for first in range(0, len(images), programs.BATCH):
        batch = slice(first, first + programs.BATCH)
        x, y = np.asarray(images.x[batch]), images.y[batch]
        (relevance,) = programs.run(carrier, relevance_of, (x, y), static=(start,))
        yield first + len(x), y, relevance


def _copy(layer: Any) -> Any:
    if layer.weights and not (_is_linear(layer) or isinstance(layer, backend.keras().layers.BatchNormalization)):
        raise StageError(
            f"layer '{layer.name}' ({type(layer).__name__}): expected dense and convolutional layers and batch "
            "normalisation; relevance has no rule for other layers with weights"
        )
    return type(layer).from_config(layer.get_config())


def _is_linear(layer: Any) -> bool:
    layers = backend.keras().layers
    kinds = (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv2DTranspose)
    return isinstance(layer, (*kinds, layers.DepthwiseConv2D, layers.SeparableConv2D))


def _is_activation(layer: Any) -> bool:
    layers = backend.keras().layers
    return isinstance(layer, layers.Activation | layers.ReLU | layers.LeakyReLU | layers.ELU)


def _passed_on(x: Tensor, values: Tensor) -> Tensor:
    """Return an activation's values with the derivative that leaves each unit its relevance: f(x) / x."""
    return carried(values, (x, ratio(values, x)))
