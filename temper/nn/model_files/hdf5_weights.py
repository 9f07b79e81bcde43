"""Loads HDF5 weights of Keras 1, 2 and 3 into models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.errors import StageError
from temper.nn.editing.copies import finalise
from temper.nn.model_files.theano_conversion import check_padding, convolves
from temper.nn.model_files.untrusted_files import hdf5
from temper.nn.model_files.weight_assignment import assign

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
        return {name: [np.asarray(w, np.float32) for w in weights] for name, weights in _weights_by_layer(root)}


def is_legacy(path: Path) -> bool:
    """Return whether a file has the layout of Keras 1 and 2 rather than that of Keras 3's ``.weights.h5``."""
    with hdf5(path) as file:
        return _is_legacy(file)


def backend_of(path: Path) -> str | None:
    """Return the backend with which a file of Keras 1 or 2 was saved, if it says so."""
    with hdf5(path) as file:
        return _stated_backend(file)


def load(
    model: Any,
    path: Path,
    *,
    by_name: bool,
    described_on: str | None = None,
    variables: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Load the weights of a file into a model, layer by layer: by name, or else in order.

    Theano rotates kernels by 180 degrees where the other backends do not, so the kernels of its plain convolutions are
    rotated here. Those of its depthwise and separable convolutions are stored as everywhere else.

    Args:
        model: a Keras model.
        path: HDF5 weights of Keras 1, 2 or 3.
        by_name: whether layers are matched by name.
        described_on: the backend with which the model's architecture was written, if stated.
        variables: the variables of each layer of the file, where the file has other layers than the model.

    Raises:
        StageError: the layers or the shapes of their weights differ, it is unknown whether kernels are Theano's, or
        Theano pads a layer differently.

    Source: Keras 2.3.1, ``preprocess_weights_for_loading`` and ``conv_utils.convert_kernel``; Keras 2.15.0, ``_legacy_weights``.
    """
    with hdf5(path) as file:
        if not _is_legacy(file):
            _load_current(model, path)
            return
        root = file.get("model_weights", file)
        found = dict(_weights_by_layer(root))
        layers = variables or {
            layer.name: layer.trainable_weights + layer.non_trainable_weights for layer in model.layers if layer.weights
        }
        if len(found) != len(layers) or (by_name and set(found) != set(layers)):
            raise StageError(
                f"{path}: expected weights of {len(layers)} layers ({', '.join(layers)}), "
                f"received {len(found)} ({', '.join(found)}); the file belongs to another network"
            )
        rotated = _rotated(model, path, _stated_backend(file), described_on)
        # One array at a time, as a file and a model of its size are in memory already.
        for (name, mine), arrays in zip(
            layers.items(), ((found[name] for name in layers) if by_name else found.values()), strict=True
        ):
            assign(mine, arrays, f"{path}: layer '{name}'", rotated)
    finalise(model)


def _rotated(model: Any, path: Path, stated: str | None, described_on: str | None) -> set[int]:
    """Return the identities of the kernels that are rotated by 180 degrees: those of Theano's convolutions."""
    kernels = {id(layer.kernel) for layer in model.layers if convolves(layer)}
    if stated is None and described_on == "theano" and kernels:
        raise StageError(
            f"{path}: the architecture was written with Theano, whose kernels are rotated by 180 degrees, but the weights do not "
            "state their backend; set the file's attribute `backend` to theano or tensorflow"
        )
    if stated != "theano":
        return set()
    try:
        check_padding(model)
    except StageError as error:
        raise StageError(f"{path}: {error}") from None
    return kernels


def _weights_by_layer(root: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the stored weights of each layer that has any, not yet read."""
    for name in _names(root, "layer_names"):
        if weights := [root[name][w] for w in _names(root[name], "weight_names")]:
            yield name, weights


def _stated_backend(file: Any) -> str | None:
    stated = [part.attrs["backend"] for part in (file.get("model_weights", file), file) if "backend" in part.attrs]
    return _text(stated[0]).lower() if stated else None


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
