"""A node of an ONNX graph, with its attributes as Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from temper.core.errors import StageError


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """An operator with the names of the tensors it reads and computes; an empty name stands for an omitted one."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    version: int
    """Version of the operator set (opset) the node is written in."""

    @property
    def where(self) -> str:
        """How messages call the node."""
        return f"node '{self.name}' ({self.op})"

    def has(self, place: int) -> bool:
        """Return whether an optional input is given."""
        return place < len(self.inputs) and bool(self.inputs[place])

    def integer(self, key: str, default: int) -> int:
        """Return an integer attribute."""
        return int(self._typed(key, default, int))

    def number(self, key: str, default: float) -> float:
        """Return a floating-point attribute."""
        return float(self._typed(key, default, (int, float)))

    def text(self, key: str, default: str) -> str:
        """Return a text attribute."""
        return str(self._typed(key, default, str))

    def integers(self, key: str, default: Sequence[int]) -> tuple[int, ...]:
        """Return an attribute of several integers."""
        found = self._typed(key, tuple(default), tuple)
        if not all(type(value) is int for value in found):
            raise self.refused(f"{key}: expected integers, received {found}")
        return tuple(found)

    def refused(self, reason: str) -> StageError:
        """Return the error of a node that cannot be converted."""
        return StageError(f"{self.where}: {reason}")

    def _typed(self, key: str, default: Any, kind: Any) -> Any:
        value = self.attributes.get(key, default)
        if not isinstance(value, kind):
            raise self.refused(f"{key}: expected a value such as {default!r}, received {str(value)[:60]}")
        return value


def node_of(proto: Any, number: int, version: int) -> OnnxNode:
    """Return a node of the file, the ``number``-th of the graph.

    Raises:
        StageError: an attribute holds a graph, a type or something unknown.
    """
    name = proto.name or next(filter(None, proto.output), "") or f"{proto.op_type}_{number}"
    attributes = {
        attribute.name: _value(attribute, f"node '{name}' ({proto.op_type})") for attribute in proto.attribute
    }
    return OnnxNode(proto.op_type, name, tuple(proto.input), tuple(proto.output), attributes, version)


def _value(attribute: Any, where: str) -> Any:
    match attribute.type:
        case 1:
            return float(attribute.f)
        case 2:
            return int(attribute.i)
        case 3:
            return attribute.s.decode("utf-8", "replace")
        case 4:
            return attribute.t
        case 6:
            return tuple(map(float, attribute.floats))
        case 7:
            return tuple(map(int, attribute.ints))
        case 8:
            return tuple(item.decode("utf-8", "replace") for item in attribute.strings)
    raise StageError(f"{where}: attribute '{attribute.name}' holds a graph or a type, which is not supported")
