"""The losses that AutoAttack increases: cross-entropy, and the difference of logits ratio, untargeted or targeted."""

from __future__ import annotations

from typing import Literal

from temper.nn.inspection.compiled_programs import Tensor
from temper.system import backend

AttackLoss = Literal["cross_entropy", "dlr", "dlr_targeted", "difference"]
_TINY = 1e-12
"""Added to denominators, as in the reference implementation."""


def attack_loss(name: AttackLoss, logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Return the loss of each image (n,), to be increased, from logits (n, classes) and int labels (n,).

    ``dlr`` is -(z_y - max_{j != y} z_j) / (z_(1) - z_(3)) and needs three classes; ``dlr_targeted`` is
    -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2) and needs four; ``difference`` is z_t - z_y, for fewer. z_(k) is the
    k-th largest logit. ``target`` (n,) is read by the last two.

    Source: Croce and Hein (2020), Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks, equations 6 and 7.
    """
    ops = backend.keras().ops
    if name == "cross_entropy":
        return ops.sparse_categorical_crossentropy(y, logits, from_logits=True)
    own = _at(logits, y)
    if name == "difference":
        return _at(logits, target) - own
    if name == "dlr":
        largest, classes = ops.top_k(logits, 3)
        right = ops.cast(classes[:, 0], "int32") == y
        other = ops.where(right, largest[:, 1], largest[:, 0])
        return -(own - other) / (largest[:, 0] - largest[:, 2] + _TINY)
    largest, _ = ops.top_k(logits, 4)
    return -(own - _at(logits, target)) / (largest[:, 0] - 0.5 * (largest[:, 2] + largest[:, 3]) + _TINY)


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the logit of one class of each image, (n,)."""
    ops = backend.keras().ops
    return ops.take_along_axis(logits, ops.expand_dims(classes, 1), axis=1)[:, 0]
