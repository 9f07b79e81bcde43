"""The one door to the frameworks: which backend, its seed, and programs compiled for a model by that backend."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Tensor = Any
Call = Callable[[Tensor], Tensor]
Body = Callable[..., tuple[Tensor, ...]]

BACKENDS = ("tensorflow", "jax", "torch")
BATCH = 500
"""Images that ``forward`` and ``loss_gradient`` give the model at once."""
_SMALLEST_BATCH = 16


def name() -> str:
    """Return the Keras backend in use (``KERAS_BACKEND``, by default tensorflow) without importing it.

    Raises:
        ValueError: the environment names a backend that cannot take gradients of a Keras model.
    """
    chosen = os.environ.get("KERAS_BACKEND", "tensorflow")
    if chosen not in BACKENDS:
        raise ValueError(f"KERAS_BACKEND: expected {', '.join(BACKENDS)}, received {chosen!r}")
    return chosen


@cache
def keras() -> Any:
    """Return the keras module on the chosen backend, imported on the first call."""
    os.environ["KERAS_BACKEND"] = name()
    # A framework that reserves the whole GPU at import leaves nothing to a second worker, or to torch beside it.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with _muted():
        import keras as module

        if name() == "tensorflow":
            _on_gpu()
            # A program for each model and batch shape is meant; TensorFlow takes it for retracing by mistake.
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return module


@cache
def _on_gpu() -> bool:
    """Return whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


@contextmanager
def _muted() -> Iterator[None]:
    """Send file descriptor 2 nowhere: TensorFlow's start-up notes obey no setting (2.21 ignores TF_CPP_MIN_LOG_LEVEL).

    Python's exceptions, failed imports among them, are raised past this and so are not lost.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def seed(value: int) -> None:
    """Seed Python, NumPy and the backend, for library code that draws from their global streams."""
    keras().utils.set_random_seed(value)


def forward(model: Any, x: Float32) -> Float32:
    """Return the logits of images (n, h, w, c), float32 (n, classes)."""
    return _in_batches(model, _logits, x)


def loss_gradient(model: Any, x: Float32, y: NDArray[np.int64]) -> Float32:
    """Return the gradient of each image's cross-entropy with respect to its pixels, float32 like ``x``."""
    return _in_batches(model, _loss_gradient, x, y)


