"""Finds operators that a graph spells out, and puts one node in their place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from temper.nn.onnx.onnx_graph import OnnxGraph
from temper.nn.onnx.onnx_node import OnnxNode
from temper.nn.onnx.onnx_tensors import array_of

_TOLERANCE = 1e-3
"""For constants in half precision."""


def fused(graph: OnnxGraph) -> OnnxGraph:
    """Return a graph with ``x / 2 * (1 + erf(x / sqrt(2)))`` as Gelu."""
    patterns = _Patterns(graph)
    replaced: dict[OnnxNode, OnnxNode] = {}
    dropped: set[OnnxNode] = set()
    for node in graph.nodes:
        if node.op == "Erf" and (found := patterns.gelu(node)) is not None:
            x, nodes = found
            *others, last = nodes
            replaced[last] = replace(last, op="Gelu", inputs=(x,), attributes={})
            dropped.update(others)
    return replace(graph, nodes=tuple(replaced.get(node, node) for node in graph.nodes if node not in dropped))


class _Patterns:
    def __init__(self, graph: OnnxGraph) -> None:
        self._graph = graph
        self._makers = {name: node for node in graph.nodes for name in node.outputs}
        self._readers: dict[str, list[OnnxNode]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)

    def gelu(self, erf: OnnxNode) -> tuple[str, Sequence[OnnxNode]] | None:
        """Return the argument and the nodes of a Gelu around an error function, the last one last."""
        scaled = self._makers.get(erf.inputs[0])
        plus = self._next(erf)
        if scaled is None or plus is None or self._next(scaled) is not erf or self._operand(plus, "Add", 1.0) is None:
            return None
        x = self._operand(scaled, "Div", math.sqrt(2)) or self._operand(scaled, "Mul", math.sqrt(0.5))
        product = self._next(plus)
        if x is None or product is None or product.op != "Mul":
            return None
        nodes = [scaled, erf, plus, product]
        if self._operand(product, "Mul", 0.5) is not None:  # 0.5 * (1 + erf), then times x
            last = self._next(product)
            return (x, [*nodes, last]) if last is not None and last.op == "Mul" and x in last.inputs else None
        other = product.inputs[product.inputs[0] == plus.outputs[0]]
        if other == x:
            last = self._next(product)
            return (x, [*nodes, last]) if last is not None and self._operand(last, "Mul", 0.5) is not None else None
        half = self._makers.get(other)
        if half is None or self._next(half) is not product or self._operand(half, "Mul", 0.5) != x:
            return None
        return x, [half, *nodes]

    def _next(self, node: OnnxNode) -> OnnxNode | None:
        name = node.outputs[0]
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and name != self._graph.output_name else None

    def _operand(self, node: OnnxNode, op: str, constant: float) -> str | None:
        """Return the other input of an operator of two inputs, one of which is this constant."""
        if node.op != op or len(node.inputs) != 2:
            return None
        places: Mapping[int, int] = {1: 0} if op == "Div" else {1: 0, 0: 1}
        for place, other in places.items():
            value = self._scalar(node.inputs[place])
            if value is not None and abs(value - constant) < _TOLERANCE:
                return node.inputs[other]
        return None

    def _scalar(self, name: str) -> float | None:
        maker = self._makers.get(name)
        tensor = self._graph.tensors.get(name)
        if tensor is None and maker is not None and maker.op == "Constant":
            tensor = maker.attributes.get("value")
        if tensor is None or math.prod(tensor.dims) != 1:
            return None
        return float(array_of(tensor, self._graph.path).reshape(()))
