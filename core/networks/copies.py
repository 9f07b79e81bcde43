"""Copies of Keras models and layers, with the state that Keras keeps outside of weights and configuration.

``clone_model`` and ``from_config`` renew what a configuration says, ``set_weights`` what the weights say. Neither renews the
vocabulary that a lookup layer was adapted to, what a normalisation layer derives from its weights, or whether a quantised
layer was calibrated; and a layer that was quantised has its weights in another order than one that is built as such.
Every copy in Temper is made here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import backend

_CALIBRATED = ("is_gptq_calibrated", "is_awq_calibrated")
"""Attributes that say whether a quantised layer computes with its integer weights."""


def copied(model: Any) -> Any:
    """Return a model of the same layers and weights that shares none; its random streams are new."""
    copy = renewed(model)
    inherit(copy, model)
    return copy


def renewed(model: Any) -> Any:
    """Return a model of the same layers with new initial weights and new random streams."""
    return backend.keras().models.clone_model(model, clone_function=like, recursive=True)


def like(layer: Any, **changed: Any) -> Any:
    """Return a layer of the same configuration but for the ``changed`` options, with weights of its own."""
    if isinstance(layer, backend.keras().Model) and not changed:
        return renewed(layer)
    twin = type(layer).from_config({**layer.get_config(), **changed})
    if hasattr(layer, "save_assets"):
        _carry_assets(layer, twin)
    return twin


def inherit(target: Any, source: Any) -> None:
    """Give a layer or model the weights of another of its configuration, and what goes with them."""
    for own, other in _layers(target, source):
        for variable, value in _weights(own, other):
            variable.assign(value)
        for name in _CALIBRATED:
            if hasattr(other, name):
                setattr(own, name, getattr(other, name))
    _finalise(target)


def put(target: Any, weights: Sequence[NDArray[Any]]) -> None:
    """Set the weights of a layer or model, and what its layers derive from them."""
    target.set_weights(weights)
    _finalise(target)


def paired(target: Any, source: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each variable of a model and that of another of its configuration, states of random streams included."""
    for own, other in _layers(target, source):
        yield from _weights(own, other)
        states = ([stream.state for stream in layer._seed_generators] for layer in (own, other))
        yield from zip(*states, strict=True)


def connected(model: Any, tensor: Any) -> Any:
    """Return the output that a copy of a model with one input and one output gives for a symbolic tensor.

    Unlike calling the copy, this makes its layers those of the model around it.
    """
    keras = backend.keras()
    functional = keras.Model(model.inputs[0], model.outputs[0])
    twins: dict[int, tuple[Any, Any]] = {}

    def twin(operation: Any) -> Any:
        return twins.setdefault(id(operation), (like(operation), operation))[0]

    output = functional._run_through_graph(
        tensor, operation_fn=twin, call_fn=lambda operation, *arguments, **options: operation(*arguments, **options)
    )
    for own, other in twins.values():
        if isinstance(other, keras.layers.Layer) and other.weights:
            inherit(own, other)
    return output


def constants(model: Any) -> str:
    """Return a digest of what a model's layers compute with that is neither a variable nor in the configuration."""
    found = hashlib.sha256()
    for number, layer in enumerate(flattened(model)):
        for name, value in _constants(layer):
            found.update(json.dumps([number, name]).encode())
            found.update(value)
    return found.hexdigest()


def flattened(model: Any) -> Iterator[Any]:
    """Yield a layer or model and all layers in it, nested ones included."""
    yield from model._flatten_layers()


def _layers(target: Any, source: Any) -> Iterator[tuple[Any, Any]]:
    return zip(flattened(target), flattened(source), strict=True)


def _weights(own: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the weights that two layers have outside of the layers in them, those of one name together."""
    mine, others = (layer._trainable_variables + layer._non_trainable_variables for layer in (own, other))
    by_name = {variable.name: variable for variable in others}
    if len(by_name) == len(others) and {variable.name for variable in mine} == set(by_name):
        return ((variable, by_name[variable.name]) for variable in mine)
    return zip(mine, others, strict=True)


def _finalise(model: Any) -> None:
    for layer in flattened(model):
        if isinstance(layer, backend.keras().layers.Normalization):
            layer.finalize_state()


def _constants(layer: Any) -> Iterator[tuple[str, bytes]]:
    keras = backend.keras()
    for name, value in sorted(vars(layer).items()):
        if name in _CALIBRATED:
            yield name, repr(value).encode()
        elif isinstance(value, np.ndarray) or (keras.ops.is_tensor(value) and not isinstance(value, keras.Variable)):
            array = np.asarray(keras.ops.convert_to_numpy(value))
            yield name, f"{array.dtype}{array.shape}".encode() + array.tobytes()
    if hasattr(layer, "save_assets"):
        with TemporaryDirectory() as folder:
            layer.save_assets(folder)
            for path in sorted(Path(folder).iterdir()):
                yield path.name, path.read_bytes()


def _carry_assets(layer: Any, twin: Any) -> None:
    stored: dict[str, Any] = {}
    layer.save_own_variables(stored)
    twin.load_own_variables(stored)
    with TemporaryDirectory() as folder:
        layer.save_assets(folder)
        twin.load_assets(folder)
