"""Takes the softmax off the end of a Keras model, so that it gives logits."""

from __future__ import annotations

from typing import Any

from core import backend
from core.faults import StageError
from core.networks.copies import inherit, like

_SHAPE_ONLY = ("Reshape", "Flatten", "Dropout", "Identity")


def to_logits(model: Any) -> Any:
    """Return a model of the same layers and weights that ends in logits (n, classes).

    A model that already does is returned as it is. Otherwise the last layer's softmax is left out; all other
    layers are shared with ``model``.

    Raises:
        StageError: the model has not exactly one output (n, classes), or ends in another activation than softmax.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        shapes = [tuple(output.shape) for output in model.outputs]
        raise StageError(f"expected a model with one input and one output (n, classes), received outputs {shapes}")
    last = model.layers[-1]
    activation = _activation(last)
    if activation == "linear":
        _refuse_hidden_softmax(model)
        return model
    if activation != "softmax":
        raise StageError(
            f"layer '{last.name}' ends the model in {activation}; expected logits or softmax: a classifier of "
            "single-label images has no other output, so train it with one of these"
        )
    if hasattr(last, "kernel"):
        return _with_linear(model, last)
    return backend.keras().Model(model.inputs[0], last.input)


def _activation(layer: Any) -> str:
    """Return the name of the activation a layer ends in; ``linear`` where it has none."""
    layers = backend.keras().layers
    if isinstance(layer, layers.Softmax):
        if layer.axis not in (-1, 1):
            raise StageError(f"layer '{layer.name}': expected softmax over the classes, received axis {layer.axis}")
        return "softmax"
    if isinstance(layer, backend.keras().Model) and (inner := _activation(layer.layers[-1])) != "linear":
        raise StageError(
            f"layer '{layer.name}' is a model that ends in {inner}; expected logits: save it without the model around it"
        )
    if isinstance(layer, layers.ReLU | layers.LeakyReLU | layers.ELU | layers.PReLU):
        return str(type(layer).__name__)
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else str(getattr(activation, "__name__", activation))


def _with_linear(model: Any, last: Any) -> Any:
    linear = like(last, activation="linear")
    logits = linear(last.input)
    inherit(linear, last)
    return backend.keras().Model(model.inputs[0], logits)


def _refuse_hidden_softmax(model: Any) -> None:
    """Refuse a softmax that only layers without arithmetic separate from the output."""
    for layer in reversed(model.layers):
        if type(layer).__name__ in _SHAPE_ONLY:
            continue
        if (activation := _activation(layer)) in ("softmax", "sigmoid") and layer is not model.layers[-1]:
            raise StageError(
                f"layer '{layer.name}' ({activation}) is followed by a reshaping layer; end the model in logits"
            )
        return
