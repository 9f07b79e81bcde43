"""Where axes become points: ``$name`` in plain values, and every combination of the axes' values."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from temper.core.component import Plain
from temper.core.errors import KeyPath
from temper.engine.catalogue.json_schema import is_axis

Point = Mapping[str, Plain]
SEED = "seed"
"""The axis that every experiment has; its values are the seeds."""


def axis_places(value: Any, place: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield (path, name of the axis) for every ``$name`` in plain values."""
    if isinstance(value, str) and is_axis(value):
        yield place, value[1:]
    for key, item in (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    ):
        if isinstance(item, str | Mapping | list):
            yield from axis_places(item, (*place, key))


def axes_in(value: Any) -> list[str]:
    """Return the names of the axes that plain values use, each once."""
    return list(dict.fromkeys(axis for _, axis in axis_places(value)))


def substitute(value: Any, point: Point) -> Any:
    """Return plain values with every ``$name`` replaced by the axis's value at a point; others are kept."""
    if isinstance(value, str):
        return point.get(value[1:], value) if is_axis(value) else value
    if isinstance(value, Mapping):
        return {key: substitute(item, point) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, point) for item in value]
    return value


def points(axes: Mapping[str, Sequence[Plain]], fixed: Point = MappingProxyType({})) -> Iterator[dict[str, Plain]]:
    """Yield every combination of the axes' values, the last axis fastest; ``fixed`` axes have the given values."""
    for values in itertools.product(*((fixed[axis],) if axis in fixed else axes[axis] for axis in axes)):
        yield dict(zip(axes, values, strict=True))


def shows_new_values(places: Iterable[tuple[KeyPath, str]], at: Iterable[Point]) -> Iterator[bool]:
    """Yield for each point whether a schema has something new to check in values that use axes at ``places``.

    A schema checks one value at a time, so each value of an axis needs one point. But it compares the items of a list: where
    these vary over several axes, all points are needed.
    """
    seen: set[tuple[str, str]] = set()
    together = _are_in_one_list(places)
    for point in at:
        shown = {(axis, repr(item)) for axis, item in point.items()}
        yield together or not seen.issuperset(shown)
        seen |= shown


def _are_in_one_list(places: Iterable[tuple[KeyPath, str]]) -> bool:
    lists: dict[KeyPath, set[str]] = {}
    for place, axis in places:
        for i, key in enumerate(place):
            if isinstance(key, int):
                lists.setdefault(place[:i], set()).add(axis)
    return any(len(axes) > 1 for axes in lists.values())


def value_at(value: Any, place: KeyPath) -> Any:
    """Return the part of plain values at a path, or its nearest ancestor that exists."""
    for key in place:
        inside = key in value if isinstance(value, Mapping) else isinstance(value, list) and key in range(len(value))
        if not inside:
            break
        value = value[key]
    return value
