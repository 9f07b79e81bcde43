"""Radar charts: a spoke for each column of a table, a polygon for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from temper.engine.report.figure_style import DASHES, FAINT, MARKERS, PALETTE
from temper.engine.tables.matrix import Matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_SPOKES = 3
"""Minimum number of columns that form a polygon."""


def radar(figure: Figure, matrix: Matrix) -> None:
    """Draw a table of one unit; a cell without a number leaves a gap in its polygon.

    Spokes start at 0 in the centre; those of proportions end at 100 %. Bands are one standard deviation over the
    seeds to either side.
    """
    figure.set_size_inches(5.2, 4.2)
    axes: Any = figure.add_subplot(projection="polar")
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    angles = 2 * np.pi * np.arange(len(matrix.columns)) / len(matrix.columns)
    for number, row in enumerate(matrix.rows):
        cells = [matrix.cells[row, column] for column in matrix.columns]
        scale = np.array([cell.scale(matrix.spec.percent) for cell in cells])
        means = np.array([cell.mean if cell.values else np.nan for cell in cells]) * scale
        deviations = np.array([cell.sd or 0.0 for cell in cells]) * scale
        colour = PALETTE[number % len(PALETTE)]
        look = {"marker": MARKERS[number % len(MARKERS)], "linestyle": DASHES[number % len(DASHES)], "markersize": 4}
        name = " · ".join(filter(None, matrix.row_labels(row)))
        axes.plot(_closed(angles), _closed(means), color=colour, linewidth=1.4, label=name, **look)
        if deviations.any():
            low, high = _closed(np.maximum(means - deviations, 0.0)), _closed(means + deviations)
            axes.fill_between(_closed(angles), low, high, color=colour, alpha=0.18, linewidth=0)
        elif np.isfinite(means).all():
            axes.fill(angles, means, color=colour, alpha=0.07, linewidth=0)
    if matrix.measured[0].unit == "proportion":
        axes.set_ylim(0, matrix.measured[0].scale(matrix.spec.percent))
    else:
        axes.set_ylim(bottom=min(0.0, *(cell.mean for cell in matrix.measured)))
    _spokes(axes, matrix, angles)
    axes.set_title(matrix.quantity, loc="left", fontsize=8, pad=24)
    axes.legend(loc="center left", bbox_to_anchor=(1.18, 0.5))


def _spokes(axes: Any, matrix: Matrix, angles: Any) -> None:
    depths = range(len(matrix.spec.columns))
    names = [" · ".join(filter(None, column)) for column in zip(*map(matrix.column_labels, depths), strict=True)]
    axes.set_xticks(angles, names)
    for angle, text in zip(angles, axes.get_xticklabels(), strict=True):
        # Aligned away from the centre, so that names stay outside the circle.
        side = np.sin(angle)
        text.set_horizontalalignment("center" if abs(side) < 1e-6 else "left" if side > 0 else "right")
    axes.set_rlabel_position(180 / len(angles))
    axes.tick_params(axis="y", labelsize=7, labelcolor=FAINT)
    axes.grid(color="#dfe4e8", linewidth=0.6)
    axes.spines["polar"].set_color("#dfe4e8")


def _closed(values: Any) -> Any:
    return np.append(values, values[:1])
