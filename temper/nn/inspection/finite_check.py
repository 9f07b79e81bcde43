"""Rejects non-finite values in a model's weights and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.errors import StageError
from temper.nn.editing.copies import all_layers
from temper.system import backend


def check_weights(model: Any) -> None:
    """Check the weights of a Keras model.

    Raises:
        StageError: some are not finite; the message names the first such layer.
    """
    for layer in all_layers(model):
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            values = np.asarray(backend.keras().ops.convert_to_numpy(variable))
            # NumPy has no isfinite for some 8-bit types.
            invalid = int((~np.isfinite(values.astype(np.float32))).sum())
            if invalid:
                raise StageError(
                    f"layer '{layer.name}': {invalid} of {values.size} values of its weight '{variable.name}' are not "
                    "finite (nan or inf), so its predictions mean nothing; use a model whose training did not diverge"
                )


def check_outputs(answers: NDArray[Any], what: str = "the model's logits") -> None:
    """Check a model's outputs for images, an array (n, ...).

    Raises:
        StageError: some are not finite; the message has their number and the first.
    """
    invalid = np.flatnonzero(~np.isfinite(answers).all(axis=tuple(range(1, answers.ndim))))
    if len(invalid):
        first = ", ".join(f"{value:g}" for value in np.ravel(answers[invalid[0]])[:4])
        raise StageError(
            f"{what} are not finite (nan or inf) for {len(invalid)} of {len(answers)} images, the first at position "
            f"{invalid[0]} counted from 0 ({first}, ...), so it predicts no class; remove these images, or repair the "
            "model; common causes: a division by zero, a logarithm of 0, half precision"
        )
