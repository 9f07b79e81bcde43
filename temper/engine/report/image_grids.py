"""Grids of example images: before and after, and by class."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from temper.core.report_spec import MAX_CLASSES, ClassGrid, ImageGrid
from temper.engine.report.figure_style import draw_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_IMAGES = 10  # columns of a grid
MAX_LETTERS = 12  # of a class name above an image
_DRAWABLE = (1, 3)  # channels: grey and RGB
EDGE = "#cfd6db"
RIGHT, WRONG = "#1b6e3c", "#b3261e"
Box = tuple[float, float, int, int]  # left, top, width and height


def grid_figure(grid: ImageGrid) -> bytes:
    """Return clean, perturbed and difference images in rows as PNG.

    Raises:
        ValueError: the images have neither one channel nor three.
    """
    _check_channels(grid.clean, grid.perturbed)
    return draw_png(partial(_images, grid=grid))


def class_figure(grid: ClassGrid) -> bytes:
    """Return a row for each class as PNG: its images on the left, those generated from them on the right.

    Raises:
        ValueError: the images have neither one channel nor three.
    """
    _check_channels(*grid.clean, *grid.made)
    return draw_png(partial(_classes, grid=grid))


def _check_channels(*groups: Any) -> None:
    for images in groups:
        if len(images) and (channels := np.shape(images)[-1]) not in _DRAWABLE:
            raise ValueError(f"expected images of 1 or 3 channels, received {channels}; they cannot be drawn")


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
            _show(cell, images[column], "RdBu_r" if row == 2 else "gray")
        axes[row, 0].set_ylabel(caption, rotation=0, ha="right", va="center", labelpad=8)
    for column in range(count):
        true, predicted = grid.true[column], grid.predicted[column]
        axes[0, column].set_title(_short(true), fontsize=8.5, pad=4)
        if predicted == "":
            continue
        wrong = str(true) != str(predicted)
        axes[2, column].set_xlabel(f"→ {_short(predicted)}", color=WRONG if wrong else RIGHT, fontsize=8.5, labelpad=4,
                                   fontweight="bold" if wrong else "normal")  # fmt: skip


def _classes(figure: Figure, grid: ClassGrid) -> None:
    rows = min(len(grid.classes), MAX_CLASSES)
    across = max([1, *(len(images) for images in grid.clean[:rows])])
    # One image for the whole grid: a figure with a hundred axes takes seconds.
    height, width = next(images.shape[1:3] for images in grid.clean if len(images))
    gap = max(1, round(0.09 * width))
    wide, high, middle = width + gap, height + gap, across * (width + gap) + 3 * gap
    canvas: Any = np.ones((rows * high, middle + across * wide, 3), np.float32)
    for row in range(rows):
        for start, images in ((0, grid.clean[row]), (middle, grid.made[row])):
            for column, image in enumerate(images):
                left = start + column * wide
                canvas[row * high : row * high + height, left : left + width] = image
    figure.set_size_inches(0.78 * canvas.shape[1] / wide, 0.78 * canvas.shape[0] / wide)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(canvas, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    for row in range(rows):
        for start, images in ((0, grid.clean[row]), (middle, grid.made[row])):
            for column in range(len(images)):
                _frame(axes, (start + column * wide - 0.5, row * high - 0.5, width, height), EDGE, 0.8)
    axes.set_xticks([])
    axes.set_yticks([row * high + height / 2 - 0.5 for row in range(rows)], grid.classes[:rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for start, text in ((0, "clean"), (middle, "generated from them")):
        axes.text(start - 0.5, -1.2 * gap, text, fontweight="bold", va="bottom")
    for row in range(rows):
        for column, (text, wrong) in enumerate(zip(grid.predicted[row], grid.wrong[row], strict=True)):
            if text:
                _verdict(axes, (middle + column * wide - 0.5, row * high - 0.5, width, height), text, wrong)


def _short(name: Any) -> str:
    """Return the name of a class, shortened to fit an image."""
    text = str(name)
    return text if len(text) <= MAX_LETTERS else text[: MAX_LETTERS - 1] + "…"


def _show(axes: Axes, image: Any, shades: str = "gray") -> None:
    """Show an image (h, w, c) in [0, 1] in a thin frame; a single channel is shown in grey."""
    grey = image.shape[-1] == 1
    axes.imshow(
        image[..., 0] if grey else image, vmin=0, vmax=1, interpolation="nearest", cmap=shades if grey else None
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(EDGE)


def _frame(axes: Axes, box: Box, colour: str, line: float) -> None:
    from matplotlib.patches import Rectangle

    left, top, width, height = box
    axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=line, clip_on=False))


def _verdict(axes: Axes, box: Box, text: str, wrong: bool) -> None:
    """Frame an image and write a prediction into its lower left corner."""
    left, top, width, height = box
    colour = WRONG if wrong else RIGHT
    _frame(axes, box, colour, 1.8)
    axes.text(left + 0.05 * width, top + 0.95 * height, _short(text), fontsize=7, fontweight="bold", color="white", va="bottom",
              bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2, "alpha": 0.9})  # fmt: skip
