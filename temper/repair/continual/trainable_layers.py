"""The trainable and frozen layers of a model: its head and its trunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from temper.core.errors import StageError
from temper.system import backend


def layers_with_weights(model: Any) -> list[Any]:
    """Return the layers of a Keras model that have weights, from the input to the logits."""
    return [layer for layer in model.layers if layer.weights]


def head_of(model: Any) -> Any:
    """Return the layer that computes the logits: dense, or a convolution with one map for each class.

    Raises:
        StageError: the last layer with weights does not have separate weights for each class.
    """
    head, classes, layers = layers_with_weights(model)[-1], model.output_shape[-1], backend.keras().layers
    if not isinstance(head, layers.Dense | layers.Conv2D) or head.kernel.shape[-1] != classes:
        raise StageError(
            f"layer '{head.name}' is the model's last with weights; expected a dense layer of {classes} units or a "
            "convolution "
            "of as many maps, one for each class, which can be trained separately; repair this model with `continual`"
        )
    return head


def reinitialise(head: Any, seed: int) -> None:
    """Initialise a head: Glorot's weights for the kernel, zero for the bias."""
    initializers = backend.keras().initializers
    head.kernel.assign(initializers.GlorotUniform(seed)(head.kernel.shape))
    if head.bias is not None:
        head.bias.assign(initializers.Zeros()(head.bias.shape))


def freeze(layers: Sequence[Any]) -> None:
    """Freeze layers, including the statistics of batch normalisation."""
    for layer in layers:
        layer.trainable = False


@contextmanager
def restored_trainability(model: Any) -> Iterator[None]:
    """Restore which of a model's layers are trainable on exit."""
    before = [(layer, layer.trainable) for layer in model.layers]
    yield
    for layer, trainable in before:
        layer.trainable = trainable
