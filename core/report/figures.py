"""Pictures of a run: heat maps of tables, curves along an axis, and examples before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from core.component import Plain
from core.report.cells import Cell, label, number
from core.report.matrix import Key, Matrix
from core.report.spec import ImageGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT = "#1d2530", "#6b7580"
# Okabe and Ito (2008): told apart by colour-blind readers, and by marker in grey print.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d1f")
MARKERS = "osD^vP*X"
DASHES = ("-", "--", ":", "-.")
DPI = 160
MAX_IMAGES = 10
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 9,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
}


def table_figures(matrix: Matrix) -> dict[str, bytes]:
    """Return the figures of a table as PNG by name: a heat map, and curves along each numeric axis."""
    figures = {}
    # Metrics in different units have no colour scale in common.
    if len({(cell.metric, cell.unit) for cell in matrix.measured}) == 1 and len(matrix.measured) > 1:
        figures[f"{matrix.spec.name}_heatmap"] = _drawn(partial(_heatmap, matrix=matrix))
        for side, levels in (("rows", matrix.spec.rows), ("columns", matrix.spec.columns)):
            for depth, level in enumerate(levels):
                if curves := curves_along(matrix, side, depth):
                    name = f"{matrix.spec.name}_by_{level}"
                    figures[name] = _drawn(partial(_lines, matrix=matrix, level=level, curves=curves))
    return figures


def grid_figure(grid: ImageGrid) -> bytes:
    """Return clean, perturbed and difference images above each other as PNG."""
    return _drawn(partial(_images, grid=grid))


def _drawn(draw: Callable[[Figure], None]) -> bytes:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    buffer = BytesIO()
    with rc_context(_STYLE):
        figure = Figure(facecolor="white")
        FigureCanvasAgg(figure)
        draw(figure)
        # No version in the file: the same numbers give the same bytes.
        figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.08, metadata={"Software": None})
    return buffer.getvalue()


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
    slanted = depths == 1 and max(map(len, inner)) > 9
    axes.xaxis.tick_top()
    axes.set_xticks(range(columns), inner, rotation=30 if slanted else 0, ha="left" if slanted else "center")
    for depth in range(depths - 1):
        start, lift = 0, 18 + 15 * (depths - 2 - depth)
        for _, same in groupby(column[: depth + 1] for column in matrix.columns):
            width = len(list(same))
            text = matrix.column_labels(depth)[start]
            axes.annotate(text, (start + (width - 1) / 2, 1.0), xytext=(0, lift), fontweight="bold",
                          xycoords=("data", "axes fraction"), textcoords="offset points", ha="center", va="bottom")  # fmt: skip
            if start:
                axes.axvline(start - 0.5, color="white", linewidth=4)
            start += width


Curve = tuple[str, str, list[tuple[float, Cell]]]


def curves_along(matrix: Matrix, side: str, depth: int) -> list[Curve]:
    """Return (panel, line, points) along a numeric level of one side of the table; empty where none varies.

    Panels are the other labels of that side, lines those of the other side. A panel in which no line has two
    different points is left out.
    """
    along = matrix.rows if side == "rows" else matrix.columns
    numeric = {key[depth] for key in along if isinstance(key[depth], int | float) and not isinstance(key[depth], bool)}
    levels = matrix.spec.rows if side == "rows" else matrix.spec.columns
    if len(numeric) < 2 or levels[depth] == "seed" or any(isinstance(key[depth], str) for key in along):
        return []
    curves: list[Curve] = []
    for panel in dict.fromkeys(_without(key, depth) for key in along):
        keys = [key for key in along if _without(key, depth) == panel and key[depth] is not None]
        if len(keys) < 2:
            continue
        for line in matrix.columns if side == "rows" else matrix.rows:
            cells = [(key[depth], matrix.cells[(key, line) if side == "rows" else (line, key)]) for key in keys]
            points = [(float(x), cell) for x, cell in cells if x is not None and cell.values]
            if points:
                curves.append((_title(panel), _title(line), points))
    return curves


def _lines(figure: Figure, matrix: Matrix, level: str, curves: Sequence[Curve]) -> None:
    panels = list(dict.fromkeys(panel for panel, _, _ in curves))
    names = list(dict.fromkeys(line for _, line, _ in curves))
    across = min(len(panels), 4)
    down = ceil(len(panels) / across)
    figure.set_size_inches(max(2.5 * across + 1.4, 4.2), 2.3 * down + 0.3)
    grid: Any = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
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
        if xs[0] > 0 and xs[-1] / xs[0] >= 100:
            axes.set_xscale("log")
        axes.set_xticks(xs, [label(x) for x in xs])
        axes.minorticks_off()
        if at % across == 0:
            axes.set_ylabel(matrix.quantity)
        if at >= len(panels) - across:
            axes.set_xlabel(level)
            axes.tick_params(labelbottom=True)
    if matrix.measured[0].unit == "proportion":
        top = matrix.measured[0].scale(matrix.spec.percent)
        grid[0, 0].set_ylim(-0.03 * top, 1.03 * top)
    figure.tight_layout()
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        handles |= {text: handle for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend([handles[name] for name in names if name in handles], [name for name in names if name in handles],
                  loc="center left", bbox_to_anchor=(1.0, 0.5))  # fmt: skip


def _curve(axes: Axes, matrix: Matrix, points: Sequence[tuple[float, Cell]], index: int, name: str) -> None:
    x = np.array([position for position, _ in points])
    y = np.array([_value(matrix, cell) for _, cell in points])
    sd = np.array([(cell.sd or 0.0) * cell.scale(matrix.spec.percent) for _, cell in points])
    colour, marker = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
    dashes = DASHES[index // len(PALETTE) % len(DASHES)]
    axes.plot(x, y, color=colour, marker=marker, linestyle=dashes, markersize=4, linewidth=1.4, label=name)
    axes.fill_between(x, y - sd, y + sd, color=colour, alpha=0.18, linewidth=0)


def _images(figure: Figure, grid: ImageGrid) -> None:
    count = min(len(grid.clean), MAX_IMAGES)
    clean, perturbed = (np.asarray(images[:count], np.float32) for images in (grid.clean, grid.perturbed))
    difference = perturbed - clean
    largest = float(np.abs(difference).max(initial=0.0))
    scaled = difference / (2 * largest) + 0.5 if largest else np.full_like(difference, 0.5)
    figure.set_size_inches(1.05 * count + 1.0, 3.6)
    axes: Any = figure.subplots(3, count, squeeze=False, gridspec_kw={"wspace": 0.08, "hspace": 0.08})
    captions = ("clean", "perturbed", f"difference\n(±{largest:.3g})")
    for row, (caption, images) in enumerate(zip(captions, (clean, perturbed, scaled), strict=True)):
        for column in range(count):
            cell = axes[row, column]
            grey = images.shape[-1] == 1
            cell.imshow(images[column, ..., 0] if grey else images[column], vmin=0, vmax=1, interpolation="nearest",
                        cmap=("RdBu_r" if row == 2 else "gray") if grey else None)  # fmt: skip
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_color("#cfd6db")
        axes[row, 0].set_ylabel(caption, rotation=0, ha="right", va="center", labelpad=8)
    for column in range(count):
        true, predicted = grid.true[column], grid.predicted[column]
        axes[0, column].set_title(str(true), fontsize=8.5, pad=4)
        if predicted == "":
            continue
        wrong = str(true) != str(predicted)
        axes[2, column].set_xlabel(f"→ {predicted}", color="#b3261e" if wrong else "#1b6e3c", fontsize=8.5, labelpad=4,
                                   fontweight="bold" if wrong else "normal")  # fmt: skip


def _value(matrix: Matrix, cell: Cell) -> float:
    return cell.mean * cell.scale(matrix.spec.percent) if cell.values else float("nan")


def _short(matrix: Matrix, row: Key, column: Key) -> str:
    cell = matrix.cells[row, column]
    if not cell.values:
        return cell.hole.split(":")[0].replace(" ", "\n")
    if cell.unit == "proportion" and matrix.spec.percent:
        return number(cell.mean, 1, 100.0)
    return cell.mean_text(matrix.spec.percent)


def _without(key: Key, depth: int) -> Key:
    return key[:depth] + key[depth + 1 :]


def _title(key: Sequence[Plain]) -> str:
    return " · ".join(filter(None, map(label, key)))
