"""What the conversion of an ONNX graph knows between two nodes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from temper.core.errors import StageError
from temper.nn.onnx.constant_folding import Constant
from temper.nn.onnx.onnx_graph import OnnxGraph
from temper.nn.onnx.onnx_node import OnnxNode
from temper.nn.onnx.onnx_tensors import array_of
from temper.nn.onnx.tensor_layout import Value

_KEPT = 2**16
"""Size in bytes from which weights are read again instead of being kept."""


class ConversionState:
    """The tensors, layers and nodes of a conversion.

    Attributes:
        graph: the graph to convert.
        known: tensors by name: Keras tensors, constants, and initial tensors not yet read.
        makers: the nodes that compute tensors, by the tensor's name.
        done: nodes that were converted together with one before them.
        taken: names of layers.
        made: layers without weights that may be shared, by input and options, with the input.
        weighted: whether a layer with weights was made.
    """

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.known: dict[str, Any] = dict(graph.tensors)
        self.makers = {name: node for node in graph.nodes for name in node.outputs}
        self.done: set[OnnxNode] = set()
        self.taken: set[str] = set()
        self.made: dict[Any, tuple[Any, Any]] = {}
        self.weighted = False
        self._readers: dict[str, list[OnnxNode]] = {}
        for node in graph.nodes:
            for name in {*node.inputs}:
                self._readers.setdefault(name, []).append(node)
        self._left = Counter({name: len(readers) for name, readers in self._readers.items()})

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

    def leave(self, node: OnnxNode) -> None:
        """Forget the tensors that no node behind this one reads."""
        for name in {*node.inputs}:
            self._left[name] -= 1
            if not self._left[name] and name != self.graph.output_name:
                self.known.pop(name, None)

    def only_reader(self, name: str) -> OnnxNode | None:
        """Return the node that alone reads a tensor."""
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and name != self.graph.output_name else None

    def is_read_by(self, name: str, op: str) -> bool:
        """Return whether a node of an operator reads a tensor."""
        return any(reader.op == op for reader in self._readers.get(name, []))
