"""Programs: functions of a model and its images, compiled once for all models of one architecture."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from temper.nn.editing.copies import constants_digest
from temper.system import backend, threads

Tensor = Any
Arrays = tuple[NDArray[Any], ...]
Call = Callable[[Tensor], Any]
Body = Callable[..., tuple[Tensor, ...]]

BATCH = 500
"""The default batch size."""
# Smaller batches are padded to this, so that few shapes are compiled.
_SMALLEST_BATCH = 16
_MIN_IMAGES_PER_THREAD = 125
# Compiling with XLA takes about a second, which shorter programs do not recover (benchmarks/README.md).
_MIN_XLA_PASSES = 10
_CACHE_SIZE = 64
_NAMES = ("name", "keras_history", "input_layers", "output_layers")
_UNNUMBERED = re.compile(r"_\d+$")
"""The suffix that Keras adds to default variable names."""


def run(
    model: Any,
    body: Body,
    images: Sequence[NDArray[Any]],
    shared: Sequence[Any] = (),
    static: tuple[Hashable, ...] = (),
    batch_size: int = BATCH,
    passes: int = 1,
) -> Arrays:
    """Run ``body(call, *images, *shared, *static)`` on one batch as one compiled program.

    ``body`` is a module-level function written in ``keras.ops``; ``call`` maps image tensors to the model's output in
    float32: logits, or the list of tensors of a model with several outputs (``temper.nn.inspection.units``). ``images``
    are arrays (n, ...) with n <= ``batch_size``; every returned tensor must have the same first axis, image by image,
    since a batch may be split. ``shared`` are numbers that may change without a new compilation; ``static`` are part of
    the program. The weights are read at each call, so a model in training is attacked in its current state. ``passes``
    is how often the program runs the model on an image, which decides whether compiling pays off.

    Fewer images than ``batch_size`` are padded to one of a few shapes.

    Raises:
        ValueError: there are more images than ``batch_size``.
    """
    n = len(images[0])
    if n > batch_size:
        raise ValueError(f"compiled_programs.run: expected at most {batch_size} images, received {n}")
    fused = _uses_xla(model, passes)
    program = _program(architecture(model), body, static, fused)
    numbers = [np.asarray(value, np.int32 if isinstance(value, int) else np.float32) for value in shared]
    shares = _shares(n) if fused else 1
    # Ceiling division: the last part may be smaller and is padded.
    size = _padded_size(-(-n // shares), -(-batch_size // shares))
    parts = [[_padded(array[s * size : (s + 1) * size], size) for array in images] for s in range(shares)]
    each = _pool().map if shares > 1 else map
    outputs = each(lambda part: program(model, [*part, *numbers]), parts)
    return tuple((np.concatenate(a) if shares > 1 else a[0])[:n] for a in zip(*outputs, strict=True))


def run_all(model: Any, body: Body, *images: NDArray[Any]) -> Arrays:
    """Run ``body(call, *images)`` on any number of images, batch by batch."""
    starts = range(0, max(len(images[0]), 1), BATCH)
    outputs = [run(model, body, [array[s : s + BATCH] for array in images]) for s in starts]
    return tuple(np.concatenate(arrays) for arrays in zip(*outputs, strict=True))


@dataclass(frozen=True)
class Architecture:
    """What a program depends on: a model without the values of its variables; ``model`` is an instance."""

    digest: str
    model: Any = field(compare=False)


_digests: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def architecture(model: Any) -> Architecture:
    """Return a Keras model's architecture, equal for models that differ in the values of their variables only.

    Constants that a layer holds besides its variables, such as those of an adapted normalisation, must not change
    later.
    """
    if model not in _digests:
        _digests[model] = _describe(model)
    return Architecture(_digests[model], model)


def _describe(model: Any) -> str:
    """Return a text that is equal for models of equal layers and constants, whatever the layers' names."""
    try:
        config = json.loads(model.to_json())
    except (NotImplementedError, TypeError, ValueError):
        return uuid4().hex  # a custom layer without a configuration never shares a program
    names: dict[str, int] = {}
    variables = [(_UNNUMBERED.sub("", v.name), tuple(v.shape), str(v.dtype)) for v in model.variables]
    return json.dumps([_unnamed(config, names), variables, constants_digest(model)])


