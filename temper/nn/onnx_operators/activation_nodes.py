"""Converts the activations of ONNX and other functions of one tensor, element by element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from temper.nn.onnx.arrangement import merged_axis, single, spread
from temper.nn.onnx.constant_folding import Constant, constant_of, numpy_dtype
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.tensor_layout import Value, place
from temper.nn.onnx_operators.affine import affine

_SELU = (1.6732632423543772, 1.0507009873554805)


def _layer(kind: str, **options: Any) -> Callable[[NodeScope], Value]:
    def convert(at: NodeScope) -> Value:
        value = at.value()
        return value.with_tensor(at.layer(kind, value.tensor, **options))

    return convert


def _operation(name: str) -> Callable[[NodeScope], Value]:
    def convert(at: NodeScope) -> Value:
        value = at.value()
        return value.with_tensor(getattr(at.ops, name)(value.tensor))

    return convert


def identity(at: NodeScope) -> Value | Constant:
    """Convert an operator that changes nothing."""
    return at.given(0)


def cast(at: NodeScope) -> Value:
    """Convert a change of type: all floating-point values are float32 here."""
    if numpy_dtype(at.node, at.node.integer("to", 1)).kind != "f":
        raise at.node.refused("rounds values that depend on the images to another type than floating point")
    return at.value()


def cast_like(at: NodeScope) -> Value | Constant:
    """Convert a change to the type of another tensor that depends on the images, and so is floating point."""
    found = at.given(0)
    if isinstance(found, Constant):
        return constant_of([array.astype(np.float32) for array in found.both])
    if isinstance(other := at.given(1), Constant) and other.array.dtype.kind != "f":
        raise at.node.refused("rounds values that depend on the images to another type than floating point")
    return found


def dropout(at: NodeScope) -> Value:
    """Convert dropout, which does nothing in inference."""
    value = at.value()
    ratio = at.optional(1)
    rate = at.node.number("ratio", 0.5) if ratio is None else float(ratio.reshape(-1)[0])
    if not 0 <= rate < 1:
        raise at.node.refused(f"ratio: expected at least 0 and less than 1, received {rate}")
    return value.with_tensor(at.layer("Dropout", value.tensor, rate=rate))


def leaky_relu(at: NodeScope) -> Value:
    """Convert a ReLU with a slope below 0."""
    value = at.value()
    return value.with_tensor(at.layer("LeakyReLU", value.tensor, negative_slope=at.node.number("alpha", 0.01)))


def elu(at: NodeScope) -> Value:
    """Convert an exponential linear unit."""
    value = at.value()
    return value.with_tensor(at.layer("ELU", value.tensor, alpha=at.node.number("alpha", 1.0)))


def selu(at: NodeScope) -> Value:
    """Convert a scaled exponential linear unit, which has one scale and slope in Keras."""
    given = at.node.number("alpha", _SELU[0]), at.node.number("gamma", _SELU[1])
    if not np.allclose(given, _SELU, rtol=1e-5):
        raise at.node.refused(f"expected alpha and gamma {_SELU}, received {given}")
    return _layer("Activation", activation="selu")(at)


def celu(at: NodeScope) -> Value:
    """Convert a continuously differentiable exponential linear unit."""
    value, alpha = at.value(), at.node.number("alpha", 1.0)
    return value.with_tensor(at.ops.celu(value.tensor, alpha=alpha))


def prelu(at: NodeScope) -> Value:
    """Convert a ReLU with slopes that were trained."""
    value, slope = spread(at, at.value(), at.constant(1))
    shared = [axis for axis, side in enumerate(slope.shape) if side == 1 and axis]
    return value.with_tensor(at.layer("PReLU", value.tensor, weights=[slope[0]], shared_axes=shared))


def gelu(at: NodeScope) -> Value:
    """Convert a Gaussian error linear unit, exact or by its approximation."""
    match at.node.text("approximate", "none"):
        case "none":
            return _layer("Activation", activation="gelu")(at)
        case "tanh":
            value = at.value()
            return value.with_tensor(at.ops.gelu(value.tensor, approximate=True))
        case other:
            raise at.node.refused(f"approximate: expected none or tanh, received {other}")


def sigmoid(at: NodeScope) -> Value:
    """Convert a sigmoid, with the product with its own input behind it as SiLU."""
    value = at.value()
    following = at.next("Mul")
    if following is not None and at.node.inputs[0] in following.inputs:
        at.take(following)
        return value.with_tensor(at.layer("Activation", value.tensor, activation="silu"))
    return value.with_tensor(at.layer("Activation", value.tensor, activation="sigmoid"))


def swish(at: NodeScope) -> Value:
    """Convert a product of a value with its sigmoid."""
    if at.node.number("alpha", 1.0) != 1:
        raise at.node.refused(f"alpha: expected 1, received {at.node.number('alpha', 1.0)}")
    return _layer("Activation", activation="silu")(at)


def hard_sigmoid(at: NodeScope) -> Value:
    """Convert a sigmoid of three straight lines."""
    value, factors = at.value(), (np.float32(at.node.number("alpha", 0.2)), np.float32(at.node.number("beta", 0.5)))
    if np.allclose(factors, (1 / 6, 0.5), rtol=1e-5):
        return value.with_tensor(at.layer("Activation", value.tensor, activation="hard_sigmoid"))
    line = at.layer("Rescaling", value.tensor, "line", scale=float(factors[0]), offset=float(factors[1]))
    return value.with_tensor(at.layer("ReLU", line, max_value=1.0))


def clip(at: NodeScope) -> Value:
    """Convert a limitation to an interval: to a ReLU where it begins at 0."""
    value = at.value()
    low, high = at.optional(1), at.optional(2)
    smallest = at.node.number("min", -np.inf) if low is None else float(low.reshape(-1)[0])
    largest = at.node.number("max", np.inf) if high is None else float(high.reshape(-1)[0])
    limit = np.finfo(np.float32).max
    if smallest == 0:
        return value.with_tensor(at.layer("ReLU", value.tensor, max_value=largest if largest < limit else None))
    if smallest <= -limit and largest >= limit:
        return value
    return value.with_tensor(at.ops.clip(value.tensor, max(smallest, -limit), min(largest, limit)))


def softmax(at: NodeScope) -> Value:
    """Convert a softmax; before opset 13 it is taken over all axes from the given one."""
    node, value = at.node, at.value()
    old = node.version < 13
    first = place(node.integer("axis", 1 if old else -1), value.rank)
    axes = [axis for axis in range(first, value.rank) if value.side(axis) > 1 or axis == first] if old else [first]
    if len(axes) == 1:
        value, axis = merged_axis(at, value, axes[0])
        axis = axis if axis < len(value.sides) - 1 else -1
        if node.op == "LogSoftmax":
            return value.with_tensor(at.ops.log_softmax(value.tensor, axis=axis))
        return value.with_tensor(at.layer("Softmax", value.tensor, axis=axis))
    value = single(at, value)
    over = tuple(value.axes[axis][0] for axis in axes)
    if node.op == "LogSoftmax":
        return value.with_tensor(value.tensor - at.ops.logsumexp(value.tensor, axis=over, keepdims=True))
    return value.with_tensor(at.layer("Softmax", value.tensor, axis=over))


def reciprocal(at: NodeScope) -> Value:
    """Convert 1 / x."""
    value = at.value()
    return value.with_tensor(1.0 / value.tensor)


def negative(at: NodeScope) -> Value:
    """Convert -x."""
    return affine(at, at.value(), (-np.ones((), np.float32), np.zeros((), np.float32)))


CONVERTERS: Mapping[str, Callable[[NodeScope], Any]] = {
    "Abs": _operation("absolute"),
    "Cast": cast,
    "CastLike": cast_like,
    "Celu": celu,
    "Clip": clip,
    "Dropout": dropout,
    "Elu": elu,
    "Erf": _operation("erf"),
    "Exp": _operation("exp"),
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": _layer("Activation", activation="hard_silu"),
    "Identity": identity,
    "LeakyRelu": leaky_relu,
    "Log": _operation("log"),
    "LogSoftmax": softmax,
    "Mish": _layer("Activation", activation="mish"),
    "Neg": negative,
    "PRelu": prelu,
    "Reciprocal": reciprocal,
    "Relu": _layer("ReLU"),
    "Selu": selu,
    "Sigmoid": sigmoid,
    "Softmax": softmax,
    "Softplus": _layer("Activation", activation="softplus"),
    "Softsign": _layer("Activation", activation="softsign"),
    "Sqrt": _operation("sqrt"),
    "Swish": swish,
    "Tanh": _layer("Activation", activation="tanh"),
}
