"""What the conversion of one node sees: its inputs, the layers it makes, and the nodes that it takes over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from temper.nn.onnx.constant_folding import Constant
from temper.nn.onnx.layer_names import layer_name, unique
from temper.nn.onnx.onnx_node import OnnxNode
from temper.nn.onnx.onnx_tensors import Array
from temper.nn.onnx.tensor_layout import Value
from temper.system import backend

if TYPE_CHECKING:
    from temper.nn.onnx.model_builder import ModelBuilder

_NOT_NEGATIVE = ("Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus")


class NodeScope:
    """The conversion of one node. A conversion may take over the nodes behind it; the last one's output is its own."""

    def __init__(self, builder: ModelBuilder, node: OnnxNode) -> None:
        self.node = node
        self.last = node
        self._builder = builder
        self._name = layer_name(node, builder.graph.tensors)

    @property
    def ops(self) -> Any:
        """``keras.ops``."""
        return backend.keras().ops

    @property
    def batch(self) -> int | None:
        """The number of images that the file fixes, or ``None`` if it is free."""
        return self._builder.graph.input_shape[0] if self._builder.graph.input_shape else None

    @property
    def before_weights(self) -> bool:
        """Whether no layer with weights has been made yet."""
        return not self._builder.weighted

    def given(self, place: int) -> Value | Constant:
        """Return an input.

        Raises:
            StageError: it is omitted.
        """
        if not self.node.has(place):
            raise self.node.refused(f"its input {place + 1} is missing")
        return self._builder.get(self.node.inputs[place])

    def value(self, place: int = 0) -> Value:
        """Return an input that depends on the images.

        Raises:
            StageError: it is omitted or constant.
        """
        found = self.given(place)
        if isinstance(found, Constant):
            raise self.node.refused(f"expected its input '{self.node.inputs[place]}' to depend on the images")
        return found

    def constant(self, place: int) -> Array:
        """Return an input that depends on no image.

        Raises:
            StageError: it is omitted, depends on the images or on their number.
        """
        found = self.given(place)
        if isinstance(found, Value) or found.other is not None:
            raise self.node.refused(f"expected its input '{self.node.inputs[place]}' to be constant")
        return found.array

    def optional(self, place: int) -> Array | None:
        """Return a constant input, or ``None`` where it is omitted."""
        return self.constant(place) if self.node.has(place) else None

    def not_negative(self, name: str) -> bool:
        """Return whether a tensor is known to have no negative values."""
        maker = self._builder.makers.get(name)
        return maker is not None and maker.op in _NOT_NEGATIVE

    def read_by(self, op: str) -> bool:
        """Return whether a node of an operator reads the output."""
        return self._builder.is_read_by(self.node.outputs[0], op)

    def next(self, op: str) -> OnnxNode | None:
        """Return the node that alone reads the output, if it is of this operator."""
        reader = self._builder.only_reader(self.last.outputs[0])
        return reader if reader is not None and reader.op == op and reader not in self._builder.done else None

    def operand(self, node: OnnxNode) -> tuple[Array, int] | None:
        """Return the constant that a node combines the output with, and its place; ``None`` if it is not constant."""
        if len(node.inputs) != 2:
            return None
        at = 1 if node.inputs[0] == self.last.outputs[0] else 0
        if node.inputs[at] not in self._builder.known:
            return None
        found = self._builder.get(node.inputs[at])
        return (found.array, at) if isinstance(found, Constant) and found.other is None else None

    def take(self, node: OnnxNode) -> None:
        """Take over the node that reads the output."""
        self._builder.done.add(node)
        self.last = node

    def layer(self, kind: str, tensor: Any, suffix: str = "", weights: Sequence[Array] = (), **options: Any) -> Any:
        """Return the output of a new Keras layer named after the node, with these weights."""
        name = unique(f"{self._name}.{suffix}" if suffix else self._name, self._builder.taken)
        layer = getattr(backend.keras().layers, kind)(name=name, **options)
        output = layer(tensor)
        if weights:
            self._builder.weighted = True
            layer.set_weights(list(weights))
        return output

    def once(self, kind: str, tensor: Any, suffix: str, **options: Any) -> Any:
        """Return the output of a layer without weights, the same if it was made before."""
        key = (id(tensor), kind, repr(sorted(options.items())))
        if key not in self._builder.made:
            # The tensor is kept, so that its id stays its own.
            self._builder.made[key] = tensor, self.layer(kind, tensor, suffix, **options)
        return self._builder.made[key][1]
