"""Pictures of localisation results: relevance of pixels, and suspicious units by layer and class."""

from __future__ import annotations

from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.report_spec import MAX_CLASSES, LayerMap, RelevanceMap
from temper.engine.report.figure_style import FAINT, INK, draw_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRAP = 64  # units per line of a layer map; larger layers continue on the next line
EMPTY = "#eceff1"
NAME_SIZE, TITLE_SIZE = 6, 8.5  # points
WIDTH, COLUMN = 10.0, 4.2  # maximum inches: of all maps side by side, and of one map among several
UNIT = (0.1, 0.16)  # inches: minimum size of a unit in maps side by side, and maximum size
TITLE, GAP = 0.2, 0.22  # inches: above a map, between maps
SCALE = (0.14, 0.9, 2.5)  # inches: width of the colour scale, its minimum and maximum height
OUTLIER = 3.0  # scores above this multiple of the 99th percentile do not determine the scale


def relevance_figure(found: RelevanceMap) -> bytes:
    """Return a heat map for each class as PNG, summed over channels; each on its own scale, white is zero."""
    return draw_png(partial(_relevance, found=found))


def layer_figure(found: LayerMap) -> bytes:
    """Return a map of the units for each class as PNG: layers from top to bottom, selected units outlined."""
    return draw_png(partial(_layers, found=found))


def _relevance(figure: Figure, found: RelevanceMap) -> None:
    count = min(len(found.classes), MAX_CLASSES)
    across = min(count, 5 if count <= 10 else 6)
    down = ceil(count / across)
    figure.set_size_inches(1.75 * across + 0.5, 2.05 * down)
    grid: Any = figure.subplots(down, across, squeeze=False, gridspec_kw={"wspace": 0.12, "hspace": 0.3})
    for i, axes in enumerate(grid.flat):
        if i >= count:
            axes.set_visible(False)
            continue
        image = found.relevance[i].sum(axis=-1)
        known = bool(np.isfinite(image).all())
        largest = float(np.abs(image).max(initial=0.0)) if known else 0.0
        _bare(axes, found.classes[i])
        shown = np.ma.masked_invalid(image)
        axes.imshow(shown, cmap="RdBu_r", vmin=-largest or -1, vmax=largest or 1, interpolation="nearest")
        axes.set_xlabel(f"±{largest:.3g}" if known else "no image", fontsize=7.5, color=FAINT, labelpad=3)


def _layers(figure: Figure, found: LayerMap) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    count = min(len(found.classes), MAX_CLASSES)
    lines = _lines(found)
    units = min(WRAP, max(units for _, units in found.layers))
    titles = [_title(found, label) for label in range(count)]
    # Laid out in inches, so that names and the scale keep their space for any number of units.
    unit = min(UNIT[1], (COLUMN if units * UNIT[0] <= COLUMN else WIDTH) / units)
    names = max(_inches(name, NAME_SIZE) for name, _ in found.layers) + 0.1
    wide = max(unit * units, *(_inches(title, TITLE_SIZE, "bold") for title in titles))
    high = max(unit * len(lines), 0.11 * len(found.layers))
    column, row = names + wide + GAP, high + TITLE + GAP
    down = ceil(count / max(1, int((WIDTH + GAP) / column)))
    across = ceil(count / down)
    tall = min(max(down * row - TITLE - GAP, SCALE[1]), SCALE[2])
    width, height = across * column + SCALE[0] + 0.6, max(down * row, TITLE + tall)
    figure.set_size_inches(width, height)
    low, top = _scale(found.scores[:count])
    scale = ScalarMappable(Normalize(low, top), "RdBu_r" if low < 0 else "YlOrRd")
    for label in range(count):
        left, upper = label % across * column + names, label // across * row + TITLE
        place = (left / width, 1 - (upper + high) / height, unit * units / width, high / height)
        _units(figure.add_axes(place), found, label, titles[label], lines, units, scale)
    place = (across * column / width, 1 - (TITLE + tall) / height, SCALE[0] / width, tall / height)
    bar = figure.colorbar(scale, cax=figure.add_axes(place))
    bar.outline.set_visible(False)
    bar.set_label("score", fontsize=8)
    bar.ax.tick_params(labelsize=7, length=2)


def _units(
    axes: Axes, found: LayerMap, label: int, title: str, lines: list[tuple[int, int]], width: int, scale: Any
) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    scores = found.scores[label]
    _bare(axes, title)
    image: NDArray[Any] = np.full((len(lines), width), np.nan)
    for line, (start, units) in enumerate(lines):
        image[line, :units] = np.clip(scores[start : start + units], *scale.get_clim())
    # The lower image shows all units, the upper one those with scores; incomplete lines end in white.
    below = np.ma.masked_less(np.arange(width) < np.array([[units] for _, units in lines]), 1)
    axes.imshow(below, cmap=ListedColormap([EMPTY]), aspect="auto", interpolation="nearest")
    axes.imshow(np.ma.masked_invalid(image), cmap=scale.cmap, norm=scale.norm, aspect="auto", interpolation="nearest")
    axes.set_facecolor("white")
    firsts = np.cumsum([0, *(units for _, units in found.layers)])
    ticks = [next(i for i, (start, _) in enumerate(lines) if start == first) for first in firsts[:-1]]
    axes.set_yticks(ticks, [name for name, _ in found.layers], fontsize=NAME_SIZE)
    axes.tick_params(length=0, pad=2)
    for tick in ticks[1:]:
        axes.axhline(tick - 0.5, color="white", linewidth=1.2)
    for unit in found.selected[label]:
        line = next(i for i, (start, units) in enumerate(lines) if start <= unit < start + units)
        corner = (unit - lines[line][0] - 0.5, line - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=1.1, clip_on=False, zorder=3))


def _title(found: LayerMap, label: int) -> str:
    return found.classes[label] + (": not localised" if np.isnan(found.scores[label]).all() else "")


def _inches(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of a text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, prop=FontProperties(size=size, weight=weight)).get_extents().xmax) / 72


def _lines(found: LayerMap) -> list[tuple[int, int]]:
    """Return the first unit and the number of units of every line of the map."""
    lines, start = [], 0
    for _, units in found.layers:
        lines += [(start + at, min(WRAP, units - at)) for at in range(0, units, WRAP)]
        start += units
    return lines


def _scale(scores: NDArray[Any]) -> tuple[float, float]:
    """Return the ends of the colour scale, symmetric about zero if any score is negative.

    Scores beyond an end of the scale, infinite ones included, have the colour of that end.
    """
    known = scores[np.isfinite(scores)]
    signed = bool((known < 0).any())
    sizes = np.abs(known)
    high, usual = float(sizes.max(initial=0.0)), float(np.percentile(sizes, 99)) if sizes.size else 0.0
    high = usual if high > OUTLIER * usual > 0 else high or 1.0
    return -high if signed else 0.0, high


def _bare(axes: Axes, title: str) -> None:
    axes.set(xticks=[], yticks=[], facecolor=EMPTY)
    axes.set_title(title, loc="left", fontsize=TITLE_SIZE, fontweight="bold", pad=3)
    axes.spines[:].set_visible(False)
