"""The objective of a continual learner, as a Keras model around the one in training."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from temper.artefacts.incremental_classifier import Rivals
from temper.nn.inspection.compiled_programs import Tensor
from temper.repair.continual.regularisers import Distillation, Penalty
from temper.system import backend

LABELS, BEFORE = "labels", "before"
"""The names of an image's targets: its label, and its probabilities by the previous model."""

# Finite: a class without a group would have a logsumexp of -inf, whose gradient is nan.
_NO_RIVAL = -1e9


def objective(inner: Any, penalised: bool, distillation: Distillation | None) -> Any:
    """Return a Keras model with the outputs of ``inner`` whose loss is the objective of a step.

    loss = mean_x [-ln softmax over the rivals of y (z)_y + weight T^2 KL(before || softmax of z / T, group by group)]
         + 1/2 sum_i curvature_i (w_i - centre_i)^2 + the losses of the model's own layers.

    ``set_objective`` sets the rivals, the groups of known classes, and the centre of the weights.
    """
    return _model_class()(inner, penalised, distillation)


def set_objective(wrapper: Any, inner: Any, rivals: Rivals, known: Rivals, penalty: Penalty | None) -> None:
    """Set the values that a step's objective depends on; ``inner`` is the model of the penalty."""
    wrapper.rivals.assign(rivals.astype(np.float32))
    if wrapper.distillation is not None:
        wrapper.known.assign(known.astype(np.float32))
    if penalty is not None:
        moving = [i for i, variable in enumerate(inner.weights) if variable.trainable]
        for place, i in enumerate(moving):
            wrapper.curvature[place].assign(penalty.curvature[i])
            wrapper.centre[place].assign(penalty.centre[i])


def group_log_softmax(logits: Tensor, groups: Tensor) -> Tensor:
    """Return the logarithm of each class's probability within its group, (n, classes).

    ``groups`` is (classes, classes), row k positive where a class is in the group of k; the value for a class without a
    group is finite and meaningless.
    """
    ops = backend.keras().ops
    among = ops.where(groups[None] > 0, logits[:, None, :], _NO_RIVAL)
    return logits - ops.logsumexp(among, axis=-1)


def divergence(before: Tensor, logits: Tensor, groups: Tensor, temperature: float) -> Tensor:
    """Return T^2 sum_k p_k (ln p_k - ln q_k) of images (n,), p by the previous model, q of ``logits`` at T."""
    ops = backend.keras().ops
    after = group_log_softmax(logits / temperature, groups)
    # 0 ln 0 = 0.
    lost = ops.where(before > 0, before * (ops.log(ops.maximum(before, 1e-30)) - after), 0.0)
    return temperature**2 * ops.sum(lost, axis=-1)


def cross_entropy(logits: Tensor, labels: Tensor, rivals: Tensor) -> Tensor:
    """Return -ln of the probability of each image's label among its rivals, (n,); ``rivals`` as ``groups``."""
    ops = backend.keras().ops
    own = ops.take(rivals, labels, axis=0)
    among = ops.where(own > 0, logits, _NO_RIVAL)
    chosen = ops.take_along_axis(logits, ops.expand_dims(labels, 1), axis=1)[:, 0]
    return ops.logsumexp(among, axis=-1) - chosen


@cache
def _model_class() -> Any:
    keras = backend.keras()
    ops = keras.ops

    class Objective(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self, inner: Any, penalised: bool, distillation: Distillation | None) -> None:
            super().__init__()
            self.inner, self.distillation = inner, distillation
            classes = inner.output_shape[-1]
            # Weights, so that a step with other values needs no new program.
            self.rivals = self._constant((classes, classes))
            if distillation is not None:
                self.known = self._constant((classes, classes))
            held = inner.trainable_variables if penalised else []
            self.curvature = [self._constant(variable.shape) for variable in held]
            self.centre = [self._constant(variable.shape) for variable in held]

        def _constant(self, shape: tuple[int, ...]) -> Any:
            return self.add_weight(shape=shape, initializer="zeros", trainable=False)

        def call(self, x: Tensor, training: bool | None = None) -> Tensor:
            return ops.cast(self.inner(x, training=training), "float32")

        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Tensor:
            labels = ops.cast(y[LABELS], "int32")
            each = cross_entropy(y_pred, labels, self.rivals)
            if self.distillation is not None:
                weight, temperature = self.distillation.weight, self.distillation.temperature
                each = each + weight * divergence(y[BEFORE], y_pred, self.known, temperature)
            total = ops.mean(each)
            for variable, curvature, centre in zip(
                # strict only with a penalty: without one both lists are empty.
                self.inner.trainable_variables,
                self.curvature,
                self.centre,
                strict=bool(self.curvature),
            ):
                total = total + 0.5 * ops.sum(curvature * ops.square(variable - centre))
            for loss in self.losses:
                total = total + loss
            return total

    return Objective
