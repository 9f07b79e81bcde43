"""Converts Keras models to logits: without their final softmax, or with the logarithm of their probabilities."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from temper.core.artefacts import Images
from temper.core.errors import StageError
from temper.nn.editing.log_probabilities import Logarithm
from temper.nn.editing.operation_kinds import activation, is_identity, preserves_argmax, producer
from temper.nn.inspection.compiled_programs import Tensor
from temper.system import backend

FLOOR = 1.2e-38
"""The lower bound of probabilities, the smallest normal float32, which keeps logarithms finite."""

_RESHAPING = ("Flatten", "Reshape")
_INCREASING = ("Log", "Log1p", "LogSoftmax", "Softmax", "Sqrt")
_SUM_TOLERANCE = 2e-3
"""The relative tolerance for equal sums of outputs across images; allows for half precision."""
_MIN_IMAGES = 10
"""Number of images on which equal sums of outputs, of any value, identify probabilities."""


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Return a layer name that is unused in the user's model: ``wanted``, with ``_`` appended as needed."""
    while wanted in taken:
        wanted += "_"
    return wanted


def to_logits(model: Any) -> Any:
    """Return a model of the same predictions that ends in logits (n, classes).

    A model that already does is returned unchanged. A final softmax is removed, with the functions behind it that
    increase with each probability, such as a logarithm or a positive factor. A combination of softmaxes, such as their
    average, becomes its exact logarithm. All other layers are shared with ``model``.

    Raises:
        StageError: the model has not exactly one output (n, classes), or ends in another activation than softmax.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        shapes = [tuple(output.shape) for output in model.outputs]
        raise StageError(f"expected a model with one input and one output (n, classes), received outputs {shapes}")
    logits, _ = _logits(model)
    return model if logits is None else backend.keras().Model(model.inputs[0], logits)


def needs_log_probabilities(model: Any) -> bool:
    """Return whether ``to_logits`` does more to a model than remove its one final softmax."""
    logits, plain = _logits(model)
    return logits is not None and not plain


def with_reordered_outputs(model: Any, outputs: Sequence[int]) -> Any:
    """Return a model that ends in logits, with the selected outputs of a model in this order.

    A final dense layer that is used only once has its weights reordered; after any other layer comes a dense layer that
    only permutes.
    """
    last, order = model.layers[-1], np.asarray(outputs)
    if isinstance(last, backend.keras().layers.Dense):
        last.set_weights([weights[..., order] for weights in last.get_weights()])
        return model
    name = free_name("class_order", {layer.name for layer in model.layers})
    sort = backend.keras().layers.Dense(len(order), use_bias=False, trainable=False, name=name)
    sorted_ = backend.keras().Model(model.inputs[0], sort(model.outputs[0]))
    sort.set_weights([np.eye(len(order), dtype=np.float32)[:, order]])
    return sorted_


def are_probabilities(outputs: Images) -> bool:
    """Return whether outputs (n, classes) are probabilities up to a common factor: non-negative with equal sums."""
    sums = outputs.sum(axis=1, dtype=np.float64)
    if not len(sums) or (outputs < 0).any() or (sums <= 0).any():
        return False
    one = np.abs(sums - 1).max() < _SUM_TOLERANCE
    # Equal sums of a constant output would prove nothing.
    varied = len(sums) >= _MIN_IMAGES and (outputs != outputs[0]).any()
    return bool(one or (varied and np.ptp(sums) < _SUM_TOLERANCE * sums.mean()))


def are_within_unit_interval(outputs: Images) -> bool:
    """Return whether outputs (n, classes) of many different images are all between 0 and 1."""
    varied = len(outputs) >= _MIN_IMAGES and (outputs != outputs[0]).any()
    return bool(varied and outputs.min() >= 0 and outputs.max() <= 1)


def with_log_probabilities(model: Any) -> Any:
    """Return a model whose outputs are the logarithms of another's probabilities, at least that of ``FLOOR``."""
    ops = backend.keras().ops
    probabilities = ops.cast(model.outputs[0], "float32")
    return backend.keras().Model(model.inputs[0], ops.log(ops.maximum(probabilities, FLOOR)))


