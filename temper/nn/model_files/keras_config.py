"""Parses the configuration of a saved Keras model of any version: its layers and connections."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from temper.core.errors import StageError

Shape = tuple[int | None, ...]

_SEQUENTIAL, _FUNCTIONAL = ("Sequential",), ("Model", "Functional")
_WIDTHS = ("units", "output_dim", "filters", "nb_filter")
_KERNELS = ("kernel_size", "nb_row", "nb_col")
_KEEPS_WIDTH = (
    "Activation",
    "BatchNormalization",
    "Dropout",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Softmax",
)


@dataclass(frozen=True)
class Node:
    """A layer of the configuration: its class, and the names of the layers it is called on.

    ``refusal`` says why it cannot be called again on other tensors; empty if it can. ``channels`` are those of the
    input it was built for, 1 if the configuration does not say.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    refusal: str = ""
    channels: int = 1


@dataclass(frozen=True)
class LayerGraph:
    """A model with one input and one output; ``nodes`` are in calling order, without the input.

    ``input_shape`` is without the batch axis; ``None`` in it means any size.
    """

    nodes: tuple[Node, ...]
    input_name: str
    input_shape: Shape
    output_name: str

    @property
    def num_outputs(self) -> int | None:
        """Width of the output, or ``None`` if the configuration does not state it."""
        by_name = {node.name: node for node in self.nodes}
        node = by_name.get(self.output_name)
        seen: set[str] = set()
        while node and node.name not in seen and node.kind in _KEEPS_WIDTH and len(node.inputs) == 1:
            seen.add(node.name)
            node = by_name.get(node.inputs[0])
        widths = (plain(node.config.get(key)) for key in _WIDTHS) if node else ()
        return next((int(width) for width in widths if width is not None), None)

    @property
    def least_weights(self) -> int:
        """A lower bound on the number of weights, from the layers' own options."""
        return sum(map(_least_weights, self.nodes))

    def connect(self, tensor: Any, layer_of: Callable[[Node], Any]) -> Any:
        """Return the output tensor of the layers for the input ``tensor``.

        Raises:
            StageError: a layer is called in a way that cannot be repeated.
        """
        tensors = {self.input_name: tensor}
        for node in self.nodes:
            if node.refusal:
                raise StageError(f"layer '{node.name}' ({node.kind}) {node.refusal}")
            if unknown := [name for name in node.inputs if name not in tensors]:
                raise StageError(f"layer '{node.name}': its input '{unknown[0]}' does not precede it")
            given = [tensors[name] for name in node.inputs]
            tensors[node.name] = layer_of(node)(given[0] if len(given) == 1 else given)
        return tensors[self.output_name]


def parse(model: Mapping[str, Any]) -> LayerGraph:
    """Return the graph of a model's configuration (``{"class_name": ..., "config": ...}``) of Keras 1, 2 or 3.

    Raises:
        StageError: it is not a Sequential or Functional model, or does not have exactly one input and one output.
    """
    kind, config = model.get("class_name"), model.get("config")
    try:
        if kind in _SEQUENTIAL and isinstance(config, list | Mapping):
            return _sequential(_layers(config if isinstance(config, list) else config["layers"]))
        if kind in _FUNCTIONAL and isinstance(config, Mapping):
            return _functional(config, _layers(config["layers"]))
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise StageError(
            f"the connections of the {kind} model are not as Keras writes them ({type(error).__name__}: {error}); the file is "
            "corrupted, or written by another program"
        ) from error
    raise StageError(f"expected a Sequential or Functional model, received {_shown(kind)}; save it as one of these")


def plain(value: Any) -> Any:
    """Return a number that old versions wrote as a zero-dimensional NumPy array."""
    return value["value"] if isinstance(value, Mapping) and value.get("type") == "ndarray" else value


