"""Plots of scores: their distributions by set, their rank correlations, and the faults found along their orders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.report_spec import FaultCurves, ScoreCorrelations, ScoreHistograms
from temper.engine.report.figure_style import DASHES, FAINT, INK, PALETTE, draw_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = (10, 40)  # minimum and maximum; the number of inputs of the smallest set decides
TAILS = (0.5, 99.5)  # percentiles; the outermost bins count values beyond them
WIDE = 1e3  # positive scores that spread over more than this factor have a logarithmic scale
MAX_DECADES = 9.0  # of a logarithmic scale
MAX_POINTS = 400  # of a curve
EMPTY, GRID = "#eceff1", "#dfe4e8"


def histogram_figure(found: ScoreHistograms) -> bytes:
    """Return the distributions of each score over the sets as PNG, a panel for each score."""
    return draw_png(partial(_histograms, found=found))


def correlation_figure(found: ScoreCorrelations) -> bytes:
    """Return the rank correlations of scores as PNG, a heat map for each set."""
    return draw_png(partial(_correlations, found=found))


def fault_figure(found: FaultCurves) -> bytes:
    """Return the share of faults found along each order as PNG, a panel for each set."""
    return draw_png(partial(_faults, found=found))


def _histograms(figure: Figure, found: ScoreHistograms) -> None:
    count = len(found.scores)
    down = ceil(count / 4)
    across = ceil(count / down)
    figure.set_size_inches(2.6 * across + 0.6, 1.75 * down + 0.2)
    grid: Any = figure.subplots(down, across, squeeze=False)
    for i, axes in enumerate(grid.flat):
        if i >= count:
            axes.set_visible(False)
            continue
        sets = [values[np.isfinite(values)] for values in found.values[i]]
        wide = _is_wide(sets)
        edges = _edges(sets, logarithmic=wide)
        for at, values in enumerate(sets):
            if len(values):
                shares = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
                colour = PALETTE[at % len(PALETTE)]
                axes.stairs(100 * shares, edges, color=colour, linewidth=1.3, linestyle=DASHES[at // len(PALETTE)])
                axes.stairs(100 * shares, edges, color=colour, alpha=0.15, fill=True)
        _style_axes(axes, _multiline(found.scores[i]))
        if wide:
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_ylim(bottom=0)
        if i % across == 0:
            axes.set_ylabel("inputs (%)")
    _legend(figure, list(found.sets))
    figure.tight_layout()


def _is_wide(sets: Sequence[NDArray[Any]]) -> bool:
    """Return whether scores spread over orders of magnitude, so that one linear bin would hold nearly all of them."""
    values = np.concatenate(sets)
    if not len(values) or values.min() < 0:
        return False
    low, high = np.percentile(values, (25, 99.5))
    return bool(high > WIDE * low and (values > 0).mean() > 0.5)


def _edges(sets: Sequence[NDArray[Any]], *, logarithmic: bool) -> NDArray[Any]:
    """Return the bin edges that all sets share."""
    values = np.concatenate(sets)
    if logarithmic:
        values = np.log10(values[values > 0])
    low, high = np.percentile(values, TAILS) if len(values) else (0.0, 1.0)
    if logarithmic:
        low = max(low, high - MAX_DECADES)
    if not high > low:
        low, high = low - 0.5, low + 0.5
    fewest = min((len(one) for one in sets if len(one)), default=0)
    # Two bins per cube root of the number of inputs (Rice rule).
    edges: NDArray[Any] = np.linspace(low, high, int(np.clip(2 * fewest ** (1 / 3), *BINS)) + 1)
    return 10.0**edges if logarithmic else edges


def _correlations(figure: Figure, found: ScoreCorrelations) -> None:
    names, sets = [name.replace(" (", "\n(") for name in found.scores], list(found.sets)
    cell = 0.42
    side = cell * len(names)
    across = min(len(sets), max(1, int(11 / (side + 0.3))))
    down = ceil(len(sets) / across)
    figure.set_size_inches(across * (side + 0.3), down * (side + 0.4))
    grid: Any = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for i, axes in enumerate(grid.flat):
        if i >= len(sets):
            axes.set_visible(False)
            continue
        table = found.correlations[i]
        axes.imshow(np.ma.masked_invalid(table), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        axes.set_facecolor(EMPTY)
        for row, column in np.ndindex(table.shape):
            value = table[row, column]
            text = f"{value:.2f}".replace("0.", ".") if np.isfinite(value) else ""
            axes.text(
                column, row, text, ha="center", va="center", fontsize=6.5, color="white" if abs(value) > 0.7 else INK
            )
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.tick_params(length=0, labelbottom=i + across >= len(sets))
        axes.spines[:].set_visible(False)
        axes.set_title(sets[i], loc="left", fontweight="bold")
    figure.tight_layout()


def _faults(figure: Figure, found: FaultCurves) -> None:
    sets = list(found.curves)
    names = list(dict.fromkeys(name for lines in found.curves.values() for name in lines))
    across = min(len(sets), 3)
    down = ceil(len(sets) / across)
    figure.set_size_inches(3.4 * across + 0.4, 2.9 * down)
    grid: Any = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for i, axes in enumerate(grid.flat):
        if i >= len(sets):
            axes.set_visible(False)
            continue
        lines = found.curves[sets[i]]
        n, faults = next((len(line) - 1, int(line[-1])) for line in lines.values())
        axes.plot([0, 100 * faults / n, 100], [0, 100, 100], color=FAINT, linewidth=0.9, linestyle=":")
        axes.plot([0, 100], [0, 100], color=FAINT, linewidth=0.9, linestyle=":")
        for at, name in enumerate(names):
            if name in lines:
                places = np.unique(np.linspace(0, n, min(n, MAX_POINTS) + 1).astype(int))
                axes.plot(100 * places / n, 100 * lines[name][places] / faults, color=PALETTE[at % len(PALETTE)],
                          linestyle=DASHES[at // len(PALETTE) % len(DASHES)], linewidth=1.4)  # fmt: skip
        _style_axes(axes, f"{sets[i]}: {faults} of {n} wrong")
        axes.set(xlim=(0, 100), ylim=(-2, 102))
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("inputs inspected (%)")
        if i % across == 0:
            axes.set_ylabel("faults found (%)")
    _legend(figure, names)
    figure.tight_layout()


def _style_axes(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7.5)


def _multiline(name: str) -> str:
    """Return a name with each of its parameters on a line of its own."""
    return name.replace(" (", "\n(").replace(", ", ",\n")


def _legend(figure: Figure, names: list[str]) -> None:
    from matplotlib.lines import Line2D

    lines = [
        Line2D(
            [], [], color=PALETTE[i % len(PALETTE)], linestyle=DASHES[i // len(PALETTE) % len(DASHES)], linewidth=1.8
        )
        for i in range(len(names))
    ]
    figure.legend(lines, names, loc="center left", bbox_to_anchor=(1.0, 0.5))
