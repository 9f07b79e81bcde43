"""The cells of an evaluation, by their point on the axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from temper.core.component import Plain
from temper.engine.language.axis_points import Point


@dataclass(frozen=True, slots=True)
class Result:
    """One cell of an evaluation: which task holds its rows, and what the rows are about."""

    stage: str
    point: Point
    about: Mapping[str, str]
    fingerprint: str


class CellIndex:
    """The cells of an evaluation, found by their point on the axes without scanning all of them.

    A cell that does not depend on an axis represents all its values.
    """

    def __init__(self, cells: Iterable[Result]) -> None:
        self._cells = list(enumerate(cells))
        self._by_axes: dict[
            frozenset[str], dict[tuple[str, ...], dict[tuple[Plain, ...], list[tuple[int, Result]]]]
        ] = {}

    def at(self, point: Point) -> list[tuple[int, Result]]:
        """Return the cells at a point of some axes, each with its number, in the order of the file."""
        wanted = frozenset(point)
        if wanted not in self._by_axes:
            sorted_: dict[tuple[str, ...], dict[tuple[Plain, ...], list[tuple[int, Result]]]] = {}
            for number, cell in self._cells:
                axes = tuple(axis for axis in cell.point if axis in wanted)
                places = sorted_.setdefault(axes, {})
                places.setdefault(tuple(cell.point[axis] for axis in axes), []).append((number, cell))
            self._by_axes[wanted] = sorted_
        found = [
            cell
            for axes, places in self._by_axes[wanted].items()
            for cell in places.get(tuple(point[axis] for axis in axes), ())
        ]
        return sorted(found, key=lambda numbered: numbered[0])
