"""Models with one output for two classes, as models of two logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from temper.core.errors import StageError
from temper.nn.editing.log_probabilities import Logarithm
from temper.nn.editing.logits import free_name
from temper.nn.editing.operation_kinds import activation, is_identity, producer
from temper.nn.inspection.compiled_programs import Tensor
from temper.system import backend


def has_one_output(model: Any) -> bool:
    """Return whether a model gives one number for each image."""
    return len(model.inputs) == 1 and len(model.outputs) == 1 and tuple(model.outputs[0].shape[1:]) == (1,)


def ends_in_sigmoid(model: Any) -> bool:
    """Return whether the output of a model is a probability: that of its second class."""
    return activation(_last(model.outputs[0])[0]) == "sigmoid"


def with_two_logits(model: Any) -> Any:
    """Return a model of the logits (0, z), where z is the one output of a model, or its log-odds if that is a sigmoid.

    The softmax of (0, z) is (1 - sigmoid(z), sigmoid(z)), so the probabilities and the threshold of 1/2 stay.

    Raises:
        StageError: the output is bounded by another function.
    """
    operation, operands = _last(model.outputs[0])
    name = activation(operation)
    if isinstance(operation, backend.keras().Model):
        raise StageError(
            f"expected one logit or one sigmoid unit, received the nested model '{operation.name}'; unnest it"
        )
    if name not in ("linear", "sigmoid"):
        raise StageError(
            f"layer '{operation.name}' ends the model of one output in {name}; expected one logit or one sigmoid unit"
        )
    z = model.outputs[0] if name == "linear" else Logarithm().before_activation(operation, operands)
    return backend.keras().Model(model.inputs[0], _beside_zero(z, {layer.name for layer in model.layers}))


def _last(tensor: Tensor) -> tuple[Any, list[Any]]:
    """Return the last operation that changes something, and its operands."""
    operation, operands = producer(tensor)
    return _last(operands[0]) if is_identity(operation) else (operation, operands)


def _beside_zero(z: Tensor, taken: set[str]) -> Tensor:
    """Return (0, z), from one dense layer with the unit that computes z if there is one: so z is no hidden unit."""
    keras = backend.keras()
    operation, operands = _last(z)
    name = free_name("two_classes", taken)
    if isinstance(operation, keras.layers.Dense) and activation(operation) == "linear":
        both = keras.layers.Dense(2, use_bias=operation.use_bias, name=name)
        logits = both(operands[0])
        both.set_weights([np.concatenate([np.zeros_like(w), w], axis=-1) for w in operation.get_weights()])
    else:
        both = keras.layers.Dense(2, use_bias=False, trainable=False, name=name)
        logits = both(z)
        both.set_weights([np.array([[0.0, 1.0]], np.float32)])
    return logits
