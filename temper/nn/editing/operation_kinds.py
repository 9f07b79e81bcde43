"""Classifies the layers and operations at the end of a Keras model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temper.nn.inspection.compiled_programs import Tensor
from temper.system import backend

IDENTITIES = (
    "ActivityRegularization",
    "AlphaDropout",
    "Cast",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "StopGradient",
)
"""Layers and operations that are the identity in inference."""

_ACTIVATIONS: Mapping[str, str] = {
    "ELU": "ELU",
    "Elu": "elu",
    "Exp": "exponential",
    "Gelu": "gelu",
    "HardSigmoid": "hard_sigmoid",
    "LeakyReLU": "LeakyReLU",
    "LeakyRelu": "leaky_relu",
    "PReLU": "PReLU",
    "ReLU": "ReLU",
    "Relu": "relu",
    "Relu6": "relu6",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sparsemax": "sparsemax",
    "Tanh": "tanh",
}
"""Layers and operations that are activations, with their names."""


def producer(tensor: Tensor) -> tuple[Any, list[Any]]:
    """Return the layer or operation that produces a symbolic tensor, and its operands (tensors, constants) in order."""
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, backend.keras().tree.flatten(node.arguments.args)


def activation(operation: Any) -> str:
    """Return the name of the activation that a layer or operation applies last; ``linear`` if it has none."""
    kind = type(operation).__name__
    if kind in _ACTIVATIONS:
        return _ACTIVATIONS[kind]
    if kind != "Activation" and not has_fused_activation(operation):
        return "linear"
    function = operation.activation
    if isinstance(function, backend.keras().layers.Layer):
        return activation(function)
    return "linear" if function is None else str(getattr(function, "__name__", function))


def has_fused_activation(operation: Any) -> bool:
    """Return whether an operation is a layer with weights that applies an activation to its output."""
    layers = backend.keras().layers
    named = isinstance(operation, layers.Layer) and getattr(operation, "activation", None) is not None
    # A recurrent layer's activation is inside its loop, not on its output.
    return named and bool(operation.weights) and not isinstance(operation, layers.RNN)


def is_identity(operation: Any) -> bool:
    """Return whether an operation is the identity in inference."""
    kind = type(operation).__name__
    return kind in IDENTITIES or (kind == "Activation" and activation(operation) == "linear")


def preserves_argmax(clip: Any, classes: int) -> bool:
    """Return whether a clipping of probabilities preserves the largest of each image."""
    # The largest probability is at least 1 / classes, and the second largest at most 0.5.
    return bool(clip.x_min < 1 / classes and clip.x_max >= 0.5)
