"""Differences between Theano and TensorFlow for the same model configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from temper.core.errors import StageError
from temper.system import backend


def convolves(layer: Any) -> bool:
    """Return whether a layer is a plain convolution of more than one pixel, whose kernel Theano rotates."""
    return isinstance(layer, backend.keras().layers.Conv2D) and layer.kernel_size != (1, 1)


def check_padding(model: Any) -> None:
    """Check that ``padding: same`` is identical in Theano and TensorFlow for all layers of a model.

    Both pad all sides, but by different amounts at the top and left if the window is even or the stride above 1.

    Raises:
        StageError: it is not; the message names the layer.

    Source: Keras 2.3.1, ``theano_backend.conv2d`` (``border_mode: half``) and ``theano_backend.pool2d``.
    """
    for layer in model.layers:
        if getattr(layer, "padding", None) == "same" and any(ours != theirs for ours, theirs in _before(layer)):
            raise StageError(
                f"layer '{layer.name}': Theano, with which the model was saved, pads (padding: same) by another number of rows and "
                "columns at the top and left than TensorFlow; rebuild the model with ZeroPadding2D and padding: valid"
            )


def _before(layer: Any) -> Iterator[tuple[int, int]]:
    """Yield for both axes the padding before an image: by TensorFlow, and by Theano."""
    pools = hasattr(layer, "pool_size")
    windows = layer.pool_size if pools else layer.kernel_size
    gaps = (1, 1) if pools else layer.dilation_rate
    for side, window, gap, stride in zip(layer.input.shape[1:3], windows, gaps, layer.strides, strict=True):
        wide = (window - 1) * gap + 1
        # For images of any size, assume the usual case of a size divisible by the stride.
        rest = stride if side is None or side % stride == 0 else side % stride
        ours = max(wide - rest, 0) // 2
        yield ours, (window - 2 if window > 2 and window % 2 else window - 1) if pools else wide // 2