def _unnamed(part: Any, names: dict[str, int], reference: bool = False) -> Any:
    """Return a part of a model's configuration with its layers' names replaced by the order of their appearance."""
    if isinstance(part, dict):
        # The name of a policy is its number format, not a layer's name.
        if part.get("class_name") == "DTypePolicy":
            return part
        return {key: _unnamed(value, names, key in _NAMES) for key, value in part.items()}
    if isinstance(part, list):
        return [_unnamed(value, names, reference) for value in part]
    # Only names that refer to layers; other texts, such as "relu", matter.
    return names.setdefault(part, len(names)) if reference and isinstance(part, str) else part


@lru_cache(maxsize=_CACHE_SIZE)
def _program(
    architecture: Architecture, body: Body, static: tuple[Hashable, ...], fused: bool
) -> Callable[[Any, list[NDArray[Any]]], Arrays]:
    """Return the function that runs ``body`` for any model of the architecture, on arrays."""
    compiled = _compile(architecture.model, body, static, fused)
    ops = backend.keras().ops

    def program(model: Any, arrays: list[NDArray[Any]]) -> Arrays:
        outputs = compiled(model, [ops.convert_to_tensor(array) for array in arrays])
        return tuple(ops.convert_to_numpy(output) for output in outputs)

    return program


def _compile(
    skeleton: Any, body: Body, static: tuple[Hashable, ...], fused: bool
) -> Callable[[Any, list[Tensor]], tuple[Tensor, ...]]:
    keras = backend.keras()

    def call_of(model: Any) -> Call:
        return lambda x: keras.tree.map_structure(
            lambda output: keras.ops.cast(output, "float32"), model(x, training=False)
        )

    if backend.name() == "torch":
        import torch

        def eager(model: Any, arguments: list[Tensor]) -> tuple[Tensor, ...]:
            # value_and_gradient switches gradients on where they are needed.
            with torch.no_grad():
                return body(call_of(model), *arguments, *static)

        return eager

    def pure(weights: list[Tensor], arguments: list[Tensor]) -> tuple[Tensor, ...]:
        # The weights are arguments: one program serves every model of the architecture, in every state.
        with keras.StatelessScope(state_mapping=list(zip(skeleton.variables, weights, strict=True))):
            return body(call_of(skeleton), *arguments, *static)

    if backend.name() == "jax":
        import jax

        compiled = jax.jit(pure)
        return lambda model, arguments: compiled([v.value for v in model.variables], arguments)

    import tensorflow as tf

    if fused:
        _start_xla()
    graph = tf.function(pure, autograph=False, jit_compile=fused)
    # Tensors, not variables: TensorFlow takes milliseconds to check whether a list of variables needs a new trace.
    return lambda model, arguments: graph([v.value.value() for v in model.variables], arguments)


def _uses_xla(model: Any, passes: int) -> bool:
    """Return whether a program of this model consists of small operations, to be fused by XLA and run once per thread.

    On a CPU, XLA fuses the small operations of dense layers, which gives three times as many gradients per second as
    TensorFlow's own kernels. They are too small to be split across threads, so each thread takes a part of the batch.
    For convolutions XLA replaces oneDNN, which gives a third as many, and parts have no effect (measured:
    benchmarks/README.md). A kernel of rank 3 or more identifies a convolution. Compiling takes TensorFlow about a
    second, which a program of few passes does not recover.
    """
    if backend.name() == "torch" or backend.on_gpu() or any(len(v.shape) > 2 for v in model.variables):
        return False
    return backend.name() == "jax" or passes >= _MIN_XLA_PASSES


def _shares(n: int) -> int:
    """Return the number of parts to split a batch of ``n`` images into, one per thread."""
    return max(1, min(threads.count(), n // _MIN_IMAGES_PER_THREAD))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads.count(), thread_name_prefix="program")


@cache
def _start_xla() -> None:
    """Start XLA, whose first use writes log lines that ignore every log setting."""
    import tensorflow as tf

    with backend.muted():
        tf.function(lambda x: tf.nn.relu(x @ x), jit_compile=True)(tf.ones((4, 4)))


def _padded_size(n: int, batch_size: int) -> int:
    """Return the batch size, or a half, a quarter, ... of it: few shapes to compile, little padding."""
    while (half := -(-batch_size // 2)) >= max(n, _SMALLEST_BATCH):
        batch_size = half
    return batch_size


def _padded(array: NDArray[Any], size: int) -> NDArray[Any]:
    # Two number formats only: others would compile programs of their own.
    array = np.ascontiguousarray(array, np.float32 if np.issubdtype(array.dtype, np.floating) else np.int32)
    return np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1)) if len(array) < size else array