def _layers(layers: Any) -> list[Mapping[str, Any]]:
    """Return the layers of a configuration, each with a class, a mapping of options and widths that are numbers.

    Raises:
        StageError: there is no list, or a layer is something else.
    """
    if not isinstance(layers, list):
        raise StageError(f"expected a list of layers, received {_shown(layers)}")
    for number, raw in enumerate(layers, 1):
        if not isinstance(raw, Mapping) or not isinstance(raw.get("class_name"), str):
            raise StageError(f"layer {number}: expected a mapping with a class_name, received {_shown(raw)}")
        where, config = f"layer {number} ({raw['class_name'][:40]})", raw.get("config")
        if not isinstance(config, Mapping):
            raise StageError(f"{where}: expected its options as a mapping, received {_shown(config)}")
        if not isinstance(config.get("name", raw.get("name", "")), str):
            raise StageError(f"{where}: expected its name as text, received {_shown(config.get('name'))}")
        for key in _WIDTHS:
            width = plain(config.get(key))
            if width is not None and (type(width) is not int or width < 1):
                raise StageError(f"{where}: {key}: expected an integer of at least 1, received {_shown(width)}")
    return layers


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _sequential(layers: list[Mapping[str, Any]]) -> LayerGraph:
    nodes: list[Node] = []
    shape, previous = _input_shape(layers[0]), "input"
    for raw in layers:
        if raw["class_name"] == "InputLayer":
            continue
        name = raw["config"].get("name") or f"layer_{len(nodes)}"
        nodes.append(Node(raw["class_name"], name, raw["config"], (previous,), channels=_channels(raw)))
        previous = name
    if shape is None:
        raise StageError(
            f"the first layer ({layers[0]['class_name']}) states no input shape; save the model after building it"
        )
    return LayerGraph(tuple(nodes), "input", shape, previous)


def _functional(config: Mapping[str, Any], layers: list[Mapping[str, Any]]) -> LayerGraph:
    inputs, outputs = _ends(config["input_layers"]), _ends(config["output_layers"])
    if len(inputs) != 1 or len(outputs) != 1:
        raise StageError(f"expected one input and one output, received inputs {inputs} and outputs {outputs}")
    by_name = {raw["config"].get("name") or raw["name"]: raw for raw in layers}
    shape = _input_shape(by_name[inputs[0]])
    if shape is None:
        raise StageError(f"input '{inputs[0]}' states no shape")
    nodes = [_node(name, raw) for name, raw in by_name.items() if name != inputs[0]]
    return LayerGraph(tuple(nodes), inputs[0], shape, outputs[0])


def _node(name: str, raw: Mapping[str, Any]) -> Node:
    calls = raw["inbound_nodes"]
    refusal = "" if len(calls) == 1 else f"is called {len(calls)} times; expected once"
    sources: list[str] = []
    for call in calls[:1]:
        if isinstance(call, Mapping):  # Keras 3
            sources = list(_histories(call["args"]))
            nested = bool(call["args"]) and isinstance(call["args"][0], list)
            extra = {key: value for key, value in call.get("kwargs", {}).items() if value is not None}
            if extra.keys() - {"training", "mask"} or (len(call["args"]) > 1 and not nested):
                refusal = "is called with extra arguments; expected tensors only"
        else:
            sources = [source[0] for source in call]
            if any(len(source) > 3 and source[3] for source in call):
                refusal = "is called with extra arguments; expected tensors only"
    return Node(raw["class_name"], name, raw["config"], tuple(sources), refusal, _channels(raw))


def _channels(raw: Mapping[str, Any]) -> int:
    built = raw.get("build_config")
    shape = built.get("input_shape") if isinstance(built, Mapping) else None
    groups = raw["config"].get("groups")
    channels = shape[-1] if isinstance(shape, list) and shape and type(shape[-1]) is int else 1
    return max(1, channels // groups) if type(groups) is int and groups > 0 else max(1, channels)


def _histories(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "keras_history" in value:
            yield value["keras_history"][0]
        for item in value.values():
            yield from _histories(item)
    elif isinstance(value, list):
        for item in value:
            yield from _histories(item)


def _ends(ends: list[Any]) -> list[str]:
    """Return the names in ``[[name, 0, 0], ...]``, which Keras 3 writes flat if there is one."""
    return [ends[0]] if isinstance(ends[0], str) else [end[0] for end in ends]


def _input_shape(layer: Mapping[str, Any]) -> Shape | None:
    config = layer["config"]
    for key in ("batch_input_shape", "batch_shape"):
        if (shape := config.get(key)) is not None:
            if not isinstance(shape, list) or any(n is not None and (type(n) is not int or n < 1) for n in shape[1:]):
                raise StageError(f"{key}: expected integers of at least 1, or null, received {_shown(shape)}")
            return tuple(shape[1:])
    return None


def _least_weights(node: Node) -> int:
    """Return the number of weights of a layer for one channel, or for as many as it was built for."""
    widths = [width for key in _WIDTHS if (width := plain(node.config.get(key))) is not None]
    sides = [side for key in _KERNELS for side in _flat(plain(node.config.get(key)))]
    return math.prod([*widths[:1], *sides, node.channels if widths else 1]) if widths or sides else 0


def _flat(value: Any) -> list[int]:
    return [n for n in (value if isinstance(value, list) else [value]) if type(n) is int and n > 0]
