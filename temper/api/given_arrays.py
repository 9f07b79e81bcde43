"""Models, arrays and numbers that a program has in memory, checked and brought into the form that Temper's stages read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.errors import SpecError, StageError
from temper.nn.editing.input_conventions import InputConventions, agree, form
from temper.nn.editing.model_endings import classifier_of
from temper.system import backend

_LOOKED_AT = 100
"""Images whose outputs show whether a model gives probabilities."""


def images(where: str, x: Any) -> NDArray[np.float32]:
    """Return images as float32 (n, height, width, channels) in an array of its own.

    Raises:
        SpecError: they have another shape or type, or pixels outside [0, 1].
    """
    array = _array(where, x)
    if array.ndim != 4 or not array.size:
        message = f"expected images (n, height, width, channels), received {array.shape}{_missing_axis(array.shape)}"
        raise SpecError.at(where, 0, message)
    low, high = float(array.min()), float(array.max())
    if not np.issubdtype(array.dtype, np.floating):
        hint = "divide bytes by 255" if array.dtype == np.uint8 or high > 1 else "use x.astype('float32')"
        raise SpecError.at(where, 0, f"expected pixels as floats in [0, 1], received {array.dtype}; {hint}")
    if np.isnan(low):
        count = int(np.isnan(array).any(axis=(1, 2, 3)).sum())
        raise SpecError.at(where, 0, f"expected pixels in [0, 1], received nan in {count} images; remove these")
    if not (low >= 0 and high <= 1):
        hint = "; divide bytes by 255" if 1 < high <= 255 and low >= 0 else "; scale them, and let the model undo it"
        raise SpecError.at(where, 0, f"expected pixels in [0, 1], received [{low:g}, {high:g}]{hint}")
    return np.array(array, np.float32)


def labels(where: str, y: Any, n: int, classes: int) -> NDArray[np.int64]:
    """Return the labels of n images as int64 (n,), from 0 to ``classes - 1``.

    Raises:
        SpecError: they have another shape or type, or are no classes of the model.
    """
    array = _array(where, y)
    if array.shape == (n, classes) and classes > 1:
        raise SpecError.at(
            where, 0, f"expected labels ({n},), received one-hot rows {array.shape}; use y.argmax(axis=1)"
        )
    if array.shape != (n,):
        hint = "; use np.ravel(y)" if array.size == n else ""
        raise SpecError.at(where, 0, f"expected a label for each of {n} images, ({n},), received {array.shape}{hint}")
    if not np.issubdtype(array.dtype, np.integer):
        hint = "use y.astype('int64')" if array.dtype.kind in "fb" else "use the classes' numbers"
        raise SpecError.at(where, 0, f"expected whole numbers from 0 to {classes - 1}, received {array.dtype}; {hint}")
    if not 0 <= int(array.min()) <= int(array.max()) < classes:
        raise SpecError.at(
            where, 0, f"expected labels from 0 to {classes - 1}, received {array.min()} to {array.max()}; the model has "
            f"{classes} outputs"
        )  # fmt: skip
    return array.astype(np.int64)


def examples(where: str, given: Any, classes: int, *, labelled: bool) -> Examples:
    """Return ``x``, or a pair ``(x, y)``, as examples; where no labels are given, they are -1, which is no class.

    Raises:
        SpecError: the arrays are no such images and labels, or labels are needed and not given.
    """
    if isinstance(given, Examples):
        return given
    if isinstance(given, tuple | list) and len(given) == 2:
        x = images(where, given[0])
        y = labels(f"{where} labels", given[1], len(x), classes)
    elif labelled:
        raise SpecError.at(where, 0, "expected a pair (x, y): labels are needed here, and none are given")
    else:
        x = images(where, given)
        y = np.full(len(x), -1, np.int64)
    return Examples(x=x, y=y, index=np.arange(len(x)))


def classifier(where: str, model: Any, x: NDArray[np.float32], remark: Callable[[str], None]) -> Classifier:
    """Return the classifier that a Keras model is, of the same predictions whether it ends in logits or in softmax.

    Raises:
        SpecError: it is no Keras model, is not built, or takes images of another shape than ``x``.
        StageError: it has no output of a classifier, or its weights or answers are not finite.
    """
    if isinstance(model, Classifier):
        return model
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Model):
        received = f"{type(model).__module__}.{type(model).__name__}"
        raise SpecError.at(where, 0, f"expected a Keras 3 model, received {received}{_instead_of(model, x)}")
    backend.keras()
    if not getattr(model, "inputs", None):
        raise SpecError.at(
            where, 0, "the layers of the model are not connected; build it from keras.Input, as a Sequential or functional model"
        )  # fmt: skip
    if len(model.inputs) != 1:
        raise SpecError.at(where, 0, f"expected a model of one input, received one of {len(model.inputs)}")
    wanted, shape = tuple(model.inputs[0].shape[1:]), (x.shape[1], x.shape[2], x.shape[3])
    if not agree(wanted, shape):
        height, width, channels = shape
        hint = ""
        if agree(wanted, (width, channels, height)):
            hint = "; channels come last: x.transpose(0, 2, 3, 1)"
        elif agree(wanted, (channels, height, width)):
            hint = "; put keras.layers.Permute((3, 1, 2)) in front of it, which brings channels to the front"
        raise SpecError.at(where, 0, f"the model takes {form(wanted)}, received {form(shape)}{hint}")
    conventions = InputConventions()
    try:
        return classifier_of(model, lambda logits: conventions.in_front_of(logits, shape), x[:_LOOKED_AT], remark)
    except StageError as error:
        raise StageError(f"{where}: {error}") from None


def whole_number(where: str, given: Any, least: int) -> int:
    """Return a number as an int, from ``least``.

    Raises:
        SpecError: it is not.
    """
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or not least <= given < 2**63:
        raise SpecError.at(where, 0, f"expected a whole number from {least}, received {given!r}")
    return int(given)


def seeds(given: Any) -> list[int]:
    """Return the seeds of a run as ints, all different.

    Raises:
        SpecError: they are not.
    """
    if not isinstance(given, Iterable) or isinstance(given, str):
        raise SpecError.at("seeds", 0, f"expected a list of whole numbers, received {given!r}")
    numbers = [whole_number("seeds", seed, 0) for seed in given]
    if len({*numbers}) != len(numbers):
        raise SpecError.at("seeds", 0, f"expected different whole numbers, received {numbers}")
    return numbers


def _missing_axis(shape: tuple[int, ...]) -> str:
    match shape:
        case (_, _, 1 | 3):
            return "; make a batch of one image: x[None]"
        case (_, _, _):
            return "; add the channel axis: x[..., None]"
        case (_, _):
            return "; restore the image shape: x.reshape(len(x), height, width, channels)"
        case _:
            return ""


def _instead_of(model: Any, x: NDArray[np.float32]) -> str:
    """Return what to do with what is no Keras model."""
    if isinstance(model, str | PathLike):
        return "; load it: keras.saving.load_model"
    if any(cls.__module__.startswith("torch.nn.") for cls in type(model).__mro__):
        return (
            f"; with KERAS_BACKEND=torch, wrap it: keras.Sequential([keras.Input({x.shape[1:]}), "
            "keras.layers.Permute((3, 1, 2)), keras.layers.TorchModuleWrapper(model, output_shape=(None, classes))])"
        )
    return ""


def _array(where: str, given: Any) -> NDArray[Any]:
    if hasattr(given, "detach"):  # a torch tensor, perhaps with a gradient, perhaps on a GPU
        given = given.detach().cpu()
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise SpecError.at(where, 0, f"expected an array, received {type(given).__name__} ({error})") from None
    if array.dtype == object:
        raise SpecError.at(where, 0, f"expected an array of numbers, received {type(given).__name__}")
    return array
