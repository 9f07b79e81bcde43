"""Loads HDF5 weights of Keras 1, 2 and 3 into models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.errors import StageError
from temper.nn.model_files.theano_conversion import check_padding, convolves
from temper.nn.model_files.untrusted_files import hdf5

Array = NDArray[np.float32]


def by_layer(path: Path) -> dict[str, list[Array]]:
    """Return the weights of each layer that has any, in the model's order.

    Raises:
        StageError: the file is not HDF5, or not written by Keras 1 or 2 (or by Keras 3 as ``.h5``).
    """
    with hdf5(path) as file:
        root = file.get("model_weights", file)
        if not _is_legacy(file):
            raise StageError(f"{path}: expected the weights of a Keras model by layer, received {sorted(root)[:8]}")
        layers = {
            name: [root[name][w] for w in _names(root[name], "weight_names")] for name in _names(root, "layer_names")
        }
        return {name: [np.asarray(w, np.float32) for w in weights] for name, weights in layers.items() if weights}


def is_legacy(path: Path) -> bool:
    """Return whether a file has the layout of Keras 1 and 2 rather than that of Keras 3's ``.weights.h5``."""
    with hdf5(path) as file:
        return _is_legacy(file)


def backend_of(path: Path) -> str | None:
    """Return the backend with which a file of Keras 1 or 2 was saved, if it says so."""
    with hdf5(path) as file:
        stated = [part.attrs["backend"] for part in (file.get("model_weights", file), file) if "backend" in part.attrs]
    return _text(stated[0]).lower() if stated else None


def load(model: Any, path: Path, *, by_name: bool, described_on: str | None = None) -> None:
    """Load the weights of a file into a model, layer by layer: by name, or else in order.

    Theano rotates kernels by 180 degrees where the other backends do not, so the kernels of its plain convolutions are
    rotated here. Those of its depthwise and separable convolutions are stored as everywhere else.

    Args:
        model: a Keras model.
        path: HDF5 weights of Keras 1, 2 or 3.
        by_name: whether layers are matched by name.
        described_on: the backend with which the model's architecture was written, if stated.

    Raises:
        StageError: the layers or the shapes of their weights differ, it is unknown whether kernels are Theano's, or
        Theano pads a layer differently.

    Source: Keras 2.3.1, ``preprocess_weights_for_loading`` and ``conv_utils.convert_kernel``.
    """
    if not is_legacy(path):
        _load_current(model, path)
        return
    found = by_layer(path)
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    if len(found) != len(layers) or (by_name and set(found) != set(layers)):
        raise StageError(
            f"{path}: expected weights of {len(layers)} layers ({', '.join(layers)}), "
            f"received {len(found)} ({', '.join(found)}); the file belongs to another network"
        )
    pairs = (
        ((layers[name], w) for name, w in found.items())
        if by_name
        else zip(layers.values(), found.values(), strict=True)
    )
    theano = _from_theano(model, path, described_on)
    if theano:
        try:
            check_padding(model)
        except StageError as error:
            raise StageError(f"{path}: {error}") from None
    for layer, weights in pairs:
        expected, received = [tuple(w.shape) for w in layer.weights], [w.shape for w in weights]
        if expected != received:
            raise StageError(
                f"{path}: layer '{layer.name}': expected weights {expected}, received {received}; "
                "the file belongs to another network"
            )
        if theano and convolves(layer):
            weights[0] = weights[0][::-1, ::-1]
        layer.set_weights(weights)


def _from_theano(model: Any, path: Path, described_on: str | None) -> bool:
    stated = backend_of(path)
    if stated is None and described_on == "theano" and any(map(convolves, model.layers)):
        raise StageError(
            f"{path}: the architecture was written with Theano, whose kernels are rotated by 180 degrees, but the weights do not "
            "state their backend; set the file's attribute `backend` to theano or tensorflow"
        )
    return stated == "theano"


def _is_legacy(file: Any) -> bool:
    root = file.get("model_weights", file)
    return "layer_names" in root.attrs or "layer_names0" in root.attrs


def _load_current(model: Any, path: Path) -> None:
    try:
        model.load_weights(path)
    except MemoryError:
        raise
    except Exception as error:  # Keras raises all kinds of errors on a mismatched or corrupted file
        raise StageError(f"{path}: the file belongs to another network, or is corrupted: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _names(group: Any, attribute: str) -> Iterator[str]:
    """Yield the strings of an attribute, which Keras splits into numbered ones if it is too long."""
    keys = [attribute] if attribute in group.attrs else []
    while not keys or keys[-1] != attribute:
        if (key := f"{attribute}{len(keys)}") not in group.attrs:
            break
        keys.append(key)
    for key in keys:
        for name in group.attrs[key]:
            yield _text(name)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
