"""Copies of Keras models and layers, with the state that Keras keeps outside of weights and configuration.

``clone_model`` and ``from_config`` restore the configuration, ``set_weights`` the weights. Neither restores the
vocabulary that a lookup layer was adapted to, what a normalisation layer derives from its weights, or whether a
quantised layer was calibrated; and a layer quantised after building orders its weights differently from one built
quantised. All copies in Temper are created here.
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

from temper.system import backend

_CALIBRATED = ("is_gptq_calibrated", "is_awq_calibrated")
"""Attributes that control whether a quantised layer computes with its integer weights."""


def copied(model: Any) -> Any:
    """Return an independent copy of a model with the same layers and weights; its random streams are new."""
    copy = with_new_weights(model)
    copy_state(copy, model)
    return copy


def with_new_weights(model: Any) -> Any:
    """Return a model of the same layers with new initial weights and new random streams."""
    return backend.keras().models.clone_model(model, clone_function=clone_layer, recursive=True)


def reinitialised(model: Any) -> tuple[Any, tuple[str, ...]]:
    """Return a model of the same layers to train from scratch, and the names of the layers that keep learnt weights.

    Trainable weights are initialised again, and so is the state updated in training: the statistics of batch
    normalisation and the vectors of spectral normalisation. Everything else is kept: the constants of a normalisation,
    layers that convert the input, the weights of frozen and of quantised layers. Of these, the layers whose values
    differ from their initial ones are named. The seeds of initialisers are removed: they would give the same weights at
    any seed of the experiment.
    """
    layers = backend.keras().layers
    # recursive, so that the layers of nested models are rebuilt, not shared.
    copy = backend.keras().models.clone_model(model, clone_function=_without_seeds, recursive=True)
    trained = {id(variable) for variable in model.trainable_variables}
    keeping: dict[str, None] = {}
    for own, other in _layers(copy, model):
        if other.trainable and isinstance(other, layers.BatchNormalization | layers.SpectralNormalization):
            continue
        for variable, value in _weights(own, other):
            if id(value) in trained:
                continue
            if not isinstance(other, layers.Normalization) and not _equal(variable, value):
                keeping[other.name] = None
            variable.assign(_read(value))
    finalise(copy)
    return copy, tuple(keeping)


def clone_layer(layer: Any, /, **changed: Any) -> Any:
    """Return a layer of the same configuration except for the ``changed`` options, with its own weights."""
    if isinstance(layer, backend.keras().Model) and not changed:
        return with_new_weights(layer)
    twin = type(layer).from_config({**layer.get_config(), **changed})
    if hasattr(layer, "save_assets"):
        _carry_assets(layer, twin)
    return twin


def _without_seeds(layer: Any) -> Any:
    def unseeded(config: Any, initialises: bool = False) -> Any:
        if isinstance(config, list | tuple):
            return type(config)(unseeded(value, initialises) for value in config)
        if not isinstance(config, dict):
            return config
        inside = initialises or "initializers" in str(config.get("module"))
        return {
            key: None if inside and key == "seed" and isinstance(value, int) else unseeded(value, inside)
            for key, value in config.items()
        }

    if isinstance(layer, backend.keras().Model):
        return backend.keras().models.clone_model(layer, clone_function=_without_seeds, recursive=True)
    return clone_layer(layer, **unseeded(layer.get_config()))


def copy_state(target: Any, source: Any) -> None:
    """Copy the weights, and the state derived from them, between layers or models of one configuration."""
    for own, other in _layers(target, source):
        for variable, value in _weights(own, other):
            variable.assign(_read(value))
        for name in _CALIBRATED:
            if hasattr(other, name):
                setattr(own, name, getattr(other, name))
    finalise(target)


def set_weights(target: Any, weights: Sequence[NDArray[Any]]) -> None:
    """Set the weights of a layer or model, and the state its layers derive from them."""
    target.set_weights(weights)
    finalise(target)


def finalise(model: Any) -> None:
    """Have the layers of a layer or model derive from their weights what they compute with."""
    for layer in all_layers(model):
        if isinstance(layer, backend.keras().layers.Normalization):
            layer.finalize_state()


def paired_variables(target: Any, source: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the pairs of variables of two models of one configuration, states of random streams included."""
    for own, other in _layers(target, source):
        yield from _weights(own, other)
        states = ([stream.state for stream in layer._seed_generators] for layer in (own, other))
        yield from zip(*states, strict=True)


def connected(model: Any, tensor: Any) -> Any:
    """Return the output of a copy of a model with one input and one output for a symbolic tensor.

    Unlike calling the copy, this inlines its layers into the surrounding model.
    """
    keras = backend.keras()
    # A functional model of the same tensors: only that can be run through its graph.
    functional = keras.Model(model.inputs[0], model.outputs[0])
    twins: dict[int, tuple[Any, Any]] = {}

    def twin(operation: Any) -> Any:
        # A layer that is called twice keeps one twin, so that its weights stay shared.
        return twins.setdefault(id(operation), (clone_layer(operation), operation))[0]

    output = functional._run_through_graph(
        tensor, operation_fn=twin, call_fn=lambda operation, *arguments, **options: operation(*arguments, **options)
    )
    for own, other in twins.values():
        if isinstance(other, keras.layers.Layer) and other.weights:
            copy_state(own, other)
    return output


def constants_digest(model: Any) -> str:
    """Return a digest of the constants of a model's layers that are neither variables nor in the configuration."""
    found = hashlib.sha256()
    for number, layer in enumerate(all_layers(model)):
        for name, value in _constants(layer):
            found.update(json.dumps([number, name]).encode())
            found.update(value)
    return found.hexdigest()


def all_layers(model: Any) -> Iterator[Any]:
    """Yield a layer or model and all layers in it, nested ones included, each once."""
    seen: set[int] = set()

    def within(layer: Any) -> Iterator[Any]:
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer
            for inner in layer._layers:
                yield from within(inner)

    yield from within(model)


def _layers(target: Any, source: Any) -> Iterator[tuple[Any, Any]]:
    return zip(all_layers(target), all_layers(source), strict=True)


def _weights(own: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the pairs of same-named weights that two layers hold outside of their nested layers."""
    mine, others = (layer._trainable_variables + layer._non_trainable_variables for layer in (own, other))
    by_name = {variable.name: variable for variable in others}
    # By name where names are unique: a layer quantised after building orders its weights differently.
    if len(by_name) == len(others) and {variable.name for variable in mine} == set(by_name):
        return ((variable, by_name[variable.name]) for variable in mine)
    return zip(mine, others, strict=True)


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(_read(one), _read(other)))


def _read(variable: Any) -> NDArray[Any]:
    # Training on JAX may donate (invalidate) its arrays, so two models must not share one.
    return np.array(backend.keras().ops.convert_to_numpy(variable))


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
