"""Logarithms of combinations of softmaxes: of averages, sums, products, reshaped and rescaled probabilities.

The logarithm is pushed inside: a softmax becomes a log-softmax, a sum a log-sum-exp, a product a sum. So a probability
that float32 rounds to 0 or 1 keeps a finite logarithm with a gradient, and the largest stays the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log
from typing import Any

import numpy as np

from temper.nn.editing.copies import clone_layer, copy_state
from temper.nn.editing.operation_kinds import activation, has_fused_activation, is_identity, preserves_argmax, producer
from temper.nn.inspection.compiled_programs import Tensor
from temper.system import backend

_SELECTING = (
    "Concatenate",
    "Cropping2D",
    "ExpandDims",
    "Flatten",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "Max",
    "MaxPooling2D",
    "Min",
    "Permute",
    "RepeatVector",
    "Reshape",
    "Squeeze",
    "Stack",
    "Transpose",
)
"""Operations that select inputs by position or rank, and so commute with the logarithm."""


# exp(-15) is 3e-7: softplus and exp agree there to float32 precision.
_LOW = -15.0


class Logarithm:
    """Takes logarithms of symbolic tensors of one model.

    Attributes:
        sigmoids: names of the sigmoid layers whose logarithm was taken.
    """

    def __init__(self) -> None:
        self.sigmoids: list[str] = []
        self._known: dict[int, Tensor | None] = {}
        self._inner: dict[int, Any] = {}
        self._twins: dict[int, Any] = {}

    def of(self, tensor: Tensor) -> Tensor | None:
        """Return the logarithm of a tensor, of the same shape; ``None`` where it is not a combination of softmaxes alone."""
        # Each tensor once: a graph of shared branches would otherwise be walked many times.
        if id(tensor) not in self._known:
            self._known[id(tensor)] = self._taken(tensor)
        return self._known[id(tensor)]

    def before_activation(self, operation: Any, operands: list[Any]) -> Tensor:
        """Return the tensor that an operation's activation is applied to."""
        if not has_fused_activation(operation):
            return operands[0]
        if (linear := self._twins.get(id(operation))) is not None:
            return linear(operands[0])
        linear = self._twins[id(operation)] = clone_layer(operation, activation="linear")
        tensor = linear(operands[0])
        copy_state(linear, operation)
        return tensor

    def _taken(self, tensor: Tensor) -> Tensor | None:
        keras = backend.keras()
        operation, operands = producer(tensor)
        kind = type(operation).__name__
        if isinstance(operation, keras.Model):
            return self._of_model(operation, operands)
        match activation(operation):
            case "softmax":
                z = self.before_activation(operation, operands)
                return keras.ops.log_softmax(z, axis=getattr(operation, "axis", -1))
            case "sigmoid":
                self.sigmoids.append(operation.name)
                return keras.ops.log_sigmoid(self.before_activation(operation, operands))
            case "softplus":
                z = self.before_activation(operation, operands)
                # Far below 0 the softplus equals the exponential, which float32 rounds to 0; so its logarithm is the
                # operand.
                return keras.ops.where(z < _LOW, z, keras.ops.log(keras.ops.softplus(keras.ops.maximum(z, _LOW))))
            case "exponential":
                return self.before_activation(operation, operands)
        if is_identity(operation):
            return self.of(operands[0])
        if kind == "Clip":
            return self.of(operands[0]) if preserves_argmax(operation, tensor.shape[-1]) else None
        if kind in ("GetItem", "Take"):
            return self._chosen(tensor)
        if kind in ("Rescaling", "Subtract") and (argument := _taken_from_1(operation, operands)) is not None:
            return self._complement(argument)
        if kind not in (*_SELECTING, *_RULES):
            return None
        logs = [self._operand(operand) for operand in operands]
        if any(value is None for value in logs):
            return None
        if kind in _SELECTING:
            if id(operation) not in self._twins:
                self._twins[id(operation)] = clone_layer(operation, name=f"{operation.name}_of_logs")
            return self._twins[id(operation)](logs if len(logs) > 1 else logs[0])
        return _RULES[kind](operation, logs)

    def _operand(self, operand: Any) -> Any:
        """Return the logarithm of a tensor or of a positive constant."""
        if backend.keras().utils.is_keras_tensor(operand):
            return self.of(operand)
        value = np.asarray(operand, np.float32) if np.ndim(operand) == 0 or hasattr(operand, "dtype") else None
        return np.log(value) if value is not None and (value > 0).all() else None

    def _chosen(self, tensor: Tensor) -> Tensor | None:
        """Return the logarithm of the elements that an index selects from a tensor."""
        operation = tensor._keras_history.operation
        argument, index = operation._inbound_nodes[tensor._keras_history.node_index].arguments.args
        logs = self.of(argument)
        if logs is None or type(operation).__name__ == "GetItem":
            return None if logs is None else logs[index]
        return backend.keras().ops.take(logs, index, axis=operation.axis)

    def _complement(self, tensor: Tensor) -> Tensor | None:
        """Return the logarithm of 1 - p, for a sigmoid p."""
        operation, operands = producer(tensor)
        if is_identity(operation):
            return self._complement(operands[0])
        if activation(operation) != "sigmoid":
            return None
        self.sigmoids.append(operation.name)
        return backend.keras().ops.log_sigmoid(-self.before_activation(operation, operands))

    def _of_model(self, model: Any, operands: list[Any]) -> Tensor | None:
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            return None
        if id(model) not in self._inner:
            logs = self.of(model.outputs[0])
            self._inner[id(model)] = None if logs is None else backend.keras().Model(model.inputs[0], logs)
        inner = self._inner[id(model)]
        return None if inner is None else inner(operands[0])


