"""Parses the configuration of a saved Keras model of any version: its layers and connections."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from temper.core.errors import StageError
from temper.nn.model_files.layer_graph import WIDTHS, Call, LayerGraph, Node, Reference, Shape, plain

_SEQUENTIAL, _FUNCTIONAL = ("Sequential",), ("Model", "Functional")
_FUNCTIONS = ("TFOpLambda", "SlicingOpLambda")
_CONSTANT = "_CONSTANT_VALUE"
"""Stands for the layer's name where Keras 2 calls a function on a constant."""
_IGNORED = ("training", "name")
"""Options of a call that change nothing in inference."""


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
    raise StageError(
        f"expected a Sequential or Functional model, received {_shown(kind)}, whose code is not in the file; build the same "
        "layers with keras.Sequential or keras.Model(inputs, outputs), copy the weights and save that"
    )


def is_current(model: Mapping[str, Any]) -> bool:
    """Return whether Keras 3 wrote a configuration: its input layer states a ``batch_shape``."""
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, Mapping) else config
    if not isinstance(layers, list):
        return False
    first = next((raw for raw in layers if isinstance(raw, Mapping)), {})
    options = first.get("config")
    if first.get("class_name") in (*_SEQUENTIAL, *_FUNCTIONAL):
        return is_current(first)
    return isinstance(options, Mapping) and "batch_shape" in options


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
        if raw["class_name"] in _SEQUENTIAL and isinstance(config, list):
            continue
        if not isinstance(config, Mapping):
            raise StageError(f"{where}: expected its options as a mapping, received {_shown(config)}")
        if not isinstance(config.get("name", raw.get("name", "")), str):
            raise StageError(f"{where}: expected its name as text, received {_shown(config.get('name'))}")
        for key in WIDTHS:
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
        name = _name(raw) or f"layer_{len(nodes)}"
        nodes.append(_node(name, raw, (Call((Reference(previous),), {}),)))
        previous = name
    if shape is None:
        raise StageError(
            f"the first layer ({layers[0]['class_name']}) states no input shape; save the model after building it"
        )
    return LayerGraph(tuple(nodes), "input", shape, Reference(previous))


def _functional(config: Mapping[str, Any], layers: list[Mapping[str, Any]]) -> LayerGraph:
    inputs, outputs = _ends(config["input_layers"]), _ends(config["output_layers"])
    if len(inputs) != 1 or len(outputs) != 1:
        names = [[end.layer for end in ends] for ends in (inputs, outputs)]
        raise StageError(f"expected one input and one output, received inputs {names[0]} and outputs {names[1]}")
    by_name = {_name(raw): raw for raw in layers}
    entry = inputs[0].layer
    shape = _input_shape(by_name[entry])
    if shape is None:
        raise StageError(f"input '{entry}' states no shape")
    nodes = [
        _node(name, raw, tuple(_call(call, raw["class_name"], by_name) for call in raw["inbound_nodes"]))
        for name, raw in by_name.items()
        if name != entry
    ]
    return LayerGraph(tuple(nodes), entry, shape, outputs[0])


def _name(raw: Mapping[str, Any]) -> str:
    options = raw["config"]
    return str((options.get("name") if isinstance(options, Mapping) else None) or raw.get("name") or "")


def _node(name: str, raw: Mapping[str, Any], calls: tuple[Call, ...]) -> Node:
    kind, options = raw["class_name"], raw["config"]
    if kind in (*_SEQUENTIAL, *_FUNCTIONAL):
        try:
            return Node(kind, name, {}, calls, inner=parse(raw))
        except StageError as error:
            raise StageError(f"nested model '{name}': {error}") from None
    own = raw.get("registered_name")
    return Node(own if isinstance(own, str) and ">" in own else kind, name, options, calls, _channels(raw))


def _call(call: Any, kind: str, known: Collection[str]) -> Call:
    if isinstance(call, Mapping):  # Keras 3
        values = tuple(_current_value(value) for value in call["args"])
        options = {key: _current_value(value) for key, value in call.get("kwargs", {}).items()}
        return Call(values, _kept(options))
    # Keras 2 writes a call on one tensor with or without a list around it, and repeats the options for each tensor.
    single = isinstance(call[0], str)
    sources = [call] if single else call
    sent = [_source(source) for source in sources]
    given = sources[0][3] if len(sources[0]) > 3 else {}
    options = {key: _former_value(value, known) for key, value in given.items()}
    alone = single or (len(sent) == 1 and kind not in _FUNCTIONS)
    return Call((sent[0] if alone else sent,), _kept(options))


def _kept(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None and key not in _IGNORED}


def _source(source: list[Any]) -> Any:
    return source[2] if source[0] == _CONSTANT else _reference(*source[:3])


def _reference(layer: Any, call: Any = 0, output: Any = 0) -> Reference:
    if not isinstance(layer, str):
        raise ValueError(f"expected the name of a layer, received {_shown(layer)}")
    return Reference(layer, int(call), int(output))


def _former_value(value: Any, known: Collection[str]) -> Any:
    """Return a value of a call of Keras 2, in which ``[name, call, output]`` is an output of a layer."""
    if isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str) and (value[0] in known or value[0] == _CONSTANT):
            return _source(value)
        return [_former_value(item, known) for item in value]
    return value


def _current_value(value: Any) -> Any:
    """Return a value of a call of Keras 3, in which a mapping with a ``keras_history`` is an output of a layer."""
    if isinstance(value, Mapping):
        options = value.get("config")
        if isinstance(options, Mapping) and "keras_history" in options:
            layer, call, output = options["keras_history"]
            return _reference(layer, call, output)
    return [_current_value(item) for item in value] if isinstance(value, list) else value


def _channels(raw: Mapping[str, Any]) -> int:
    built = raw.get("build_config")
    shape = built.get("input_shape") if isinstance(built, Mapping) else None
    groups = raw["config"].get("groups")
    channels = shape[-1] if isinstance(shape, list) and shape and type(shape[-1]) is int else 1
    return max(1, channels // groups) if type(groups) is int and groups > 0 else max(1, channels)


def _ends(ends: list[Any]) -> list[Reference]:
    """Return the references in ``[[name, 0, 0], ...]``, which Keras 3 writes flat if there is one."""
    return [_reference(*end[:3]) for end in ([ends] if isinstance(ends[0], str) else ends)]


def _input_shape(layer: Mapping[str, Any]) -> Shape | None:
    config = layer["config"]
    if isinstance(config, list):  # a nested model of Keras 1
        return _input_shape(config[0])
    for key in ("batch_input_shape", "batch_shape"):
        if (shape := config.get(key)) is not None:
            if not isinstance(shape, list) or any(n is not None and (type(n) is not int or n < 1) for n in shape[1:]):
                raise StageError(f"{key}: expected integers of at least 1, or null, received {_shown(shape)}")
            return tuple(shape[1:])
    if isinstance(layers := config.get("layers"), list) and layers:
        return _input_shape(layers[0])
    return None
