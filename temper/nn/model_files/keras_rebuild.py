"""Rebuilds models of Keras 1 and 2 from their configuration and a closed list of layers, running no code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from temper.core.errors import StageError, did_you_mean
from temper.nn.editing.logits import free_name
from temper.nn.model_files import own_objects
from temper.nn.model_files.keras_layers import ACTIVATIONS, CLASSES, LAYERS, RENAMED, harmless
from temper.nn.model_files.layer_graph import Call, LayerGraph, Node, plain
from temper.nn.model_files.tensorflow_functions import check_call, function
from temper.system import backend

Options = dict[str, Any]

FUNCTIONS = ("TFOpLambda", "SlicingOpLambda")
"""Layers of Keras 2 that call a TensorFlow function."""
_IDENTITY = ("ActivityRegularization", "Identity")
_ATTENTION = ("query", "value", "key")
"""Tensors that a call may name."""
_FIRST = "channels_first"


@dataclass
class Rebuilding:
    """The Keras layers of a graph; nested models become their layers, as units inside a model cannot be observed."""

    graph: LayerGraph
    layers: dict[int, Any] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def model(self) -> Any:
        """Return a functional Keras model with initial weights.

        Raises:
            StageError: a layer is outside the closed list, or the layers do not fit together.
        """
        keras = backend.keras()
        self._taken |= {node.name for node in self.graph.nodes}
        inputs = keras.Input(self.graph.input_shape)
        return keras.Model(inputs, self.graph.connect(inputs, self._callable))

    def layer(self, node: Node) -> Any:
        """Return the Keras layer of a node, if it has one."""
        return self.layers.get(id(node))

    def _callable(self, node: Node) -> Callable[..., Any]:
        if (inner := node.inner) is not None:
            return lambda tensor, **_: inner.connect(tensor, self._callable)
        if node.kind in FUNCTIONS:
            return function(node.config.get("function"))
        if id(node) not in self.layers:
            self.layers[id(node)] = layer(node, self._name(node))
        return _in_order(node, _behind(node, self.layers[id(node)]))

    def _name(self, node: Node) -> str:
        name = node.name.replace("/", "_")
        if node not in self.graph.nodes:
            name = free_name(name, self._taken)
            self._taken.add(name)
        return name


def faults(graph: LayerGraph) -> Iterator[str]:
    """Yield the layers of a model that cannot be rebuilt; imports no framework."""
    for node in graph.leaves():
        try:
            if node.kind in FUNCTIONS:
                for call in node.calls:
                    check_call(node.config.get("function"), len(call.values), call.options)
            else:
                if own_objects.registered(node.kind) is None:
                    _options(node)
                for call in node.calls:
                    _check_call(node, call)
        except StageError as error:
            text = str(error)
            yield text if text.startswith("layer ") else f"layer '{node.name}' {text}"


def layer(node: Node, name: str | None = None) -> Any:
    """Return the public Keras layer that a node describes, not yet built; ``name`` instead of its own.

    Raises:
        StageError: the node is outside the closed list.
    """
    if (own := own_objects.registered(node.kind)) is not None:
        config = {key: value for key, value in node.config.items() if key != "batch_input_shape"}
        return own.from_config({**config, "name": name or node.name})
    kind, options = _options(node)
    keras = backend.keras()
    if kind in _IDENTITY or kind == "ThresholdedReLU":
        kind, options = "Activation", {"activation": "linear"}
    for key in ("activation", "recurrent_activation"):
        if key in options:
            options[key] = _activation(options[key])
    for key in ("layer", "backward_layer"):
        if options.get(key) is not None:
            options[key] = layer(_wrapped(node, options[key]))
    built = getattr(keras.layers, kind)(name=name or node.name, **options)
    built.trainable = node.config.get("trainable") is not False
    return built


def _activation(value: str) -> Any:
    # Applied behind the layer: Keras 3 computes another function under this name than Keras 1 and 2.
    return "linear" if value == "hard_sigmoid" else own_objects.registered(value) or value


def _behind(node: Node, built: Any) -> Callable[..., Any]:
    """Return a layer followed by what Keras 3 has no layer or no name for."""
    ops = backend.keras().ops
    if node.kind == "ThresholdedReLU":
        theta = plain(node.config.get("theta", 1.0))
        return lambda x: x * ops.cast(x > theta, x.dtype)
    if node.config.get("activation") == "hard_sigmoid" and node.kind in LAYERS:
        return lambda *tensors, **options: ops.clip(0.2 * built(*tensors, **options) + 0.5, 0.0, 1.0)
    return built  # type: ignore[no-any-return]


def _in_order(node: Node, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a layer that takes channels first as one that takes them last: no CPU kernel computes the former."""
    if order_of(node) != _FIRST:
        return call
    ops = backend.keras().ops

    def moved(tensor: Any, **options: Any) -> Any:
        rank = len(tensor.shape)
        last = call(ops.transpose(tensor, (0, *range(2, rank), 1)), **options)
        return ops.transpose(last, (0, rank - 1, *range(1, rank - 1))) if len(last.shape) == rank else last

    return moved