def _logits(model: Any) -> tuple[Tensor | None, bool]:
    """Return the tensor of logits, ``None`` if it is the output itself, and whether only one softmax is removed.

    Raises:
        StageError: the output comes from an activation other than softmax.
    """
    output = model.outputs[0]
    _check_ending(output)
    chain, logarithm = _chain(output), Logarithm()
    places = [place for place, tensor in enumerate(chain) if activation(producer(tensor)[0]) == "softmax"]
    last = places[-1] if places else -1
    # A softmax at the end of the chain is simply removed; anything else needs its logarithm.
    if last != len(chain) - 1 and (logs := logarithm.of(chain[-1])) is not None:
        if logarithm.sigmoids and not _normalised(model):
            raise StageError(_refusal(logarithm.sigmoids[0], "sigmoid"))
        return logs, False
    if not places:
        return None, False
    plain = len(places) == 1 and all(is_identity(producer(tensor)[0]) for tensor in chain[:last])
    return logarithm.before_activation(*producer(chain[last])), plain


def _normalised(model: Any) -> bool:
    """Return whether the outputs of a model add up to 1 for any images."""
    keras = backend.keras()
    # 16 pixels for a side of any length: only the sums of the outputs matter.
    shape = [side or 16 for side in model.inputs[0].shape[1:]]
    # A fixed seed, so that loading a model gives the same answer every time.
    images = np.random.default_rng(0).random((_MIN_IMAGES, *shape), np.float32)
    # A new model, since this call must not change the state of a model in training.
    outputs = keras.Model(model.inputs[0], model.outputs[0])(images, training=False)
    sums = np.asarray(keras.ops.convert_to_numpy(outputs), np.float64).sum(axis=1)
    return bool((np.abs(sums - 1) < _SUM_TOLERANCE).all())


def _chain(output: Tensor) -> list[Tensor]:
    """Return a tensor, the tensor it is an increasing function of, the one that depends on, and so on."""
    chain, classes = [output], output.shape[-1]
    while (argument := _argument(chain[-1], classes)) is not None:
        chain.append(argument)
    return chain


def _argument(tensor: Tensor, classes: int) -> Tensor | None:
    """Return the argument of an operation that preserves the largest output of each image."""
    operation, operands = producer(tensor)
    kind = type(operation).__name__
    if not operands:
        return None
    if is_identity(operation):
        return operands[0]
    if kind in _INCREASING or (kind == "Activation" and activation(operation) in ("softmax", "log_softmax")):
        if getattr(operation, "axis", -1) not in (-1, 1):
            raise StageError(
                f"layer '{operation.name}': expected softmax over the classes, received axis {operation.axis}"
            )
        return operands[0]
    if kind == "Rescaling":
        return operands[0] if np.ndim(operation.scale) == np.ndim(operation.offset) == 0 < operation.scale else None
    if kind == "Clip":
        return operands[0] if preserves_argmax(operation, classes) else None
    return _argument_next_to_constant(kind, operands, classes)


def _argument_next_to_constant(kind: str, operands: list[Any], classes: int) -> Tensor | None:
    is_tensor = backend.keras().utils.is_keras_tensor
    tensors = [operand for operand in operands if is_tensor(operand)]
    numbers = [operand for operand in operands if not is_tensor(operand) and np.ndim(operand) == 0]
    if len(tensors) != 1 or len(numbers) != 1:
        return None
    number = float(numbers[0])
    rises = {
        "Add": True,
        "Subtract": tensors[0] is operands[0],
        "Multiply": number > 0,
        "Divide": tensors[0] is operands[0] and number > 0,
        "TrueDivide": tensors[0] is operands[0] and number > 0,
        # The largest of n probabilities is at least 1 / n, so a lower floor never hides it.
        "Maximum": number < 1 / classes,
    }
    return tensors[0] if rises.get(kind, False) else None


def _check_ending(tensor: Tensor) -> None:
    """Reject an activation other than softmax that feeds the output directly or through a reshape."""
    operation, operands = producer(tensor)
    if isinstance(operation, backend.keras().Model):
        _check_ending(operation.outputs[0])
    elif is_identity(operation) or type(operation).__name__ in _RESHAPING:
        _check_ending(operands[0])
    elif (name := activation(operation)) not in ("linear", "softmax", "log_softmax", "exponential"):
        raise StageError(_refusal(operation.name, name))


def _refusal(layer: str, name: str) -> str:
    # Independent probabilities may name several classes or none, so the largest is not the author's prediction by itself.
    advice = (
        "; if each image has one class only, save the model with the last activation linear"
        if name == "sigmoid"
        else ""
    )
    return (
        f"layer '{layer}' ends the model in {name}; expected logits or softmax: a classifier of "
        f"single-label images has no other output, so retrain it with one of these{advice}"
    )
