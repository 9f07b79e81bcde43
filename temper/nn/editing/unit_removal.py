"""Removes units (neurons, feature maps) from a Keras model, with the weights that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.errors import StageError
from temper.nn.editing.copies import clone_layer, copied, set_weights
from temper.system import backend

Places = NDArray[np.int64]
Kept = Places | None
"""The positions of a tensor's last axis that are kept, in ascending order; ``None``: all."""

_UNIT_BY_UNIT = (
    "Activation",
    "AveragePooling2D",
    "Cropping2D",
    "Dropout",
    "ELU",
    "FakeQuantWithMinMaxVars",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "LeakyReLU",
    "MaxPooling2D",
    "ReLU",
    "SpatialDropout2D",
    "UpSampling2D",
    "ZeroPadding2D",
)
"""Layers without weights that process each feature map or neuron independently."""


@dataclass(frozen=True)
class _Cut:
    """The kept positions of a layer: of its inputs, one for each tensor it is called on, and of its output."""

    inputs: tuple[Kept, ...]
    output: Kept


def without_units(model: Any, kept: Mapping[str, Places]) -> Any:
    """Return a copy of a model in which the named layers keep only the units at these positions, in ascending order.

    Layers that read the removed units lose the weights for them: the next convolution its kernels' slices, a dense
    layer behind ``Flatten`` one row for each position of the map, batch normalisation its statistics. All other weights
    are the model's, so that logits change by the contribution of the removed units: not at all where they were always
    0.

    Raises:
        StageError: the units cannot be removed (``removal_obstacles``), or none would remain.
    """
    functional = _functional(model)
    for name, places in kept.items():
        if not len(places):
            raise StageError(f"layer '{name}': no unit would remain; keep at least one")
    cuts = _cuts(functional, kept)

    def smaller(layer: Any) -> Any:
        cut, config = cuts[layer.name], layer.get_config()
        size = "filters" if "filters" in config else "units"
        changed = {} if layer.name not in kept or cut.output is None else {size: len(cut.output)}
        return clone_layer(layer, **changed)

    reduced = backend.keras().models.clone_model(functional, clone_function=smaller)
    for layer in functional.layers:
        if layer.weights:
            set_weights(reduced.get_layer(layer.name), list(_weights(layer, cuts[layer.name])))
    return reduced


def removal_obstacles(model: Any) -> dict[str, str]:
    """Return for each convolution and dense layer of a model why its units cannot be removed; empty where they can.

    They cannot if they are the logits, or if they are combined element by element with the units of another layer, as
    at the end of a residual block: removing those of one layer alone would misalign the operands.
    """
    functional = _functional(model)
    return {layer.name: _obstacle(functional, layer) for layer in functional.layers if _units(layer) is not None}


def _obstacle(functional: Any, layer: Any) -> str:
    units = _units(layer)
    assert units is not None
    try:
        # Any one unit will do: whether removal is possible depends on the layers' kinds only.
        _cuts(functional, {layer.name: np.arange(units - 1)})
    except StageError as error:
        return str(error)
    return ""


def _functional(model: Any) -> Any:
    """Return a copy whose layers are called once each and shared with no other model."""
    # A copy: each layer must have exactly one call and one output.
    return copied(backend.keras().Model(model.inputs[0], model.outputs[0]))


def _units(layer: Any) -> int | None:
    """Return the number of units that a layer with weights computes itself, or ``None``."""
    kind = type(layer).__name__
    return int(layer.output.shape[-1]) if kind in ("Conv2D", "Dense") else None


def _cuts(functional: Any, kept: Mapping[str, Places]) -> dict[str, _Cut]:
    """Return the kept positions of every layer when some layers keep only these units."""
    known = {layer.name for layer in functional.layers}
    if unknown := [name for name in kept if name not in known]:
        raise StageError(f"no layer is called '{unknown[0]}'; expected one of {', '.join(sorted(known))}")
    cuts: dict[str, _Cut] = {}
    for layer in functional.operations:
        (node,) = layer._inbound_nodes
        inputs = tuple(cuts[tensor._keras_history.operation.name].output for tensor in node.input_tensors)
        cuts[layer.name] = _Cut(inputs, _output(layer, inputs, kept.get(layer.name)))
    last = functional.outputs[0]._keras_history.operation.name
    if cuts[last].output is not None:
        raise StageError(f"its units become the logits of '{last}', of which each class needs one")
    return cuts


def _output(layer: Any, inputs: tuple[Kept, ...], wanted: Kept) -> Kept:
    kind = type(layer).__name__
    if _units(layer) is not None and getattr(layer, "groups", 1) == 1 and _channels_last(layer):
        return wanted
    if wanted is not None:
        raise StageError(f"layer '{layer.name}' ({kind}) has no units that could be removed; name a convolution")
    if all(places is None for places in inputs):
        return None
    if kind in _SHAPED and (places := _SHAPED[kind](layer, inputs)) is not None:
        return places
    if kind in _UNIT_BY_UNIT and getattr(layer, "activation", None) is not backend.keras().activations.softmax:
        return inputs[0]
    raise StageError(
        f"its units are combined with those of other layers in '{layer.name}' ({kind}); they can be removed before "
        "convolutions, dense layers, normalisation and pooling only"
    )


def _channels_last(layer: Any) -> bool:
    return getattr(layer, "data_format", "channels_last") in ("channels_last", None)


def _flattened(layer: Any, inputs: tuple[Kept, ...]) -> Kept:
    (places,) = inputs
    *sides, units = layer.input.shape[1:]
    assert places is not None
    if not _channels_last(layer):
        return None
    starts: Places = np.arange(int(np.prod(sides)), dtype=np.int64) * units
    return (starts[:, None] + places).ravel()


def _joined(layer: Any, inputs: tuple[Kept, ...]) -> Kept:
    sizes = [tensor.shape[-1] for tensor in layer.input]
    if layer.axis not in (-1, len(layer.output.shape) - 1):
        return None
    starts = np.cumsum([0, *sizes[:-1]])
    everything = (np.arange(size) if places is None else places for size, places in zip(sizes, inputs, strict=True))
    return np.concatenate([start + places for start, places in zip(starts, everything, strict=True)])


def _normalised(layer: Any, inputs: tuple[Kept, ...]) -> Kept:
    return inputs[0] if layer.axis in (-1, len(layer.output.shape) - 1, [len(layer.output.shape) - 1]) else None


def _depthwise(layer: Any, inputs: tuple[Kept, ...]) -> Kept:
    return inputs[0] if layer.depth_multiplier == 1 and _channels_last(layer) else None


_SHAPED: Mapping[str, Callable[[Any, tuple[Kept, ...]], Kept]] = {
    "BatchNormalization": _normalised,
    "Concatenate": _joined,
    "DepthwiseConv2D": _depthwise,
    "Flatten": _flattened,
}


def _weights(layer: Any, cut: _Cut) -> Iterator[NDArray[Any]]:
    """Yield the kept slices of a layer's weights: of kernels by inputs and units, of all others by units."""
    read, own = (cut.inputs[0] if cut.inputs else None), _units(layer) is not None
    for weights in layer.get_weights():
        if own and weights.ndim > 1 and read is not None:
            weights = np.take(weights, read, axis=-2)
        if not own and type(layer).__name__ == "DepthwiseConv2D" and weights.ndim > 1:
            yield weights if read is None else np.take(weights, read, axis=-2)
        else:
            yield weights if cut.output is None else np.take(weights, cut.output, axis=-1)
