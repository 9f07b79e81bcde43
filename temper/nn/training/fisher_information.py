"""The Fisher information of weights: how much each affects a model's predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images
from temper.core.classifier import Classifier
from temper.nn.inspection.compiled_programs import Tensor
from temper.system import backend

Chunk = tuple[Tensor, Tensor, Tensor, Tensor]
"""Images (k, h, w, c), their rivals (k, classes), a label of each (k,) and the weight of its square (k,)."""
Add = Callable[[list[Tensor], Chunk], list[Tensor]]

_GRADIENTS_AT_ONCE = 2**24
"""Maximum size of the per-image gradients of a chunk, in numbers."""
_LARGEST_CHUNK = 64
_NO_RIVAL = -1e9
"""Replaces the logit of a class that does not compete."""


def diagonal_fisher(
    model: Any, x: Images, rivals: NDArray[np.bool_], rng: np.random.Generator | None = None
) -> list[NDArray[np.float32]]:
    """Return the diagonal of the Fisher information of every trainable weight, each float32 of its shape.

    F_i = mean_x sum_k p_k(x) (d ln p_k(x) / dw_i)^2, where p is the softmax of the logits over the ``rivals`` (n,
    classes) of each image. With ``rng`` the sum is over one k drawn from p: one gradient for each image instead of one
    for each class.

    Source: Kirkpatrick et al. (2017), Overcoming catastrophic forgetting in neural networks, section 2; van de Ven
    (2025), On the Computation of the Fisher Information in Continual Learning, where these are "exact" and "sample".
    """
    ops = backend.keras().ops
    shares = _shares(model, x, rivals)
    if rng is None:
        rows, labels = np.nonzero(rivals)
        weights = shares[rows, labels]
    else:
        rows, labels = np.arange(len(x)), np.array([rng.choice(len(share), p=share) for share in shares])
        weights = np.ones(len(x))
    # Bounded by memory: each image has a gradient as large as the model.
    size = min(_LARGEST_CHUNK, max(1, _GRADIENTS_AT_ONCE // model.count_params()))
    padding = -len(rows) % size  # of weight 0: chunks of one shape are compiled once
    rows, labels, weights = np.pad(rows, (0, padding)), np.pad(labels, (0, padding)), np.pad(weights, (0, padding))
    add = _add(model)
    totals = [ops.zeros(variable.shape, "float32") for variable in model.trainable_variables]
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        arrays = x[rows[part]], rivals[rows[part]], labels[part].astype(np.int32), weights[part].astype(np.float32)
        totals = add(totals, tuple(map(ops.convert_to_tensor, arrays)))
    return [np.asarray(ops.convert_to_numpy(total), np.float32) / np.float32(len(x)) for total in totals]


def _shares(model: Any, x: Images, rivals: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the probabilities of all classes for each image, float64 (n, classes), zero where they do not compete."""
    logits = np.where(rivals, Classifier(model).logits(x).astype(np.float64), -np.inf)
    # Shifted by the largest logit, so that exp cannot overflow.
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _log_probability(logits: Tensor, among: Tensor, label: Tensor) -> Tensor:
    """Return ln p of a label among the rivals of one image, whose logits are (1, classes)."""
    ops = backend.keras().ops
    competing = ops.where(among, ops.cast(logits[0], "float32"), _NO_RIVAL)
    return ops.take(competing, label) - ops.logsumexp(competing)


def _add(model: Any) -> Add:
    """Return a function that adds sum_j weight_j (d ln p_j / dw)^2 of a chunk to the totals of all weights."""
    match backend.name():
        case "tensorflow":
            return _add_in_tensorflow(model)
        case "jax":
            return _add_in_jax(model)
        case _:
            return _add_in_torch(model)


def _add_in_tensorflow(model: Any) -> Add:
    import tensorflow as tf

    moving = [variable.value for variable in model.trainable_variables]

    def squares(one: Chunk) -> list[Tensor]:
        image, among, label, weight = one
        with tf.GradientTape() as tape:
            value = _log_probability(model(image[None], training=False), among, label)
        found = tape.gradient(value, moving, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [weight * gradient**2 for gradient in found]

    def add(totals: list[Tensor], chunk: Chunk) -> list[Tensor]:
        found = tf.vectorized_map(squares, chunk)
        return [total + tf.reduce_sum(each, axis=0) for total, each in zip(totals, found, strict=True)]

    return tf.function(add, autograph=False)  # type: ignore[no-any-return]


def _add_in_jax(model: Any) -> Add:
    import jax

    fixed = [variable.value for variable in model.non_trainable_variables]
    moving = [variable.value for variable in model.trainable_variables]

    def value_of(weights: list[Tensor], image: Tensor, among: Tensor, label: Tensor) -> Tensor:
        logits, _ = model.stateless_call(weights, fixed, image[None], training=False)
        return _log_probability(logits, among, label)

    gradients = jax.vmap(jax.grad(value_of), in_axes=(None, 0, 0, 0))

    @jax.jit  # type: ignore[untyped-decorator]
    def add(weights: list[Tensor], totals: list[Tensor], chunk: Chunk) -> list[Tensor]:
        *given, counts = chunk
        found = gradients(weights, *given)
        return [total + jax.numpy.tensordot(counts, each**2, 1) for total, each in zip(totals, found, strict=True)]

    return lambda totals, chunk: add(moving, totals, chunk)


def _add_in_torch(model: Any) -> Add:
    import torch

    moving = [variable.value for variable in model.trainable_variables]

    def add(totals: list[Tensor], chunk: Chunk) -> list[Tensor]:
        for image, among, label, weight in zip(*chunk, strict=True):
            value = _log_probability(model(image[None], training=False), among, label)
            found = torch.autograd.grad(value, moving, allow_unused=True, materialize_grads=True)
            totals = [total + weight * gradient**2 for total, gradient in zip(totals, found, strict=True)]
        return totals

    return add
