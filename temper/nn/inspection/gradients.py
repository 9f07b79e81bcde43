"""Gradients with respect to the images, inside a compiled program, and the margin loss that attacks increase."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.system import backend


def value_and_gradient(function: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``function(x)`` (n,) and the gradient of its sum with respect to ``x`` (n, ...), inside a program.

    Only ``x`` is differentiated, so the gradients of the weights, a third of a training step, are never computed. The
    gradient is 0 where no operation between ``x`` and the value has one, as after a rounding.
    """
    return differentiate(lambda images: (function(images), ()), x)[:2]


def differentiate(function: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor) -> tuple[Tensor, Tensor, Any]:
    """Return the values (n,) of ``function(x)``, their gradient as ``value_and_gradient``, and what else it returns.

    ``function`` returns the values and any tensors computed on the way, such as the logits.
    """
    match backend.name():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                values, others = function(x)
            return values, tape.gradient(values, x, unconnected_gradients=tf.UnconnectedGradients.ZERO), others
        case "jax":
            import jax

            def total(images: Tensor) -> tuple[Tensor, Any]:
                values, others = function(images)
                return values.sum(), (values, others)

            (_, (values, others)), gradient = jax.value_and_grad(total, has_aux=True)(x)
            return values, gradient, others
        case _:
            import torch

            with torch.enable_grad():
                # Detached, so that the gradient stops at the image.
                leaf = x.detach().requires_grad_(True)
                values, others = function(leaf)
                if not values.requires_grad:
                    return values, torch.zeros_like(x), others
                (gradient,) = torch.autograd.grad(values.sum(), leaf, materialize_grads=True)
            return values.detach(), gradient, backend.keras().tree.map_structure(lambda t: t.detach(), others)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return log sum_{j != y} exp(z_j) - z_y of each image, (n,): positive means that ``y`` is not likely.

    The cross-entropy is softplus(margin), so both rank images alike and their gradients point the same way, but
    this one does not vanish when a confident model's softmax saturates.
    """
    ops = backend.keras().ops
    chosen = ops.one_hot(y, logits.shape[-1], dtype=logits.dtype)
    # -inf, since logits may be of any size: no finite number is certain to be small enough.
    others = ops.where(chosen > 0, ops.full_like(logits, -np.inf), logits)
    return ops.logsumexp(others, axis=-1) - ops.sum(logits * chosen, axis=-1)
