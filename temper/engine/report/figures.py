"""The figures of a table: a heat map, bars or a radar, and curves along its numeric levels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from temper.engine.report.bars import bars
from temper.engine.report.curves import curves_along, lines
from temper.engine.report.figure_style import FAINT, INK, draw_png
from temper.engine.report.radar import LEAST_SPOKES, radar
from temper.engine.tables.cells import Cell, number
from temper.engine.tables.matrix import Key, Matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_UNSLANTED = 9
"""Maximum length of a label that is not slanted above a column of a heat map."""


def table_figures(matrix: Matrix) -> dict[str, Callable[[], bytes]]:
    """Return the functions that draw a table's figures as PNG, by name: heat map, bars or radar, and curves by axis."""
    figures: dict[str, Callable[[], bytes]] = {}
    if _on_one_scale(matrix):
        draw = {"heatmap": _heatmap, "bars": bars, "radar": radar}[matrix.spec.figure]
        figures[f"{matrix.spec.name}_{matrix.spec.figure}"] = partial(draw_png, partial(draw, matrix=matrix))
    for side, levels in (("rows", matrix.spec.rows), ("columns", matrix.spec.columns)):
        for depth, level in enumerate(levels):
            if curves := curves_along(matrix, side, depth):
                name = f"{matrix.spec.name}_by_{level}"
                figures[name] = partial(draw_png, partial(lines, matrix=matrix, level=level, curves=curves))
    return figures


def _on_one_scale(matrix: Matrix) -> bool:
    """Return whether all numbers of the table have one scale, so that it can be drawn."""
    if len(matrix.measured) < 2:
        return False
    if matrix.spec.figure == "radar":
        # The metrics before and after are compared on one scale.
        return len(matrix.columns) >= LEAST_SPOKES and len({cell.unit for cell in matrix.measured}) == 1
    return len({(cell.metric, cell.unit) for cell in matrix.measured}) == 1 and not _has_several_scores(matrix)


def _has_several_scores(matrix: Matrix) -> bool:
    """Return whether the numbers are scores of different kinds, which have no common scale."""
    sides = ((matrix.spec.rows, matrix.rows), (matrix.spec.columns, matrix.columns))
    kinds = {key[levels.index("group")] for levels, keys in sides if "group" in levels for key in keys}
    return matrix.measured[0].unit == "score" and len(kinds) > 1


def _heatmap(figure: Figure, matrix: Matrix) -> None:
    values = np.array([[_value(matrix, matrix.cells[r, c]) for c in matrix.columns] for r in matrix.rows])
    rows, columns = values.shape
    texts = [[_short(matrix, r, c) for c in matrix.columns] for r in matrix.rows]
    width = max(0.62, 0.085 * max(len(text) for line in texts for text in line) + 0.12)
    figure.set_size_inches(width * columns + 1.6, 0.36 * rows + 0.9)
    axes = figure.add_subplot()
    unit = matrix.measured[0].unit
    low, high = (0.0, matrix.measured[0].scale(matrix.spec.percent)) if unit == "proportion" else (None, None)
    image = axes.imshow(np.ma.masked_invalid(values), cmap="YlGnBu", vmin=low, vmax=high, aspect="auto")
    shades = np.asarray(image.norm(values))
    axes.set_facecolor("#eceff1")
    for i in range(rows):
        for j in range(columns):
            known = np.isfinite(values[i, j])
            shade = shades[i, j] if known else 0.0
            colour = ("white" if shade > 0.55 else INK) if known else FAINT
            axes.text(j, i, texts[i][j], ha="center", va="center", color=colour, style="normal" if known else "italic",
                      fontsize=8 if known else 6.5)  # fmt: skip
    axes.set_yticks(range(rows), [" · ".join(filter(None, matrix.row_labels(row))) for row in matrix.rows])
    axes.set_xticks(np.arange(-0.5, columns), minor=True)
    axes.set_yticks(np.arange(-0.5, rows), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    _column_headings(axes, matrix)
    bar = figure.colorbar(image, ax=axes, fraction=0.5 / (width * columns), pad=0.15 / (width * columns))
    bar.outline.set_visible(False)
    bar.set_label(matrix.quantity, fontsize=8)
    bar.ax.tick_params(labelsize=7, length=2)


def _column_headings(axes: Axes, matrix: Matrix) -> None:
    """Write the innermost labels above their columns, and each outer level once above its span."""
    depths, columns = len(matrix.spec.columns), len(matrix.columns)
    inner = matrix.column_labels(depths - 1)
    longest = max(map(len, inner))
    slanted = longest > _MAX_UNSLANTED
    # A label slanted by 30 degrees rises by half its length; a letter is about five points wide.
    height = 18 if not slanted else 14 + round(2.5 * longest)
    axes.xaxis.tick_top()
    axes.set_xticks(range(columns), inner, rotation=30 if slanted else 0, ha="left" if slanted else "center")
    for depth in range(depths - 1):
        start, lift = 0, height + 15 * (depths - 2 - depth)
        for _, same in groupby(column[: depth + 1] for column in matrix.columns):
            width = len(list(same))
            text = matrix.column_labels(depth)[start]
            axes.annotate(text, (start + (width - 1) / 2, 1.0), xytext=(0, lift), fontweight="bold",
                          xycoords=("data", "axes fraction"), textcoords="offset points", ha="center", va="bottom")  # fmt: skip
            if start:
                axes.axvline(start - 0.5, color="white", linewidth=4)
            start += width


def _value(matrix: Matrix, cell: Cell) -> float:
    return cell.mean * cell.scale(matrix.spec.percent) if cell.values else float("nan")


def _short(matrix: Matrix, row: Key, column: Key) -> str:
    cell = matrix.cells[row, column]
    if not cell.values:
        return cell.hole.split(":")[0].replace(" ", "\n")
    if cell.unit == "proportion" and matrix.spec.percent:
        return number(cell.mean, 1, 100.0)
    return cell.mean_text(matrix.spec.percent)
