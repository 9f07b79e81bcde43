"""What a Keras model expects of its input, as layers in front of it that take images (n, height, width, channels) in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images
from temper.nn.editing.channel_statistics import CHANNEL_STATISTICS, KnownStatistics
from temper.nn.editing.copies import connected
from temper.nn.editing.logits import free_name
from temper.nn.images.preprocessing import LUMA, Grey
from temper.system import backend

InputShape = tuple[int | None, ...]
"""The shape of a model's input without the batch; ``None`` is a side of any length."""


@dataclass(frozen=True)
class InputConventions:
    """What happens to an image in [0, 1] before the model, in this order.

    It is resized (bilinearly, as TensorFlow does without antialiasing), turned grey, becomes ``scale * pixel + offset`` or
    ``(pixel - mean) / std`` for each channel, its red and blue are swapped, and its channels move first. ``mean`` and ``std``
    have one value for all channels, or one each; ``known`` names those of a data set. Flattening is added where the input is
    flat, and the channel axis of grey images is taken off where it has none.
    """

    scale: float = 1.0
    offset: float = 0.0
    grey: Grey | None = None
    channels_first: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    known: KnownStatistics | None = None
    bgr: bool = False
    resize: tuple[int, ...] = ()

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for conventions that contradict each other."""
        affine = (self.scale, self.offset) != (1.0, 0.0)
        if self.known and (self.mean or self.std):
            yield "mean_std", "expected a name here, or `mean` and `std`, received both; remove one"
        elif affine and (self.known or self.mean or self.std):
            given = "mean_std" if self.known else "mean" if self.mean else "std"
            yield (
                given,
                f"expected either `scale` and `offset` or `{given}`, received both; write all as mean and std of pixels in [0, 1]: "
                "(255 * pixel - m) / s has the mean m / 255 and the std s / 255",
            )
        if len({len(values) for values in (self.mean, self.std)} - {0, 1}) > 1:
            yield "std", f"expected as many values as `mean`, received {len(self.mean)} and {len(self.std)}"
        if any(not value > 0 for value in self.std):
            yield "std", f"expected values above 0, received {list(self.std)}"
        if self.bgr and self.grey:
            yield "bgr", "a grey image has no blue and red to swap; use grey: luma_bgr"
        if self.resize and (len(self.resize) != 2 or min(self.resize) < 1):
            yield "resize", f"expected [height, width] of at least 1 pixel, received {list(self.resize)}"

    def misfits(self, channels: int) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for conventions that images of so many channels cannot follow."""
        if self.grey and channels != 3:
            yield "grey", f"expected images of 3 channels, received {channels}; remove `grey`"
            return
        channels = 1 if self.grey else channels
        if self.bgr and channels != 3:
            yield "bgr", f"expected images of 3 channels, received {channels}; remove `bgr`"
        fields = ("mean_std",) * 2 if self.known else ("mean", "std")
        for name, values in zip(fields, self._statistics, strict=True):
            if len(values) not in (0, 1, channels):
                yield name, f"expected 1 value or one for each of {channels} channels, received {len(values)}"
                return

    @property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return CHANNEL_STATISTICS[self.known] if self.known else (self.mean, self.std)

    @property
    def affine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Factor and offset of a pixel in [0, 1], one for all channels or one each."""
        if any(self._statistics):
            mean, std = (np.asarray(v or (d,), float) for v, d in zip(self._statistics, (0.0, 1.0), strict=True))
            return 1 / std, -mean / std
        return np.array([self.scale]), np.array([self.offset])

    def given(self, image: tuple[int, int, int]) -> InputShape:
        """Return the shape of an image (height, width, channels) as the model gets it, before flattening."""
        height, width, channels = (*(self.resize or image[:2]), image[2])
        channels = 1 if self.grey else channels
        return (channels, height, width) if self.channels_first else (height, width, channels)

    def in_front_of(self, model: Any, image: tuple[int, int, int]) -> Any:
        """Return the model behind the layers that turn an image of a shape into its input; itself where there are none."""
        keras = backend.keras()
        taken = {layer.name for layer in model.layers}
        inputs = keras.Input(image, name=free_name("image", taken))
        layers = list(self._layers(model.input_shape[1:], lambda name: free_name(name, taken)))
        if not layers and not any(side is None for side in model.input_shape[1:]):
            return model
        tensor = inputs
        for layer in layers:
            tensor = layer(tensor)
        # Copies: a layer that is called twice has no one output any more, which whoever reads activations needs.
        return keras.Model(inputs, connected(model, tensor))

    def applied(self, images: Images, wanted: InputShape) -> Images:
        """Return images (n, height, width, channels) as a model with an input of the shape ``wanted`` gets them."""
        keras = backend.keras()
        inputs = keras.Input(wanted)
        front = self.in_front_of(keras.Model(inputs, keras.layers.Identity()(inputs)), images.shape[1:])
        return np.asarray(keras.ops.convert_to_numpy(front(images)))

    def _layers(self, wanted: InputShape, name: Callable[[str], str]) -> Iterator[Any]:
        keras = backend.keras()
        if self.resize:
            height, width = self.resize
            yield keras.layers.Resizing(height, width, interpolation="bilinear", name=name("input_size"))
        if self.grey:
            luma = LUMA if self.grey == "luma" else LUMA[::-1]
            yield _mixing(luma[:, None], name("input_grey"))
        if (self.scale, self.offset) != (1.0, 0.0):
            yield keras.layers.Rescaling(self.scale, self.offset, name=name("input_scale"))
        if any(self._statistics):
            yield keras.layers.Rescaling(*_listed(*self.affine), name=name("input_mean_std"))
        if self.bgr:
            yield _mixing(np.eye(3)[::-1], name("input_bgr"))
        if self.channels_first:
            yield keras.layers.Permute((3, 1, 2), name=name("input_channels_first"))
        if len(wanted) == 1:
            yield keras.layers.Flatten(name=name("input_flat"))
        if len(wanted) == 2:
            yield keras.layers.Reshape(wanted, name=name("input_without_channels"))


def _mixing(weights: NDArray[Any], name: str) -> Any:
    """Return a layer that mixes the channels of each pixel by weights (channels, new channels)."""
    keras = backend.keras()
    constant = keras.initializers.Constant(weights.reshape(1, 1, *weights.shape).tolist())
    return keras.layers.Conv2D(
        weights.shape[1], 1, use_bias=False, kernel_initializer=constant, trainable=False, name=name
    )


def _listed(scale: NDArray[Any], offset: NDArray[Any]) -> tuple[Any, Any]:
    """Return factors and offsets as Keras writes them into a configuration: numbers, or lists of equal lengths."""
    if scale.size == offset.size == 1:
        return float(scale.item()), float(offset.item())
    both = np.broadcast_arrays(scale, offset)
    return both[0].tolist(), both[1].tolist()


def agree(wanted: InputShape, given: InputShape) -> bool:
    """Return whether an image of a shape can be given to a model with an input of a shape, flattened if need be."""
    if len(wanted) == 1:
        given = (math.prod(side or 0 for side in given),)
    if len(wanted) == 2 and len(given) == 3 and 1 in given[::2]:
        given = given[:2] if given[2] == 1 else given[1:]  # grey images without a channel axis
    return len(wanted) == len(given) and all(a is None or a == b for a, b in zip(wanted, given, strict=True))


def form(shape: InputShape) -> str:
    """Return a shape in words: ``28x28x1 images``."""
    return "x".join("any" if side is None else str(side) for side in shape) + " images"
