"""TensorFlow functions in the graphs of Keras 2 (``x + y``, ``tf.nn.relu(x)``, ``x[:, 1:]``), as operations of Keras 3."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from temper.core.errors import StageError, did_you_mean
from temper.system import backend

_NAMESPACES = ("", "__operators__", "math", "nn", "image", "linalg", "compat.v1", "compat.v1.nn", "compat.v1.math")
_RESIZING = ("bilinear", "nearest", "bicubic")


def function(name: Any) -> Callable[..., Any]:
    """Return what computes a TensorFlow function from tensors and options of the same names.

    Raises:
        StageError: the function is outside the closed list.
    """
    space, _, short = str(name).rpartition(".")
    if space not in _NAMESPACES or short not in FUNCTIONS:
        raise StageError(
            f"calls the function tf.{name}{did_you_mean(short, FUNCTIONS)}; known are {', '.join(FUNCTIONS)}"
        )
    return FUNCTIONS[short]


def check_call(name: Any, values: int, options: Mapping[str, Any]) -> None:
    """Check that a function can be called with a number of values and with options.

    Raises:
        StageError: it cannot.
    """
    try:
        inspect.signature(function(name)).bind(*[None] * values, **options)
    except TypeError as error:
        raise StageError(f"calls tf.{name} in a way that is not supported: {error}") from None


def _ops() -> Any:
    return backend.keras().ops


def _named(operation: str) -> Callable[[Any], Any]:
    def one(x: Any) -> Any:
        return getattr(_ops(), operation)(x)

    return one


def _binary(operation: str) -> Callable[[Any, Any], Any]:
    def two(x: Any, y: Any) -> Any:
        return getattr(_ops(), operation)(_constant(x), _constant(y))

    return two


def _constant(value: Any) -> Any:
    return np.asarray(value, np.float32) if isinstance(value, list) else value


def _reduction(operation: str) -> Callable[..., Any]:
    def reduced(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
        axes = tuple(axis) if isinstance(axis, list) else axis
        return getattr(_ops(), operation)(input_tensor, axis=axes, keepdims=keepdims)

    return reduced


def _same(input: Any) -> Any:
    return input


def _squared_difference(x: Any, y: Any) -> Any:
    return _ops().square(_ops().subtract(x, y))


def _add_n(inputs: Any) -> Any:
    return reduce(_ops().add, inputs)


def _leaky_relu(features: Any, alpha: float = 0.2) -> Any:
    return _ops().leaky_relu(features, negative_slope=alpha)


def _gelu(features: Any, approximate: bool = False) -> Any:
    return _ops().gelu(features, approximate=approximate)


def _silu(features: Any, beta: float = 1.0) -> Any:
    return _ops().silu(features) if beta == 1.0 else features * _ops().sigmoid(beta * features)


def _softmax(logits: Any, axis: int = -1) -> Any:
    return _ops().softmax(logits, axis=axis)


def _log_softmax(logits: Any, axis: int = -1) -> Any:
    return _ops().log_softmax(logits, axis=axis)


def _cast(x: Any, dtype: Any) -> Any:
    return _ops().cast(x, _floating(dtype))


def _convert(value: Any, dtype: Any = None) -> Any:
    return value if dtype is None else _cast(value, dtype)


def _floating(dtype: Any) -> str:
    name = dtype if isinstance(dtype, str) else str(dtype.get("config", dtype) if isinstance(dtype, Mapping) else dtype)
    if name not in ("float16", "bfloat16", "float32", "float64", "int32", "int64", "bool"):
        raise StageError(f"expected a number's type, received {name[:40]!r}")
    return name


def _reshape(tensor: Any, shape: Any) -> Any:
    # Keras infers the batch only from an explicit -1; a 1 for it would hold for one image at a time.
    return _ops().reshape(tensor, tuple(shape))


def _transpose(a: Any, perm: Any = None, conjugate: bool = False) -> Any:
    return _ops().transpose(a, axes=perm)


def _squeeze(input: Any, axis: Any = None) -> Any:
    return _ops().squeeze(input, axis=tuple(axis) if isinstance(axis, list) else axis)


def _expand_dims(input: Any, axis: int) -> Any:
    return _ops().expand_dims(input, axis=axis)


def _concat(values: Any, axis: int) -> Any:
    return _ops().concatenate(values, axis=axis)


def _stack(values: Any, axis: int = 0) -> Any:
    return _ops().stack(values, axis=axis)


def _split(value: Any, num_or_size_splits: Any, axis: int = 0) -> Any:
    sizes = num_or_size_splits
    if isinstance(sizes, list):
        sizes = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    return _ops().split(value, sizes, axis=axis)


def _tile(input: Any, multiples: Any) -> Any:
    return _ops().tile(input, multiples)


def _pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: float = 0) -> Any:
    kind = mode.lower()
    return _ops().pad(
        tensor, paddings, mode=kind, **({"constant_values": constant_values} if kind == "constant" else {})
    )


def _matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    ops = _ops()
    return ops.matmul(ops.swapaxes(a, -1, -2) if transpose_a else a, ops.swapaxes(b, -1, -2) if transpose_b else b)


def _clip(t: Any, clip_value_min: float, clip_value_max: float) -> Any:
    return _ops().clip(t, clip_value_min, clip_value_max)


def _l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    ops = _ops()
    axes = tuple(axis) if isinstance(axis, list) else axis
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=axes, keepdims=True), epsilon))


def _bias_add(value: Any, bias: Any, data_format: str | None = "NHWC") -> Any:
    if data_format not in (None, "NHWC", "N...C"):
        raise StageError(f"expected bias_add for channels last, received {data_format}")
    return _ops().add(value, _constant(bias))


def _resize(
    images: Any, size: Any, method: str = "bilinear", preserve_aspect_ratio: bool = False, antialias: bool = False
) -> Any:
    if method not in _RESIZING or preserve_aspect_ratio:
        raise StageError(f"expected tf.image.resize by {', '.join(_RESIZING)}, without preserve_aspect_ratio")
    # By name, as jax and torch handle their defaults differently.
    return _ops().image.resize(
        images, tuple(size), interpolation=method, antialias=antialias, data_format="channels_last"
    )


def _pooled(kind: str) -> Callable[..., Any]:
    def pool(input: Any, ksize: Any, strides: Any, padding: str, data_format: str | None = "NHWC") -> Any:
        if data_format not in (None, "NHWC"):
            raise StageError(f"expected pooling of channels last, received {data_format}")
        return getattr(_ops(), kind)(input, _window(ksize), _window(strides), padding.lower(), "channels_last")

    return pool


def _window(sides: Any) -> tuple[int, ...]:
    if not isinstance(sides, list):
        return (sides, sides)
    return tuple(sides[1:3] if len(sides) == 4 else sides)


def _local_response_normalization(
    input: Any, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> Any:
    ops, channels = _ops(), input.shape[-1]
    padded = ops.pad(ops.square(input), [[0, 0]] * 3 + [[depth_radius, depth_radius]])
    total = reduce(ops.add, [padded[..., k : k + channels] for k in range(2 * depth_radius + 1)])
    return input / (bias + alpha * total) ** beta


def _getitem(tensor: Any, slice_spec: Any) -> Any:
    items = [_index(item) for item in (slice_spec if isinstance(slice_spec, list) else [slice_spec])]
    if None in items:  # a new axis, which the positions below do not count
        return tensor[tuple(items)]
    if ... in items and len(tensor.shape) >= len(items) - 1:
        at = items.index(...)
        items[at : at + 1] = [slice(None)] * (len(tensor.shape) - len(items) + 1)
    for axis, item in enumerate(items):
        if item == slice(None, None, -1):  # torch has no negative steps
            tensor, items[axis] = _ops().flip(tensor, axis=axis), slice(None)
    return tensor[tuple(items)]


def _index(item: Any) -> Any:
    if isinstance(item, Mapping):
        return (
            ...
            if item.get("class_name") == "__ellipsis__"
            else slice(*(item.get(key) for key in ("start", "stop", "step")))
        )
    if item is not None and type(item) is not int:
        raise StageError(f"expected a slice of whole numbers, received {str(item)[:40]}")
    return item


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{name: _named(name) for name in ("abs", "elu", "exp", "log", "log1p", "negative", "relu", "relu6", "rsqrt", "selu", "sigmoid",
                                       "softplus", "softsign", "sqrt", "square", "tanh")},
    **{name: _binary(name) for name in ("add", "divide", "maximum", "minimum", "multiply", "subtract")},
    "pow": _binary("power"),
    "truediv": _binary("true_divide"),
    **{f"reduce_{name}": _reduction(name) for name in ("max", "mean", "min", "prod", "sum")},
    "add_n": _add_n,
    "avg_pool": _pooled("average_pool"),
    "avg_pool2d": _pooled("average_pool"),
    "bias_add": _bias_add,
    "cast": _cast,
    "clip_by_value": _clip,
    "concat": _concat,
    "convert_to_tensor": _convert,
    "expand_dims": _expand_dims,
    "gelu": _gelu,
    "getitem": _getitem,
    "identity": _same,
    "l2_normalize": _l2_normalize,
    "leaky_relu": _leaky_relu,
    "local_response_normalization": _local_response_normalization,
    "log_softmax": _log_softmax,
    "lrn": _local_response_normalization,
    "matmul": _matmul,
    "max_pool": _pooled("max_pool"),
    "max_pool2d": _pooled("max_pool"),
    "pad": _pad,
    "reshape": _reshape,
    "resize": _resize,
    "silu": _silu,
    "softmax": _softmax,
    "split": _split,
    "squared_difference": _squared_difference,
    "squeeze": _squeeze,
    "stack": _stack,
    "stop_gradient": _named("stop_gradient"),
    "swish": _silu,
    "tile": _tile,
    "transpose": _transpose,
}  # fmt: skip
"""The closed list; all are called with TensorFlow's names of arguments."""
