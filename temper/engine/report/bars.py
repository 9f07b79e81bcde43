"""Bar charts: a group for each row of a table, a bar for each column, whiskers of one standard deviation over seeds."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from temper.engine.report.figure_style import PALETTE
from temper.engine.tables.matrix import Matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BAR = 0.16
"""Height of a bar in inches."""
_LINE, _LINES = 30, 4
"""Maximum characters per line and lines of a row's name: a list of layers must leave space for the bars."""


def bars(figure: Figure, matrix: Matrix) -> None:
    """Draw a table of one metric; a cell without a number has no bar."""
    rows, columns = len(matrix.rows), len(matrix.columns)
    figure.set_size_inches(5.2, _BAR * (columns + 1) * rows + 0.7)
    axes = figure.add_subplot()
    high = 0.8 / columns
    names = [
        " · ".join(column) for column in zip(*map(matrix.column_labels, range(len(matrix.spec.columns))), strict=True)
    ]
    for j, column in enumerate(matrix.columns):
        cells = [matrix.cells[row, column] for row in matrix.rows]
        scale = np.array([cell.scale(matrix.spec.percent) for cell in cells])
        means = np.array([cell.mean if cell.values else np.nan for cell in cells]) * scale
        deviations = np.array([cell.sd or 0.0 for cell in cells]) * scale
        places = np.arange(rows) - 0.4 + high * (j + 0.5)
        whiskers = {"xerr": deviations, "error_kw": {"elinewidth": 0.8}} if deviations.any() else {}
        axes.barh(places, means, height=0.9 * high, color=PALETTE[j % len(PALETTE)], label=names[j],
                  hatch="////" if j >= len(PALETTE) else None, **whiskers)  # fmt: skip
    axes.set_yticks(range(rows), [_wrapped(" · ".join(filter(None, matrix.row_labels(row)))) for row in matrix.rows])
    axes.set_ylim(rows - 0.5, -0.5)
    if matrix.measured[0].unit == "proportion":
        axes.set_xlim(0, matrix.measured[0].scale(matrix.spec.percent))
    axes.set_xlabel(matrix.quantity)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dfe4e8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _wrapped(name: str) -> str:
    """Return a row's name wrapped to several lines, and truncated if it is longer."""
    # Names join the members of a list with +, where textwrap does not break lines.
    lines = wrap(name.replace("+", "+ "), _LINE, max_lines=_LINES, placeholder=" …")
    return "\n".join(line.replace("+ ", "+") for line in lines)
