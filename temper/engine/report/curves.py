"""Curves along a numeric level of a table, with a band over seeds."""

from __future__ import annotations

from collections.abc import Sequence
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
    numeric = {key[depth] for key in along if isinstance(key[depth], int | float) and not isinstance(key[depth], bool)}
    if len(numeric) < 2 or levels[depth] == "seed" or any(isinstance(key[depth], str) for key in along):
        return []
    rest = _without(levels, depth)
    curves: list[Curve] = []
    for group in dict.fromkeys(_without(key, depth) for key in along):
        keys = [key for key in along if _without(key, depth) == group and key[depth] is not None]
        if len(keys) < 2:
            continue
        for other in across:
            pairs = [(key, other) if side == "rows" else (other, key) for key in keys]
            places = [(_place(matrix, pair, key[depth]), pair) for pair, key in zip(pairs, keys, strict=True)]
            points = [(x, matrix.cells[pair]) for x, pair in places if x is not None and matrix.cells[pair].values]
            names = _title(matrix, rest, group), _title(matrix, others, other)
            panel, line = reversed(names) if "metric" in others else names
            if points:
                curves.append((panel, line, points))
    return curves


def _place(matrix: Matrix, pair: tuple[Key, Key], axis: Any) -> float | None:
    """Return the position of a cell on its curve; ``None`` if it is unknown."""
    return float(axis) if matrix.places is None else matrix.places.get(pair)


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
    for at, axes in enumerate(grid.flat):
        if at >= len(panels):
            axes.set_visible(False)
            continue
        for panel, name, points in curves:
            if panel == panels[at]:
                _curve(axes, matrix, points, names.index(name), name)
        axes.set_title(panels[at], loc="left", fontweight="bold")
        axes.grid(color="#dfe4e8", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if not on_axis:
            axes.set_xlim(left=0)
        else:
            if xs[0] > 0 and xs[-1] / xs[0] >= 100:
                axes.set_xscale("log")
            axes.set_xticks(xs, [label(x) for x in xs])
        axes.minorticks_off()
        shown = [cell for panel, _, points in curves if panel == panels[at] for _, cell in points]
        if all(cell.unit == "proportion" for cell in shown):
            top = shown[0].scale(matrix.spec.percent)
            # Many close points are distinguishable only at the full height.
            axes.set_ylim(*((-0.03 * top, 1.03 * top) if on_axis else _range(shown, top)))
        if at % across == 0 and alike:
            axes.set_ylabel(matrix.quantity)
        if at >= len(panels) - across:
            axes.set_xlabel(matrix.spec.against or level)
            axes.tick_params(labelbottom=True)
    figure.tight_layout()
    if names == [""]:
        return
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        handles |= {text: handle for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend([handles[name] for name in names if name in handles], [name for name in names if name in handles],
                  loc="center left", bbox_to_anchor=(1.0, 0.5))  # fmt: skip


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
        axes.plot(
            x[top],
            y[top],
            color=colour,
            marker="*",
            markersize=12,
            markeredgecolor="black",
            markeredgewidth=0.5,
            zorder=3,
        )
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