def value_and_gradient(function: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``function(x)`` (n,) and the gradient of its sum with respect to ``x`` (n, ...), inside a program.

    Nothing but ``x`` is differentiated, so the weights' gradients, a third of a training step, are never computed.
    """
    match name():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                values = function(x)
            return values, tape.gradient(values, x)
        case "jax":
            import jax

            def total(images: Tensor) -> tuple[Tensor, Tensor]:
                values = function(images)
                return values.sum(), values

            (_, values), gradient = jax.value_and_grad(total, has_aux=True)(x)
            return values, gradient
        case _:
            import torch

            with torch.enable_grad():
                leaf = x.detach().requires_grad_(True)
                values = function(leaf)
                (gradient,) = torch.autograd.grad(values.sum(), leaf)
            return values.detach(), gradient


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return log sum_{j != y} exp(z_j) - z_y of each image, (n,): positive means that ``y`` is not likely.

    The cross-entropy is softplus(margin), so both rank images alike and their gradients point the same way, but
    this one does not vanish when a confident model's softmax saturates.
    """
    ops = keras().ops
    chosen = ops.one_hot(y, logits.shape[-1], dtype=logits.dtype)
    return ops.logsumexp(logits - 1e9 * chosen, axis=-1) - ops.sum(logits * chosen, axis=-1)


def run(
    model: Any,
    body: Body,
    images: Sequence[NDArray[Any]],
    shared: Sequence[Any] = (),
    static: tuple[Hashable, ...] = (),
    batch_size: int = BATCH,
    passes: int = 1,
) -> tuple[NDArray[Any], ...]:
    """Run ``body(call, *images, *shared, *static)`` on one batch as one program compiled for the model.

    ``body`` is a module-level function written in ``keras.ops``; ``call`` maps image tensors to float32 logits.
    ``images`` are arrays (n, ...) with n <= ``batch_size``, which every returned tensor must have as its first
    axis too; ``shared`` are numbers that may change without a new compilation; ``static`` are part of the program.
    The weights are read at each call, so a model in training is attacked as it stands. ``passes`` is how often the
    program sends an image through the model, which decides how much compiling pays.

    Fewer images than ``batch_size`` are padded to one of a few shapes.

    Raises:
        ValueError: there are more images than ``batch_size``.
    """
    n = len(images[0])
    if n > batch_size:
        raise ValueError(f"backend.run: expected at most {batch_size} images, received {n}")
    size = _padded_size(n, batch_size)
    convert = keras().ops.convert_to_tensor
    tensors = [convert(_padded(array, size)) for array in images]
    numbers = [convert(np.asarray(v, np.int32 if isinstance(v, int) else np.float32)) for v in shared]
    outputs = _program(model, body, static, passes)(*tensors, *numbers)
    return tuple(keras().ops.convert_to_numpy(output)[:n] for output in outputs)


def _in_batches(model: Any, body: Body, x: Float32, *labels: NDArray[np.int64]) -> Float32:
    arrays: tuple[NDArray[Any], ...] = (x, *labels)
    starts = range(0, max(len(x), 1), BATCH)
    return np.concatenate([run(model, body, [array[s : s + BATCH] for array in arrays])[0] for s in starts])


def _padded_size(n: int, batch_size: int) -> int:
    """Return the batch size, or a half, a quarter, ... of it: few shapes to compile, little padding."""
    while (half := -(-batch_size // 2)) >= max(n, _SMALLEST_BATCH):
        batch_size = half
    return batch_size


def _padded(array: NDArray[Any], size: int) -> NDArray[Any]:
    array = np.ascontiguousarray(array, np.float32 if np.issubdtype(array.dtype, np.floating) else np.int32)
    return np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1)) if len(array) < size else array


def _logits(call: Call, x: Tensor) -> tuple[Tensor]:
    return (call(x),)


def _loss_gradient(call: Call, x: Tensor, y: Tensor) -> tuple[Tensor]:
    softplus = keras().ops.softplus
    return (value_and_gradient(lambda images: softplus(margin(call(images), y)), x)[1],)


_programs: WeakKeyDictionary[Any, dict[Hashable, Callable[..., tuple[Tensor, ...]]]] = WeakKeyDictionary()


def _program(model: Any, body: Body, static: tuple[Hashable, ...], passes: int) -> Callable[..., tuple[Tensor, ...]]:
    programs = _programs.setdefault(model, {})
    xla = name() == "tensorflow" and _xla_pays(model, passes)
    key = (body, static, xla)
    if key not in programs:
        programs[key] = _compile(model, body, static, xla)
    return programs[key]


def _compile(model: Any, body: Body, static: tuple[Hashable, ...], xla: bool) -> Callable[..., tuple[Tensor, ...]]:
    # A strong reference to the model here would keep its own cache entry alive for ever.
    owner: Callable[[], Any] = ref(model)

    def call(x: Tensor) -> Tensor:
        return keras().ops.cast(owner()(x, training=False), "float32")

    match name():
        case "tensorflow":
            import tensorflow as tf

            def graph(*arguments: Tensor) -> tuple[Tensor, ...]:
                return body(call, *arguments, *static)

            return tf.function(graph, autograph=False, jit_compile=xla)  # type: ignore[no-any-return]
        case "jax":
            import jax

            def pure(weights: list[Tensor], *arguments: Tensor) -> tuple[Tensor, ...]:
                # Weights are arguments: closed over, they would become constants of the compiled program.
                live = owner()
                with keras().StatelessScope(state_mapping=list(zip(live.variables, weights, strict=True))):
                    return body(call, *arguments, *static)

            compiled = jax.jit(pure)
            return lambda *arguments: compiled([v.value for v in owner().variables], *arguments)
        case _:
            import torch

            def eager(*arguments: Tensor) -> tuple[Tensor, ...]:
                with torch.no_grad():
                    return body(call, *arguments, *static)

            return eager


def _xla_pays(model: Any, passes: int) -> bool:
    """Return whether TensorFlow should compile a program of this model with XLA.

    On CPU XLA fuses the small operations of dense layers, which gives three times as many gradients per second, but
    replaces oneDNN's convolutions, which gives a third (measured: benchmarks/README.md). A kernel of rank 3 or more
    tells a convolution. Compiling takes about a second, which a program of few passes does not win back.
    """
    if _on_gpu() or passes < 10 or any(len(v.shape) > 2 for v in model.variables):
        return False
    _start_xla()
    return True


@cache
def _start_xla() -> None:
    """Start XLA, whose first use writes notes that obey no setting."""
    import tensorflow as tf

    with _muted():
        tf.function(lambda x: tf.nn.relu(x @ x), jit_compile=True)(tf.ones((4, 4)))
