"""Curves along a numeric level of a table, with a band over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from temper.core.display_names import label
from temper.engine.report.figure_style import DASHES, MARKERS, PALETTE
from temper.engine.tables.cells import Cell
from temper.engine.tables.matrix import Key, Matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T = TypeVar("T")
Curve = tuple[str, str, list[tuple[float, Cell]]]


def curves_along(matrix: Matrix, side: str, depth: int) -> list[Curve]:
    """Return (panel, line, points) along a numeric level of one side of the table; empty where none varies.

    Panels are the other labels of that side, lines those of the other side; but metrics, whose scales may differ, always
    have their own panels. Where no line has two different points there is no panel.
    """
    along, across = (matrix.rows, matrix.columns) if side == "rows" else (matrix.columns, matrix.rows)
    levels, others = matrix.spec.rows, matrix.spec.columns
    if side != "rows":
        levels, others = others, levels
    if levels[depth] == "seed" or not _is_numeric([key[depth] for key in along]):
        return []
    curves: list[Curve] = []
    for group, keys in _groups(along, depth).items():
        title = _title(matrix, _without(levels, depth), group)
        for other in across:
            pairs = [(key, other) if side == "rows" else (other, key) for key in keys]
            points = _points(matrix, pairs, [key[depth] for key in keys])
            if points:
                names = title, _title(matrix, others, other)
                panel, line = reversed(names) if "metric" in others else names
                curves.append((panel, line, points))
    return curves


def _is_numeric(labels: Sequence[Any]) -> bool:
    """Whether labels have two different numbers and no text; ``None`` marks what does not vary over the level."""
    numbers = {label for label in labels if isinstance(label, int | float) and not isinstance(label, bool)}
    return len(numbers) > 1 and not any(isinstance(label, str) for label in labels)


def _groups(keys: Sequence[Key], depth: int) -> dict[Key, list[Key]]:
    """Return the keys that differ only at one depth, for every group with two or more that vary over it."""
    groups: dict[Key, list[Key]] = {_without(key, depth): [] for key in keys}
    for key in keys:
        if key[depth] is not None:
            groups[_without(key, depth)].append(key)
    return {rest: group for rest, group in groups.items() if len(group) > 1}


def _points(matrix: Matrix, pairs: Sequence[tuple[Key, Key]], axis: Sequence[Any]) -> list[tuple[float, Cell]]:
    """Return the measured cells with their positions: the axis values, or the ``places`` of the table where known."""
    places = axis if matrix.places is None else map(matrix.places.get, pairs)
    placed = zip(places, (matrix.cells[pair] for pair in pairs), strict=True)
    return [(float(x), cell) for x, cell in placed if x is not None and cell.values]


def lines(figure: Figure, matrix: Matrix, level: str, curves: Sequence[Curve]) -> None:
    """Draw curves in panels side by side; bands are one standard deviation over the seeds to either side."""
    panels = list(dict.fromkeys(panel for panel, _, _ in curves))
    names = list(dict.fromkeys(line for _, line, _ in curves))
    across = min(len(panels), 4)
    down = ceil(len(panels) / across)
    figure.set_size_inches(max(2.5 * across + 1.4, 4.2), 2.3 * down + 0.3)
    alike, on_axis = "metric" not in matrix.spec.levels, matrix.places is None
    grid: Any = figure.subplots(down, across, squeeze=False, sharex=on_axis, sharey=alike and on_axis)
    xs = sorted({x for _, _, points in curves for x, _ in points})
    for at, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        own = [(line, points) for where, line, points in curves if where == panel]
        for line, points in own:
            _curve(axes, matrix, points, names.index(line), line)
        _decorate(axes, panel)
        _scale_x(axes, xs if on_axis else None)
        _scale_y(axes, matrix, [cell for _, points in own for _, cell in points])
        if at % across == 0 and alike:
            axes.set_ylabel(matrix.quantity)
        if at >= len(panels) - across:
            axes.set_xlabel(matrix.spec.against or level)
            axes.tick_params(labelbottom=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    figure.tight_layout()
    if names != [""]:
        _legend(figure, grid.flat, names)


def _decorate(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.grid(color="#dfe4e8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _scale_x(axes: Axes, ticks: Sequence[float] | None) -> None:
    """Set the scale of an axis with these values, logarithmic over two decades; ``None``: of measured positions from 0."""
    if ticks is None:
        axes.set_xlim(left=0)
    else:
        if ticks[0] > 0 and ticks[-1] / ticks[0] >= 100:
            axes.set_xscale("log")
        axes.set_xticks(ticks, [label(x) for x in ticks])
    axes.minorticks_off()


def _scale_y(axes: Axes, matrix: Matrix, shown: Sequence[Cell]) -> None:
    """Give proportions their whole scale; many close points are distinguishable only at the full height."""
    if all(cell.unit == "proportion" for cell in shown):
        top = shown[0].scale(matrix.spec.percent)
        axes.set_ylim(*((-0.03 * top, 1.03 * top) if matrix.places is None else _range(shown, top)))


def _legend(figure: Figure, panels: Iterable[Axes], names: Sequence[str]) -> None:
    """Draw one legend for all panels, in the order of ``names``."""
    handles: dict[str, Any] = {}
    for axes in panels:
        handles |= {text: handle for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    drawn = [name for name in names if name in handles]
    figure.legend([handles[name] for name in drawn], drawn, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _curve(axes: Axes, matrix: Matrix, points: Sequence[tuple[float, Cell]], index: int, name: str) -> None:
    x = np.array([position for position, _ in points])
    scale = np.array([cell.scale(matrix.spec.percent) for _, cell in points])
    y = np.array([cell.mean for _, cell in points]) * scale
    sd = np.array([cell.sd or 0.0 for _, cell in points]) * scale
    colour, marker = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
    dashes = DASHES[index // len(PALETTE) % len(DASHES)]
    axes.plot(x, y, color=colour, marker=marker, linestyle=dashes, markersize=4, linewidth=1.4, label=name)
    if matrix.places is not None:
        top = int(np.argmax(y))
        star: dict[str, Any] = {
            "marker": "*",
            "markersize": 12,
            "markeredgecolor": "black",
            "markeredgewidth": 0.5,
            "zorder": 3,
        }
        axes.plot(x[top], y[top], color=colour, **star)
    axes.fill_between(x, y - sd, y + sd, color=colour, alpha=0.18, linewidth=0)


def _range(shown: Sequence[Cell], top: float) -> tuple[float, float]:
    """Return the ends of a scale that proportions fill, their bands included."""
    low = min(cell.mean - (cell.sd or 0.0) for cell in shown) * top
    high = max(cell.mean + (cell.sd or 0.0) for cell in shown) * top
    margin = 0.05 * (high - low) or 0.01 * top
    return max(-0.03 * top, low - margin), min(1.03 * top, high + margin)


def _without(key: tuple[T, ...], depth: int) -> tuple[T, ...]:
    return key[:depth] + key[depth + 1 :]


def _title(matrix: Matrix, levels: Sequence[str], key: Key) -> str:
    return " · ".join(filter(None, (matrix.label(level, value) for level, value in zip(levels, key, strict=True))))
