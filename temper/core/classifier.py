"""The classifier: a Keras model from images in [0, 1] to logits, whatever its origin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from temper.core.artefacts import Artefact, Images, Labels
from temper.core.errors import StageError
from temper.nn.editing.logits import to_logits
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Body, Call, Tensor
from temper.nn.inspection.finite_check import check_outputs, check_weights
from temper.nn.inspection.gradients import margin, value_and_gradient
from temper.nn.tensorflow_files.signature_layer import signature_layer
from temper.system import backend

Loss = Literal["margin", "cross_entropy"]


class Classifier(Artefact):
    """A Keras model that maps float32 images (n, height, width, channels) in [0, 1] to logits (n, classes).

    Input conventions (scale, flattening, channel order, grey conversion) are layers of the model, and a final softmax
    is removed (``temper.nn.editing.logits.to_logits``), so that all other code sees one interface and unsaturated
    gradients.

    Raises:
        StageError: the shape of the model's input or output differs, it does not end in logits, or a weight is not
        finite.
    """

    kind: ClassVar[str] = "classifier"

    def __init__(self, model: Any) -> None:
        if len(model.input_shape) != 4 or None in model.input_shape[1:] or len(model.output_shape) != 2:
            raise StageError(
                "classifier: expected a model from (n, height, width, channels) to (n, classes), "
                f"received one from {model.input_shape} to {model.output_shape}"
            )
        if to_logits(model) is not model:
            raise StageError("classifier: expected a model that ends in logits, received softmax; use to_logits(model)")
        check_weights(model)
        self.model = model

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Image shape (height, width, channels)."""
        height, width, channels = self.model.input_shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """Number of logits."""
        return int(self.model.output_shape[-1])

    def logits(self, x: Images) -> Images:
        """Return the logits of images, float32 (n, classes).

        Raises:
            StageError: some are not finite.
        """
        logits = compiled_programs.run_all(self.model, _logits, x)[0]
        check_outputs(logits)
        return logits

    def predict(self, x: Images) -> Labels:
        """Return the predicted labels of images, int64 (n,).

        Raises:
            StageError: some logits are not finite.
        """
        labels: Labels = np.argmax(self.logits(x), axis=1).astype(np.int64)
        return labels

    def loss_gradient(self, x: Images, y: Labels, loss: Loss = "cross_entropy") -> Images:
        """Return the gradient of each image's loss with respect to its pixels, float32 like ``x``.

        The gradient of the cross-entropy is 0 in float32 where the model is confident; that of the ``margin`` has the
        same direction and does not vanish.
        """
        return compiled_programs.run_all(self.model, _GRADIENTS[loss], x, y)[0]

    def save(self, folder: Path) -> None:
        self.model.save(folder / "model.keras")

    @classmethod
    def load(cls, folder: Path) -> Self:
        signature_layer()  # known to Keras from now on
        return cls(backend.keras().models.load_model(folder / "model.keras", compile=False, safe_mode=True))


def _logits(call: Call, x: Tensor) -> tuple[Tensor]:
    return (call(x),)


def _loss_gradient(call: Call, x: Tensor, y: Tensor) -> tuple[Tensor]:
    # The cross-entropy is softplus(margin).
    softplus = backend.keras().ops.softplus
    return (value_and_gradient(lambda images: softplus(margin(call(images), y)), x)[1],)


def _margin_gradient(call: Call, x: Tensor, y: Tensor) -> tuple[Tensor]:
    return (value_and_gradient(lambda images: margin(call(images), y), x)[1],)


_GRADIENTS: Mapping[Loss, Body] = {"cross_entropy": _loss_gradient, "margin": _margin_gradient}
