"""Builds a functional Keras model of an ONNX graph, node by node."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from temper.core.errors import StageError
from temper.nn.onnx.arrangement import single
from temper.nn.onnx.constant_folding import FOLDABLE, Constant, folded, shape_constant
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.onnx_graph import OnnxGraph
from temper.nn.onnx.onnx_node import OnnxNode
from temper.nn.onnx.onnx_tensors import array_of
from temper.nn.onnx.tensor_layout import BATCHES, Axes, Value
from temper.system import backend

Converted = Value | Constant | list[Value]
Converter = Callable[[NodeScope], Converted]

MAX_VALUES = 2**28
"""Maximum number of values of a layer for one image."""
_KEPT = 2**16
"""Size in bytes from which weights are read again instead of being kept."""


class ModelBuilder:
    """The state of a conversion.

    Attributes:
        graph: the graph to convert.
        known: tensors by name: Keras tensors, constants, and initial tensors not yet read.
        done: nodes that were converted together with one before them.
        taken: names of layers.
        makers: the nodes that compute tensors, by the tensor's name.
        made: layers without weights that may be shared, by input and options.
        weighted: whether a layer with weights was made.
    """

    def __init__(self, graph: OnnxGraph, converters: Mapping[str, Converter]) -> None:
        self.graph = graph
        self.known: dict[str, Any] = dict(graph.tensors)
        self.done: set[OnnxNode] = set()
        self.taken: set[str] = set()
        self.made: dict[Any, tuple[Any, Any]] = {}
        self.weighted = False
        self._converters = converters
        self._readers: dict[str, list[OnnxNode]] = {}
        for node in graph.nodes:
            for name in {*node.inputs}:
                self._readers.setdefault(name, []).append(node)
        self.makers = {name: node for node in graph.nodes for name in node.outputs}
        self._left = Counter({name: len(readers) for name, readers in self._readers.items()})

    def build(self, image: tuple[int, ...], axes: Axes) -> Any:
        """Return the model of images of a shape, whose ONNX tensor has ``axes``.

        Raises:
            StageError: a node cannot be converted; the message names it.
        """
        keras = backend.keras()
        self.taken.add("images")
        images = keras.Input(image, name="images")
        self.known[self.graph.input_name] = Value(images, axes)
        for node in self.graph.nodes:
            if node not in self.done:
                self._convert(node)
            for name in {*node.inputs}:
                self._left[name] -= 1
                if not self._left[name] and name != self.graph.output_name:
                    self.known.pop(name, None)
        output = self.get(self.graph.output_name)
        if isinstance(output, Constant):
            raise StageError(f"the output '{self.graph.output_name}' does not depend on the images")
        last = NodeScope(self, self.graph.nodes[-1])
        tensor = single(last, output).tensor
        if len(tensor.shape) > 2 and all(side == 1 for side in tensor.shape[2:]):
            tensor = last.layer("Flatten", tensor, "flatten")
        return keras.Model(images, tensor)

    def get(self, name: str) -> Value | Constant:
        """Return a tensor by name; reads an initial tensor from the file when it is first needed."""
        if name not in self.known:
            raise StageError(f"the output '{name}' of an operator with several is not supported")
        found = self.known[name]
        if not isinstance(found, Value | Constant):
            found = Constant(array_of(found, self.graph.path))
            if found.array.nbytes < _KEPT or self._left[name] > 1:
                self.known[name] = found
        tensor: Value | Constant = found
        return tensor

    def only_reader(self, name: str) -> OnnxNode | None:
        """Return the node that alone reads a tensor."""
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and name != self.graph.output_name else None

    def is_read_by(self, name: str, op: str) -> bool:
        """Return whether a node of an operator reads a tensor."""
        return any(reader.op == op for reader in self._readers.get(name, []))

    def _convert(self, node: OnnxNode) -> None:
        try:
            scope = NodeScope(self, node)
            constants = self._folded(node)
            converted = self._converted(scope) if constants is None else constants
        except (StageError, MemoryError) as error:
            if isinstance(error, StageError) and node.where not in str(error):
                raise node.refused(str(error)) from None
            raise
        except Exception as error:  # Keras and NumPy raise all kinds of errors on attributes that do not fit
            raise node.refused(f"cannot be converted; it is corrupted or not supported ({_reason(error)})") from error
        # An operator may have outputs that nobody reads, such as the positions of a maximum.
        for name, value in zip(scope.last.outputs, converted, strict=False):
            if isinstance(value, Value) and (size := value.product(range(len(value.sides)))) > MAX_VALUES:
                raise node.refused(f"computes {size:,} values for one image; expected at most {MAX_VALUES:,}")
            self.known[name] = value

    def _converted(self, scope: NodeScope) -> Sequence[Value | Constant]:
        node = scope.node
        if node.op not in self._converters:
            raise node.refused("is supported for constants only, not for values that depend on the images")
        converted = self._converters[node.op](scope)
        return converted if isinstance(converted, list) else [converted]

    def _folded(self, node: OnnxNode) -> Sequence[Constant] | None:
        """Return the outputs of a node that depends on no image's values, ``None`` if it does."""
        given = [name for name in node.inputs if name]
        if node.op == "Shape" and isinstance(value := self.get(given[0]), Value):
            part = slice(node.integer("start", 0), node.attributes.get("end"))
            return [shape_constant([value.shape(batch)[part] for batch in BATCHES])]
        if node.op == "Constant" and "value" in node.attributes:
            return [Constant(array_of(node.attributes["value"], self.graph.path))]
        if node.op not in FOLDABLE or any(isinstance(self.known.get(name), Value) for name in given):
            return None
        constants = [self.get(name) if name else None for name in node.inputs]
        return folded(node, [value for value in constants if not isinstance(value, Value)])


def _reason(error: Exception) -> str:
    """Return the sentence of an exception that says what is wrong; Keras wraps it in others, in bold."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Exception encountered")]
    return (said or lines or [type(error).__name__])[0]
