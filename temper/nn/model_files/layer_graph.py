"""The layers of a saved model and how they are connected, read from its configuration without a framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from temper.core.errors import StageError

Shape = tuple[int | None, ...]

WIDTHS = ("units", "output_dim", "filters", "nb_filter")
"""Options that state the number of outputs of a layer."""
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
class Reference:
    """An output of a call of a layer: numbers of the call, as the configuration counts them, and of the output."""

    layer: str
    call: int = 0
    output: int = 0


@dataclass(frozen=True)
class Call:
    """What a layer is called with: values, each a ``Reference``, a list of these or a constant, and named values."""

    values: tuple[Any, ...]
    options: Mapping[str, Any]

    def references(self) -> Iterator[Reference]:
        """Yield the outputs of other layers that the call uses."""
        yield from _references([*self.values, *self.options.values()])


@dataclass(frozen=True)
class Node:
    """A layer of the configuration: its class, its options and its calls; ``inner`` is the graph of a nested model.

    ``channels`` are those of the input it was built for, 1 if the configuration does not say.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    calls: tuple[Call, ...]
    channels: int = 1
    inner: LayerGraph | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the layers it is first called on."""
        return tuple(reference.layer for reference in self.calls[0].references())


@dataclass(frozen=True)
class LayerGraph:
    """A model with one input and one output; ``nodes`` are in the order of the configuration, without the input.

    ``input_shape`` is without the batch axis; ``None`` in it means any size.
    """

    nodes: tuple[Node, ...]
    input_name: str
    input_shape: Shape
    output: Reference

    @property
    def num_outputs(self) -> int | None:
        """Width of the output, or ``None`` if the configuration does not state it."""
        by_name = {node.name: node for node in self.nodes}
        node = by_name.get(self.output.layer)
        seen: set[str] = set()
        while node and node.name not in seen and node.kind in _KEEPS_WIDTH and len(node.inputs) == 1:
            seen.add(node.name)
            node = by_name.get(node.inputs[0])
        if node and node.inner:
            return node.inner.num_outputs
        widths = (plain(node.config.get(key)) for key in WIDTHS) if node else ()
        return next((int(width) for width in widths if width is not None), None)

    @property
    def least_weights(self) -> int:
        """A lower bound on the number of weights, from the layers' own options."""
        return sum(node.inner.least_weights if node.inner else _least_weights(node) for node in self.nodes)

    def leaves(self) -> Iterator[Node]:
        """Yield every layer that is not a model itself, with those of nested models."""
        for node in self.nodes:
            yield from node.inner.leaves() if node.inner else (node,)

    def connect(self, tensor: Any, layer_of: Callable[[Node], Callable[..., Any]]) -> Any:
        """Return the output tensor of the layers for the input ``tensor``; each layer is asked for once.

        Raises:
            StageError: a layer refers to an output that is not computed before it.
        """
        # Saved numbers of calls start at 1 for nested models and at 0 otherwise; every call is referred to, so the lowest is the first.
        first: dict[str, int] = {}
        for reference in [self.output, *(r for node in self.nodes for call in node.calls for r in call.references())]:
            first[reference.layer] = min(reference.call, first.get(reference.layer, reference.call))
        tensors: dict[tuple[str, int], Any] = {(self.input_name, first.get(self.input_name, 0)): tensor}
        callables = {node.name: layer_of(node) for node in self.nodes}
        pending = [
            (node, number, call)
            for node in self.nodes
            for number, call in enumerate(node.calls, first.get(node.name, 0))
        ]
        while pending:
            waiting = []
            for node, number, call in pending:
                if all((r.layer, r.call) in tensors for r in call.references()):
                    values = [_filled(value, tensors) for value in call.values]
                    options = {key: _filled(value, tensors) for key, value in call.options.items()}
                    tensors[node.name, number] = callables[node.name](*values, **options)
                else:
                    waiting.append((node, number, call))
            if len(waiting) == len(pending):
                node, _, call = waiting[0]
                missing = next(r.layer for r in call.references() if (r.layer, r.call) not in tensors)
                raise StageError(f"layer '{node.name}': its input '{missing}' does not precede it")
            pending = waiting
        if (self.output.layer, self.output.call) not in tensors:
            raise StageError(f"the output '{self.output.layer}' is no layer of the model")
        return _filled(self.output, tensors)


def plain(value: Any) -> Any:
    """Return a number that old versions wrote as a zero-dimensional NumPy array."""
    return value["value"] if isinstance(value, Mapping) and value.get("type") == "ndarray" else value


def _references(value: Any) -> Iterator[Reference]:
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _references(item)


def _filled(value: Any, tensors: Mapping[tuple[str, int], Any]) -> Any:
    """Return a value of a call with each reference replaced by its tensor."""
    if isinstance(value, Reference):
        outputs = tensors[value.layer, value.call]
        return outputs[value.output] if isinstance(outputs, list | tuple) else outputs
    return [_filled(item, tensors) for item in value] if isinstance(value, list) else value


def _least_weights(node: Node) -> int:
    """Return the number of weights of a layer for one channel, or for as many as it was built for."""
    widths = [width for key in WIDTHS if (width := plain(node.config.get(key))) is not None]
    sides = [side for key in _KERNELS for side in _flat(plain(node.config.get(key)))]
    return math.prod([*widths[:1], *sides, node.channels if widths else 1]) if widths or sides else 0


def _flat(value: Any) -> list[int]:
    return [n for n in (value if isinstance(value, list) else [value]) if type(n) is int and n > 0]
