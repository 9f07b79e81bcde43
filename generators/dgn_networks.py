"""The architectures of data generator networks: convolutional autoencoders from an image to one of the same size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from temper.core.errors import StageError
from temper.system import backend

Architecture = Literal["auto", "mnist", "cifar", "adaptive"]
Init = Literal["he", "legacy"]
Shape = tuple[int, int, int]

PUBLISHED_SHAPES: dict[str, Shape] = {"mnist": (28, 28, 1), "cifar": (32, 32, 3)}
"""The image shape that each published architecture is made for."""
# Channels of the published CIFAR-10 encoder.
_FILTERS = (32, 64, 128, 128)
_SMALLEST_CODE = 2


def resolve(architecture: Architecture, shape: Shape) -> str:
    """Return the architecture for images of a shape: ``auto`` is the published one if it fits, else adaptive.

    Raises:
        StageError: a published architecture is requested, and images have another shape.
    """
    if architecture == "auto":
        return next((name for name, fitting in PUBLISHED_SHAPES.items() if fitting == shape), "adaptive")
    if PUBLISHED_SHAPES.get(architecture, shape) != shape:
        raise StageError(
            f"architecture: {architecture} takes images of shape {PUBLISHED_SHAPES[architecture]}, received {shape}; use auto"
        )
    return architecture


def build(architecture: Architecture, shape: Shape, init: Init, seed: int) -> Any:
    """Return a Keras model from images (n, h, w, c) to images of the same shape in [0, 1], with fresh weights.

    Encoder: convolutions with ReLU. Decoder: transposed convolutions, each but the last followed by ReLU and then batch
    normalisation, the last by a sigmoid.

    Source: DeepCustom, its figures 2 and 3 of the architectures (its text swaps kernels and strides).
    """
    keras = backend.keras()
    backend.seed(seed)
    layers = {"mnist": _mnist, "cifar": _cifar, "adaptive": _adaptive}[resolve(architecture, shape)](shape, init)
    return keras.Sequential([keras.Input(shape), *layers])


def _mnist(shape: Shape, init: Init) -> Iterator[Any]:
    layers = backend.keras().layers
    for filters, padding in ((32, "same"), (64, "same"), (128, "valid")):
        yield _convolution(filters, init, padding=padding)
        yield layers.MaxPooling2D(2, padding="same")
    yield from _decoder((64, 3, 2), (32, 2, 2), last=(shape[2], 2, 2))


def _cifar(shape: Shape, init: Init) -> Iterator[Any]:
    for filters, strides in ((32, 1), (64, 2), (128, 1), (128, 2)):
        yield _convolution(filters, init, strides=strides)
    yield from _decoder((128, 3, 2), (64, 4, 1), (32, 4, 2), last=(shape[2], 3, 1))


def _adaptive(shape: Shape, init: Init) -> Iterator[Any]:
    """Yield the halvings that leave a code of at least 2 x 2, from one to four of them, and their inverses."""
    height, width, channels = shape
    depth = max(1, min(len(_FILTERS), (min(height, width) // _SMALLEST_CODE).bit_length() - 1))
    for filters in _FILTERS[:depth]:
        yield _convolution(filters, init, strides=2, padding="same")
    back = [(filters, 3, 2) for filters in reversed(_FILTERS[: depth - 1])]
    yield from _decoder(*back, last=(channels, 3, 2), padding="same")
    # Each halving rounds up, so the decoder may return a few rows too many, which are cropped.
    step = 2**depth
    surplus = [-size % step for size in (height, width)]
    yield backend.keras().layers.Cropping2D(((0, surplus[0]), (0, surplus[1])))


def _convolution(filters: int, init: Init, strides: int = 1, padding: str = "valid") -> Any:
    keras = backend.keras()
    kernel, bias = keras.initializers.HeNormal(), keras.initializers.Zeros()
    if init == "legacy":
        # The artefact uses the height of the kernel as its fan-in.
        kernel = keras.initializers.TruncatedNormal(stddev=(2 / 3) ** 0.5)
        bias = keras.initializers.Constant(0.1)
    common = {"activation": "relu", "kernel_initializer": kernel, "bias_initializer": bias}
    return keras.layers.Conv2D(filters, 3, strides=strides, padding=padding, **common)


def _decoder(*stages: tuple[int, int, int], last: tuple[int, int, int], padding: str = "valid") -> Iterator[Any]:
    """Yield transposed convolutions of (filters, kernel, stride)."""
    layers = backend.keras().layers
    for filters, kernel, strides in stages:
        yield layers.Conv2DTranspose(filters, kernel, strides=strides, padding=padding, activation="relu")
        yield layers.BatchNormalization()
    filters, kernel, strides = last
    yield layers.Conv2DTranspose(filters, kernel, strides=strides, padding=padding, activation="sigmoid")
