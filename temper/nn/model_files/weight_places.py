"""Where each layer of a rebuilt model finds its weights in the layouts of Keras 2."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from temper.core.errors import StageError
from temper.nn.editing.copies import finalise
from temper.nn.model_files.keras_rebuild import Rebuilding
from temper.nn.model_files.layer_graph import LayerGraph, Node
from temper.nn.model_files.weight_assignment import assign


def by_top_level(rebuilding: Rebuilding) -> dict[str, list[Any]]:
    """Return the variables of each layer of the outermost model, in the order of an HDF5 file of Keras 2.

    A nested model is one such layer: all its trainable weights, then all others.

    Source: Keras 2.15.0, ``hdf5_format._legacy_weights``.
    """
    found = {node.name: [v for part in _split(node, rebuilding) for v in part] for node in rebuilding.graph.nodes}
    return {name: variables for name, variables in found.items() if variables}


def _split(node: Node, rebuilding: Rebuilding) -> tuple[list[Any], list[Any]]:
    """Return the variables that a layer trained and the others; a frozen layer has only others."""
    if node.inner:
        parts = [_split(inner, rebuilding) for inner in node.inner.nodes]
        return [v for part in parts for v in part[0]], [v for part in parts for v in part[1]]
    layer = rebuilding.layer(node)
    if layer is None:
        return [], []
    trained, others = list(layer.trainable_weights), list(layer.non_trainable_weights)
    return (trained, others) if node.config.get("trainable", True) else ([], trained + others)


def load_archived(rebuilding: Rebuilding, weights: Any) -> None:
    """Load the weights of a ``.keras`` archive of Keras 2; ``weights`` is its open HDF5 file.

    Layers are named after their class there, numbered in order: ``layers/conv2d_1/vars/0``. Until Keras 2.13, each layer with
    weights was counted twice, and the folder named otherwise.

    Raises:
        StageError: the file lacks the weights of a layer, or their shapes differ.

    Source: Keras 2.15.0, ``saving_lib._save_container_state``; Keras 2.13.1, ``Functional._layer_checkpoint_dependencies``.
    """
    folder = _FORMER if _FORMER in weights else "layers"
    for node, place in _archived(rebuilding.graph, rebuilding, folder, folder):
        if (layer := rebuilding.layer(node)) is not None:
            _load_group(layer, weights.get(place, {}), f"layer '{node.name}' ({place})")
            finalise(layer)


_FORMER = "_layer_checkpoint_dependencies"


def _archived(graph: LayerGraph, rebuilding: Rebuilding, folder: str, place: str) -> Iterator[tuple[Node, str]]:
    seen: Counter[str] = Counter()
    for node in graph.nodes:
        name = _snake(node.kind.rpartition(">")[2])
        here = f"{place}/{name}_{seen[name]}" if seen[name] else f"{place}/{name}"
        seen[name] += 2 if folder == _FORMER and _has_weights(node, rebuilding) else 1
        if node.inner:
            yield from _archived(node.inner, rebuilding, folder, f"{here}/{folder}")
        else:
            yield node, here


def _has_weights(node: Node, rebuilding: Rebuilding) -> bool:
    return any(_split(node, rebuilding))


def _snake(name: str) -> str:
    name = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _load_group(layer: Any, group: Any, where: str) -> None:
    stored = group.get("vars", {})
    own = layer._trainable_variables + layer._non_trainable_variables
    assign(own, [stored[key] for key in sorted(stored, key=int)], where)
    for inner in layer._layers:
        name = _attribute(layer, inner)
        if inner.weights:
            _load_group(inner, group.get(name, {}), f"{where}/{name}")


def _attribute(layer: Any, inner: Any) -> str:
    """Return the name under which a layer holds another one; torch keeps layers apart from other attributes."""
    held = {**vars(layer), **vars(layer).get("_modules", {})}
    return next((key for key, value in held.items() if value is inner), "")


def load_named(rebuilding: Rebuilding, find: Callable[[str], Any]) -> None:
    """Load the weights of a SavedModel of Keras 2; ``find`` returns the array of a name, or ``None``.

    Layers are numbered there, those with weights separately: ``layer_with_weights-0/kernel``.

    Raises:
        StageError: the file lacks the weights of a layer, or their shapes differ.
    """
    for node, place in _numbered(rebuilding.graph, rebuilding, ""):
        layer = rebuilding.layer(node)
        for inner, folder in _with_places(layer, place):
            own = inner._trainable_variables + inner._non_trainable_variables
            arrays = []
            for variable in own:
                names = [f"{folder}/{name}" for name in (_ATTRIBUTES.get(variable.name), variable.name) if name]
                array = next((found for name in names if (found := find(name)) is not None), None)
                if array is None:
                    raise StageError(f"layer '{node.name}': the folder contains no {names[-1]}; it is corrupted")
                arrays.append(array)
            assign(own, arrays, f"layer '{node.name}' ({folder})")
        finalise(layer)


_ATTRIBUTES = {"mean": "adapt_mean", "variance": "adapt_variance"}
"""Attributes of Keras 2 that hold variables of another name."""


def _numbered(graph: LayerGraph, rebuilding: Rebuilding, prefix: str) -> Iterator[tuple[Node, str]]:
    number = 0
    for node in graph.nodes:
        place = f"{prefix}layer_with_weights-{number}"
        if node.inner:
            inner = list(_numbered(node.inner, rebuilding, f"{place}/"))
            number += bool(inner)
            yield from inner
        elif (layer := rebuilding.layer(node)) is not None and layer.weights:
            number += 1
            yield node, place


def _with_places(layer: Any, place: str) -> Iterator[tuple[Any, str]]:
    yield layer, place
    for inner in layer._layers:
        name = _attribute(layer, inner)
        yield from _with_places(inner, f"{place}/{name}")
