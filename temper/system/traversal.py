"""Traversal of graphs given by a function from a node to its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Node = TypeVar("Node")


def reachable(starts: Iterable[Node], neighbours: Callable[[Node], Iterable[Node]]) -> Iterator[Node]:
    """Yield every reachable node, the starting nodes included, each once and before its neighbours are computed."""
    found, pending = set[Node](), list(starts)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            yield node
            pending.extend(neighbours(node))
