"""What the configuration of a saved Keras model says, of any version: its layers, and how they are connected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.faults import StageError

Shape = tuple[int | None, ...]

_SEQUENTIAL, _FUNCTIONAL = ("Sequential",), ("Model", "Functional")
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

    ``refusal`` says why it cannot be called again on other tensors; empty where it can.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    refusal: str = ""


@dataclass(frozen=True)
class Graph:
    """A model with one input and one output; ``nodes`` are in calling order, the input not among them.

    ``input_shape`` is without the batch axis; ``None`` in it means any size.
    """

    nodes: tuple[Node, ...]
    input_name: str
    input_shape: Shape
    output_name: str

    @property
    def num_outputs(self) -> int | None:
        """Width of the output, or ``None`` where the configuration does not say it outright."""
        by_name = {node.name: node for node in self.nodes}
        node = by_name.get(self.output_name)
        while node and node.kind in _KEEPS_WIDTH and len(node.inputs) == 1:
            node = by_name.get(node.inputs[0])
        width = (node.config.get(key) for key in ("units", "output_dim", "filters", "nb_filter")) if node else ()
        return next((int(w) for w in width if w is not None), None)

    def connect(self, tensor: Any, layer_of: Callable[[Node], Any]) -> Any:
        """Return the output tensor that the layers give when the input is ``tensor``.

        Raises:
            StageError: a layer is called in a way that cannot be repeated.
        """
        tensors = {self.input_name: tensor}
        for node in self.nodes:
            if node.refusal:
                raise StageError(f"layer '{node.name}' ({node.kind}) {node.refusal}")
            if unknown := [name for name in node.inputs if name not in tensors]:
                raise StageError(f"layer '{node.name}': its input '{unknown[0]}' does not come before it")
            given = [tensors[name] for name in node.inputs]
            tensors[node.name] = layer_of(node)(given[0] if len(given) == 1 else given)
        return tensors[self.output_name]


def parse(model: Mapping[str, Any]) -> Graph:
    """Return the graph of a model's configuration (``{"class_name": ..., "config": ...}``) of Keras 1, 2 or 3.

    Raises:
        StageError: it is no Sequential or Functional model, or has not exactly one input and one output.
    """
    kind, config = model.get("class_name"), model.get("config")
    try:
        if kind in _SEQUENTIAL and config is not None:
            return _sequential(config if isinstance(config, list) else config["layers"])
        if kind in _FUNCTIONAL and isinstance(config, Mapping):
            return _functional(config)
    except (KeyError, IndexError, TypeError) as error:
        raise StageError(
            f"the configuration of the {kind} model is damaged ({type(error).__name__}: {error})"
        ) from error
    raise StageError(f"expected a Sequential or Functional model, received {kind!r}; save it as one of these")


def _sequential(layers: list[Mapping[str, Any]]) -> Graph:
    nodes: list[Node] = []
    shape, previous = _input_shape(layers[0]), "input"
    for raw in layers:
        if raw["class_name"] == "InputLayer":
            continue
        name = raw["config"].get("name") or f"layer_{len(nodes)}"
        nodes.append(Node(raw["class_name"], name, raw["config"], (previous,)))
        previous = name
    if shape is None:
        raise StageError(
            f"the first layer ({layers[0]['class_name']}) states no input shape; save the model once built"
        )
    return Graph(tuple(nodes), "input", shape, previous)


def _functional(config: Mapping[str, Any]) -> Graph:
    inputs, outputs = _ends(config["input_layers"]), _ends(config["output_layers"])
    if len(inputs) != 1 or len(outputs) != 1:
        raise StageError(f"expected one input and one output, received inputs {inputs} and outputs {outputs}")
    by_name = {raw["config"].get("name") or raw["name"]: raw for raw in config["layers"]}
    shape = _input_shape(by_name[inputs[0]])
    if shape is None:
        raise StageError(f"input '{inputs[0]}' states no shape")
    nodes = [_node(name, raw) for name, raw in by_name.items() if name != inputs[0]]
    return Graph(tuple(nodes), inputs[0], shape, outputs[0])


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
                refusal = "is called with further arguments; expected tensors only"
        else:
            sources = [source[0] for source in call]
            if any(len(source) > 3 and source[3] for source in call):
                refusal = "is called with further arguments; expected tensors only"
    return Node(raw["class_name"], name, raw["config"], tuple(sources), refusal)


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
    """Return the names in ``[[name, 0, 0], ...]``, which Keras 3 writes flat where there is one."""
    return [ends[0]] if isinstance(ends[0], str) else [end[0] for end in ends]


def _input_shape(layer: Mapping[str, Any]) -> Shape | None:
    config = layer["config"]
    for key in ("batch_input_shape", "batch_shape"):
        if config.get(key) is not None:
            return tuple(config[key][1:])
    return None
