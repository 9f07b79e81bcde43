"""What the conversion of one node sees: its inputs, the layers it makes, and the nodes that it takes over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from temper.core.errors import StageError
from temper.nn.onnx.constant_folding import Constant
from temper.nn.onnx.conversion_state import ConversionState
from temper.nn.onnx.layer_names import layer_name, unique
from temper.nn.onnx.onnx_node import OnnxNode
from temper.nn.onnx.onnx_tensors import Array
from temper.nn.onnx.tensor_layout import Value
from temper.system import backend

_NOT_NEGATIVE = ("Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus")
_INITIALISERS = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Dense", "EinsumDense"), "kernel_initializer"),
    "DepthwiseConv2D": "depthwise_initializer",
}
"""The attribute of layers with a kernel that gives its initial values."""


class NodeScope:
    """The conversion of one node. A conversion may take over the nodes behind it; the last one's output is its own."""

    def __init__(self, state: ConversionState, node: OnnxNode) -> None:
        self.node = node
        self.last = node
        self._state = state
        self._name = layer_name(node, state.graph.tensors)

    @property
    def ops(self) -> Any:
        """``keras.ops``."""
        return backend.keras().ops

    @property
    def batch(self) -> int | None:
        """The number of images that the file fixes, or ``None`` if it is free."""
        return self._state.graph.input_shape[0] if self._state.graph.input_shape else None

    @property
    def before_weights(self) -> bool:
        """Whether no layer with weights has been made yet."""
        return not self._state.weighted

    def given(self, place: int) -> Value | Constant:
        """Return an input.

        Raises:
            StageError: it is omitted.
        """
        if not self.node.has(place):
            raise self.node.refused(f"its input {place + 1} is missing")
        return self._state.get(self.node.inputs[place])

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
        maker = self._state.makers.get(name)
        return maker is not None and maker.op in _NOT_NEGATIVE

    def read_by(self, op: str) -> bool:
        """Return whether a node of an operator reads the output."""
        return self._state.is_read_by(self.node.outputs[0], op)

    def next(self, op: str) -> OnnxNode | None:
        """Return the node that alone reads the output, if it is of this operator."""
        reader = self._state.only_reader(self.last.outputs[0])
        return reader if reader is not None and reader.op == op and reader not in self._state.done else None

    def operand(self, node: OnnxNode) -> tuple[Array, int] | None:
        """Return the constant that a node combines the output with, and its place; ``None`` if it is not constant."""
        if len(node.inputs) != 2:
            return None
        at = 1 if node.inputs[0] == self.last.outputs[0] else 0
        if node.inputs[at] not in self._state.known:
            return None
        found = self._state.get(node.inputs[at])
        return (found.array, at) if isinstance(found, Constant) and found.other is None else None

    def take(self, node: OnnxNode) -> None:
        """Take over the node that reads the output."""
        self._state.done.add(node)
        self.last = node

    def layer(self, kind: str, tensor: Any, suffix: str = "", weights: Sequence[Array] = (), **options: Any) -> Any:
        """Return the output of a new Keras layer named after the node, with these weights."""
        name = unique(f"{self._name}.{suffix}" if suffix else self._name, self._state.taken)
        layer = getattr(backend.keras().layers, kind)(name=name, **options)
        if not weights:
            return layer(tensor)
        self._state.weighted = True
        if kind not in _INITIALISERS:
            output = layer(tensor)
            layer.set_weights(list(weights))
            return output
        # Large kernels are the initial values themselves: random ones would take memory for two more of each.
        initialiser = _INITIALISERS[kind]
        own = getattr(layer, initialiser)
        setattr(layer, initialiser, lambda shape, dtype=None: _fitting(weights[0], shape))
        output = layer(tensor)
        setattr(layer, initialiser, own)
        for variable, array in zip(layer.weights[1:], weights[1:], strict=True):
            variable.assign(array)
        return output

    def once(self, kind: str, tensor: Any, suffix: str, **options: Any) -> Any:
        """Return the output of a layer without weights, the same if it was made before."""
        key = (id(tensor), kind, repr(sorted(options.items())))
        if key not in self._state.made:
            # The tensor is kept, so that its id stays its own.
            self._state.made[key] = tensor, self.layer(kind, tensor, suffix, **options)
        return self._state.made[key][1]


def _fitting(array: Array, shape: Sequence[int]) -> Array:
    if array.shape != tuple(shape):
        raise StageError(f"expected weights of shape {tuple(shape)}, received {array.shape}")
    return np.asarray(array, np.float32)
