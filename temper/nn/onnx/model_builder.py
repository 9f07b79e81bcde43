"""Builds a functional Keras model of an ONNX graph, node by node."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from temper.core.errors import StageError
from temper.nn.onnx.arrangement import single
from temper.nn.onnx.constant_folding import FOLDABLE, Constant, folded, part_of_shape, shape_constant
from temper.nn.onnx.conversion_state import ConversionState
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


class ModelBuilder:
    """Converts the nodes of a graph in order."""

    def __init__(self, graph: OnnxGraph, converters: Mapping[str, Converter]) -> None:
        self._graph = graph
        self._converters = converters
        self._state = ConversionState(graph)

    def build(self, image: tuple[int, ...], axes: Axes) -> Any:
        """Return the model of images of a shape, whose ONNX tensor has ``axes``.

        Raises:
            StageError: a node cannot be converted; the message names it.
        """
        keras, state = backend.keras(), self._state
        state.taken.add("images")
        images = keras.Input(image, name="images")
        state.known[self._graph.input_name] = Value(images, axes)
        for node in self._graph.nodes:
            if node not in state.done:
                self._convert(node)
            state.leave(node)
        output = state.get(self._graph.output_name)
        if isinstance(output, Constant):
            raise StageError(f"the output '{self._graph.output_name}' does not depend on the images")
        last = NodeScope(state, self._graph.nodes[-1])
        tensor = single(last, output).tensor
        if len(tensor.shape) > 2 and all(side == 1 for side in tensor.shape[2:]):
            tensor = last.layer("Flatten", tensor, "flatten")
        return keras.Model(images, tensor)

    def _convert(self, node: OnnxNode) -> None:
        try:
            scope = NodeScope(self._state, node)
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
            self._state.known[name] = value

    def _converted(self, scope: NodeScope) -> Sequence[Value | Constant]:
        node = scope.node
        if node.op not in self._converters:
            raise node.refused("is supported for constants only, not for values that depend on the images")
        converted = self._converters[node.op](scope)
        return converted if isinstance(converted, list) else [converted]

    def _folded(self, node: OnnxNode) -> Sequence[Constant] | None:
        """Return the outputs of a node that depends on no image's values, ``None`` if it does."""
        given = [name for name in node.inputs if name]
        if node.op == "Shape" and isinstance(value := self._state.get(given[0]), Value):
            return [shape_constant([part_of_shape(node, value.shape(batch)) for batch in BATCHES])]
        if node.op == "Constant" and "value" in node.attributes:
            return [Constant(array_of(node.attributes["value"], self._graph.path))]
        if node.op not in FOLDABLE or any(isinstance(self._state.known.get(name), Value) for name in given):
            return None
        constants = [self._state.get(name) if name else None for name in node.inputs]
        return folded(node, [value for value in constants if not isinstance(value, Value)])


def _reason(error: Exception) -> str:
    """Return the sentence of an exception that says what is wrong; Keras wraps it in others, in bold."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Exception encountered")]
    return (said or lines or [type(error).__name__])[0]
