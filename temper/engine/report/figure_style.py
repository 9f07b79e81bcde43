"""The style of figures, and PNG files that are identical for identical numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT = "#1d2530", "#6b7580"
# Okabe and Ito (2008): distinguishable by colour-blind readers, and by marker in grey print.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d1f")
MARKERS = "osD^vP*X"
DASHES = ("-", "--", ":", "-.")
DPI = 160
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

_WATERMARK: ContextVar[str] = ContextVar("mark", default="")


@contextmanager
def watermarked(mark: str) -> Iterator[None]:
    """Draw a watermark across every figure of the block; none if it is empty."""
    before = _WATERMARK.set(mark)
    try:
        yield
    finally:
        _WATERMARK.reset(before)


def draw_png(draw: Callable[[Figure], None]) -> bytes:
    """Return as PNG what a function draws on a figure; the same numbers give the same bytes."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    buffer = BytesIO()
    with rc_context(_STYLE):
        figure = Figure(facecolor="white")  # not by pyplot, which keeps figures in a global list
        FigureCanvasAgg(figure)
        draw(figure)
        if mark := _WATERMARK.get():
            style: dict[str, Any] = {
                "color": "#c00000",
                "alpha": 0.4,
                "fontsize": 32,
                "fontweight": "bold",
                "rotation": 25,
                "zorder": 1000,
            }
            figure.text(0.5, 0.5, mark, ha="center", va="center", **style)
        # Without matplotlib's version in the metadata the same numbers give the same bytes.
        figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.08, metadata={"Software": None})
    return buffer.getvalue()