def order_of(node: Node) -> str | None:
    """Return ``channels_first`` or ``channels_last`` if a layer states it."""
    order = node.config.get("data_format") or {"th": _FIRST, "tf": "channels_last"}.get(
        node.config.get("dim_ordering", "")
    )
    return order if isinstance(order, str) else None


def takes_channels_first(graph: LayerGraph) -> bool:
    """Return whether the first layer that states an order states channels first, or the first layer moves them last."""
    for node in graph.leaves():
        if node.kind == "Permute" and node.inputs == (graph.input_name,):
            return tuple(node.config.get("dims", ())) == (2, 3, 1)
        if (order := order_of(node)) is not None:
            return order == _FIRST
    return False


def _check_call(node: Node, call: Call) -> None:
    extra = sorted(call.options.keys() - (set(_ATTENTION) if node.kind in ("MultiHeadAttention",) else set()))
    extra = [key for key in extra if call.options[key] is not False]
    if len(call.values) != 1 or extra:
        more = f" ({', '.join(extra)})" if extra else ""
        raise StageError(
            f"layer '{node.name}' ({node.kind}) is called with extra arguments{more}; expected tensors only"
        )


def _options(node: Node) -> tuple[str, Options]:
    where = f"layer '{node.name}'"
    kind = CLASSES.get(node.kind, node.kind)
    if kind not in LAYERS:
        if ">" in kind:
            raise StageError(f"{where}: {own_objects.advice(kind)}")
        raise StageError(
            f"{where}: cannot rebuild a {node.kind}{did_you_mean(kind, LAYERS)}; known are {', '.join(LAYERS)}; {own_objects.LAYER}"
        )
    options = {RENAMED.get(kind, {}).get(key, key): value for key, value in node.config.items()}
    if kind == "Conv2D" and "nb_row" in options:
        options["kernel_size"] = [options.pop("nb_row"), options.pop("nb_col")]
    for check in (_check_order, _check_activation, _check_normalisation):
        check(kind, options, where)
    known = LAYERS[kind]
    for key, value in options.items():
        if key not in known and not harmless(key, value):
            raise StageError(f"{where} ({node.kind}): option {key}={value!r} is unknown; expected {', '.join(known)}")
        if key in ("layer", "backward_layer") and value is not None:
            _options(_wrapped(node, value))
    return kind, {key: plain(value) for key, value in options.items() if key in known}


def _wrapped(node: Node, raw: Any) -> Node:
    """Return the layer that another one wraps.

    Raises:
        StageError: it is no layer, or one that computes something behind Keras's own layer.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("config"), Mapping):
        raise StageError(f"layer '{node.name}' ({node.kind}): expected the layer it wraps, received something else")
    inner = Node(str(raw.get("class_name")), str(raw["config"].get("name", node.name)), raw["config"], node.calls)
    if (
        inner.kind == "ThresholdedReLU"
        or "hard_sigmoid" in map(str, inner.config.values())
        or order_of(inner) == _FIRST
    ):
        raise StageError(
            f"layer '{node.name}' ({node.kind}): the layer it wraps is computed differently by Keras 3; unwrap it"
        )
    return inner


def _check_order(kind: str, options: Options, where: str) -> None:
    order = options.pop("data_format", None) or {"th": _FIRST}.get(options.pop("dim_ordering", ""))
    options.pop("dim_ordering", None)
    if order == _FIRST and kind in ("GroupNormalization",):
        raise StageError(f"{where} ({kind}): expected channels_last, received channels_first")


def _check_activation(kind: str, options: Options, where: str) -> None:
    for key in ("activation", "recurrent_activation"):
        if key not in options:
            continue
        value = options[key] = own_objects.name_of_function(options[key])
        if value not in ACTIVATIONS and own_objects.registered(value) is None:
            advice = f"; {own_objects.advice(value)}" if isinstance(value, str) and ">" in value else ""
            raise StageError(f"{where} ({kind}): {key} {value!r} is unknown; expected {', '.join(ACTIVATIONS)}{advice}")
        if value == "hard_sigmoid" and "recurrent_activation" in options:
            raise StageError(
                f"{where} ({kind}): Keras 3 computes another hard_sigmoid than Keras 1 and 2, and this layer applies it inside"
            )


def _check_normalisation(kind: str, options: Options, where: str) -> None:
    if kind != "BatchNormalization":
        return
    if isinstance(axis := options.get("axis"), list):
        (options["axis"],) = axis
    if options.pop("mode", 0) != 0:
        raise StageError(f"{where} ({kind}): expected mode 0 (per feature); the other modes of Keras 1 no longer exist")