def _taken_from_1(operation: Any, operands: list[Any]) -> Tensor | None:
    """Return p of an operation that computes 1 - p; ``None`` for any other operation."""
    if type(operation).__name__ == "Rescaling":
        return operands[0] if np.all(np.equal(operation.scale, -1)) and np.all(np.equal(operation.offset, 1)) else None
    is_tensor = backend.keras().utils.is_keras_tensor
    return operands[1] if not is_tensor(operands[0]) and np.all(np.equal(operands[0], 1)) else None


def _sum(operation: Any, logs: list[Any]) -> Tensor | None:
    return _reduced(logs, backend.keras().ops.logaddexp)


def _average(operation: Any, logs: list[Any]) -> Tensor | None:
    if not isinstance(operation, backend.keras().layers.Layer):
        return None  # numpy.average may weight its operands
    total = _sum(operation, logs)
    return None if total is None else total - log(len(logs))


def _product(operation: Any, logs: list[Any]) -> Tensor | None:
    return _reduced(logs, backend.keras().ops.add)


def _largest(operation: Any, logs: list[Any]) -> Tensor | None:
    return _reduced(logs, backend.keras().ops.maximum)


def _reduced(logs: list[Any], function: Callable[[Any, Any], Tensor]) -> Tensor:
    result = logs[0]
    for value in logs[1:]:
        result = function(result, value)
    return result


def _smallest(operation: Any, logs: list[Any]) -> Tensor | None:
    # An upper bound that only keeps probabilities away from 1 would zero the gradient there, so it is dropped.
    hiding = [
        isinstance(value, np.ndarray | np.generic) and bool((np.asarray(value) >= log(0.5)).all()) for value in logs
    ]
    return _reduced(
        [value for value, hides in zip(logs, hiding, strict=True) if not hides], backend.keras().ops.minimum
    )


def _power(operation: Any, logs: list[Any]) -> Tensor | None:
    # The rules see logarithms of constants, so the exponent is recovered first.
    return logs[0] * np.exp(logs[1]) if isinstance(logs[1], np.ndarray | np.generic) else None


def _square(operation: Any, logs: list[Any]) -> Tensor | None:
    return 2.0 * logs[0]


def _quotient(operation: Any, logs: list[Any]) -> Tensor | None:
    return logs[0] - logs[1]


def _total(operation: Any, logs: list[Any]) -> Tensor | None:
    return None if operation.axis is None else _over(logs[0], operation.axis, operation.keepdims)


def _mean(operation: Any, logs: list[Any]) -> Tensor | None:
    if operation.axis is None:
        return None
    return _over(logs[0], operation.axis, operation.keepdims, mean=True)


def _pooled(operation: Any, logs: list[Any]) -> Tensor | None:
    rank = len(logs[0].shape)
    axes = range(1, rank - 1) if operation.data_format == "channels_last" else range(2, rank)
    return _over(logs[0], tuple(axes), operation.keepdims, mean=True)


def _over(logs: Tensor, axis: Any, keepdims: bool, mean: bool = False) -> Tensor | None:
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    count = float(np.prod([logs.shape[a] or np.nan for a in axes]))
    if mean and not np.isfinite(count):
        return None
    total = backend.keras().ops.logsumexp(logs, axis=axes, keepdims=keepdims)
    return total - log(count) if mean else total


def _rescaled(operation: Any, logs: list[Any]) -> Tensor | None:
    scale, offset = np.asarray(operation.scale, np.float32), np.asarray(operation.offset, np.float32)
    return logs[0] + np.log(scale) if (scale > 0).all() and not offset.any() else None


_RULES: Mapping[str, Callable[[Any, list[Any]], Tensor | None]] = {
    "Add": _sum,
    "Average": _average,
    "Divide": _quotient,
    "GlobalAveragePooling1D": _pooled,
    "GlobalAveragePooling2D": _pooled,
    "Maximum": _largest,
    "Mean": _mean,
    "Minimum": _smallest,
    "Multiply": _product,
    "Power": _power,
    "Rescaling": _rescaled,
    "Square": _square,
    "Sum": _total,
    "TrueDivide": _quotient,
}
