"""Problems that occur at many points of the axes, each reported once with the values that cause it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from temper.core.errors import KeyPath
from temper.engine.language.axis_points import Point

LISTED = 8
"""How many values of axes a message lists."""
_NUMBER = re.compile(r"-?\d+(\.\d*)?([eE][-+]?\d+)?")

_Key = tuple[str, ...]
_Cause = tuple[KeyPath, str, int]


class AxisCauses:
    """Merges the problems of one stage, or of one of its values, over ``points``.

    Messages about one value that differ in numbers only have one cause: the axes along which they change.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = points
        self._found: dict[_Cause, dict[_Key, tuple[Point, str]]] = {}
        self._axes: dict[_Cause, Collection[str]] = {}

    def add(self, place: KeyPath, message: str, point: Point, axes: Collection[str] = ()) -> None:
        """Add a problem at a point; ``axes`` are those that cause it, if known."""
        key = _key(point)
        for number in range(len(self._found) + 1):
            cause = (place, _NUMBER.sub("#", message), number)
            found = self._found.setdefault(cause, {})
            self._axes.setdefault(cause, axes)
            if found.setdefault(key, (point, message))[1] == message:
                return

    def merged(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield (path, message) for each cause, with the values of its axes, in the order they were added."""
        for cause, found in self._found.items():
            axes = self._axes[cause] or self._changing(found)
            at = {_key(point, axes): (point, message) for point, message in reversed(found.values())}
            points = [{axis: point[axis] for axis in point if axis in axes} for point, _ in reversed(at.values())]
            messages = [message for _, message in reversed(at.values())]
            yield cause[0], messages[0] + _suffix(points, same=len(set(messages)) == 1)

    def _changing(self, found: dict[_Key, tuple[Point, str]]) -> list[str]:
        """Return the axes along which a problem comes, goes or changes; of a single point, all its axes."""
        axes = list(self._points[0]) if self._points else []
        at_points = [(point, found.get(_key(point), (point, ""))[1]) for point in self._points]
        for axis in list(axes) if len(at_points) > 1 else ():
            fewer = [other for other in axes if other != axis]
            messages: dict[_Key, str] = {}
            if all(messages.setdefault(_key(point, fewer), message) == message for point, message in at_points):
                axes = fewer
        return axes


def _key(point: Point, axes: Collection[str] | None = None) -> _Key:
    # Unlike the values, their texts differ for 1 and true, and those of lists, which a wrong file may hold, are hashable.
    return tuple(repr(value) for axis, value in point.items() if axes is None or axis in axes)


def _suffix(points: Sequence[Point], *, same: bool) -> str:
    """Return the end of a message: the points at which it, or (not ``same``) one like it, holds."""
    if not points or not points[0]:
        return ""
    if same or len(points) == 1:
        return f" (at {_listed(points)})"
    return f" (at {_listed(points[:1])}; likewise at {_listed(points[1:])})"


def _listed(points: Sequence[Point]) -> str:
    axes, more = list(points[0]), f" and {len(points) - LISTED} more" if len(points) > LISTED else ""
    if len(axes) == 1:
        return f"{axes[0]} = {', '.join(str(point[axes[0]]) for point in points[:LISTED])}{more}"
    return "; ".join(", ".join(f"{axis} = {point[axis]}" for axis in axes) for point in points[:LISTED]) + more
