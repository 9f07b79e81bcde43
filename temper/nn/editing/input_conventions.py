"""What a Keras model expects of its input, as layers in front of it that take images (n, height, width, channels) in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from temper.core.artefacts import Images
from temper.nn.editing.copies import connected
from temper.nn.editing.logits import free_name
from temper.nn.images.preprocessing import LUMA, Grey
from temper.system import backend

InputShape = tuple[int | None, ...]
"""The shape of a model's input without the batch; ``None`` is a side of any length."""


@dataclass(frozen=True)
class InputConventions:
    """The model's input is ``scale * pixel + offset``, perhaps grey, perhaps with its channels first.

    Flattening is added where the input is flat, and the channel axis of grey images is taken off where it has none.
    """

    scale: float = 1.0
    offset: float = 0.0
    grey: Grey | None = None
    channels_first: bool = False

    def given(self, image: tuple[int, int, int]) -> InputShape:
        """Return the shape of an image (height, width, channels) as the model gets it, before flattening."""
        height, width, channels = image
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
        if self.grey:
            luma = LUMA if self.grey == "luma" else LUMA[::-1]
            weights = keras.initializers.Constant(luma.reshape(1, 1, 3, 1).tolist())
            yield keras.layers.Conv2D(
                1, 1, use_bias=False, kernel_initializer=weights, trainable=False, name=name("input_grey")
            )
        if (self.scale, self.offset) != (1.0, 0.0):
            yield keras.layers.Rescaling(self.scale, self.offset, name=name("input_scale"))
        if self.channels_first:
            yield keras.layers.Permute((3, 1, 2), name=name("input_channels_first"))
        if len(wanted) == 1:
            yield keras.layers.Flatten(name=name("input_flat"))
        if len(wanted) == 2:
            yield keras.layers.Reshape(wanted, name=name("input_without_channels"))


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
