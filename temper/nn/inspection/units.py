"""The units (neurons, feature maps) of a model, layer by layer, before and after their activation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from temper.core.errors import StageError
from temper.nn.editing.copies import clone_layer, copy_state
from temper.nn.editing.logits import free_name
from temper.nn.inspection.compiled_programs import Tensor
from temper.system import backend

Values = Literal["pre", "post"]


@dataclass(frozen=True)
class UnitLayer:
    """A hidden layer with weights: its name, its units (neurons, or feature maps), and the size of each map.

    ``height`` and ``width`` are 1 for a layer of neurons.
    """

    name: str
    units: int
    height: int
    width: int

    @property
    def is_map(self) -> bool:
        """Whether the units are feature maps."""
        return self.height * self.width > 1

    @property
    def positions(self) -> int:
        """The number of values the layer has, every position of every map counted."""
        return self.height * self.width * self.units


def with_separate_activations(model: Any) -> Any:
    """Return a functional copy of a model in its current state, in which every activation is a separate layer."""
    keras = backend.keras()
    taken = {layer.name for layer in model.layers}

    def copy(layer: Any) -> Any:
        changed = {"activation": "linear"} if _fused(layer) else {}
        return clone_layer(layer, **changed)

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        outputs = layer(*arguments, **options)
        # A model may contain operations that are not layers, such as the rounding of a quantised one.
        activation = _fused(model.get_layer(layer.name)) if isinstance(layer, keras.layers.Layer) else None
        if activation is None:
            return outputs
        taken.add(name := free_name(f"{layer.name}_activation", taken))
        return keras.layers.Activation(activation, name=name)(outputs)

    functional = keras.Model(model.inputs[0], model.outputs[0])
    unfolded = keras.models.clone_model(functional, clone_function=copy, call_function=call)
    for layer in functional.layers:
        if layer.weights:
            copy_state(unfolded.get_layer(layer.name), layer)
    return unfolded


class Probe:
    """The hidden layers of a classifier and a model of their values.

    Attributes:
        layers: all layers with weights except the last, which computes the logits, in the order of computation.
        model: a Keras model from images (n, h, w, c) to the values of every layer, each (n, units) or
            (n, height, width, units), and last the logits (n, classes), for ``compiled_programs.run``.

    Raises:
        StageError: the model has no hidden layer with weights.
    """

    def __init__(self, model: Any, values: Values = "pre") -> None:
        unfolded = with_separate_activations(model)
        weighted = [layer for layer in unfolded.layers if _weighted(layer)]
        if len(weighted) < 2:
            raise StageError("expected a model with a hidden layer of neurons or feature maps, received one without")
        # The last layer with weights computes the logits.
        hidden = weighted[:-1]
        tensors = [layer.output if values == "pre" else _activated(layer) for layer in hidden]
        self.layers = tuple(_described(layer) for layer in hidden)
        self.model = backend.keras().Model(unfolded.inputs[0], [*tensors, unfolded.outputs[0]])

    @property
    def units(self) -> tuple[tuple[int, int], ...]:
        """Every unit as (position of its layer among ``layers``, position in the layer), in order."""
        return tuple((i, unit) for i, layer in enumerate(self.layers) for unit in range(layer.units))


def unit_means(values: list[Tensor]) -> Tensor:
    """Return the values of all units, concatenated, (n, all units): of a feature map its spatial mean."""
    ops = backend.keras().ops
    return ops.concatenate([v if len(v.shape) == 2 else ops.mean(v, axis=(1, 2)) for v in values], axis=1)


def _weighted(layer: Any) -> bool:
    layers = backend.keras().layers
    return isinstance(layer, layers.Dense | layers.Conv1D | layers.Conv2D | layers.SeparableConv2D)


def _fused(layer: Any) -> Any:
    """Return the activation that a layer with weights applies itself, or ``None``."""
    activation = getattr(layer, "activation", None) if _weighted(layer) else None
    return None if activation is backend.keras().activations.linear else activation


def _activated(layer: Any) -> Tensor:
    """Return the output of the activation that follows a layer, or the layer's own if none does."""
    for follower in _followers(layer):
        if isinstance(follower, _activations()):
            return follower.output
    return layer.output


def _followers(layer: Any) -> Iterator[Any]:
    """Yield the layers after a layer up to a branch; normalisation may precede the activation."""
    while len(nodes := layer._outbound_nodes) == 1:
        layer = nodes[0].operation
        yield layer
        if not isinstance(layer, backend.keras().layers.BatchNormalization):
            return


def _activations() -> tuple[Any, ...]:
    layers = backend.keras().layers
    return (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.PReLU)


def _described(layer: Any) -> UnitLayer:
    shape = layer.output.shape
    height, width = (shape[1], shape[2]) if len(shape) == 4 else (1, 1)
    return UnitLayer(layer.name, int(shape[-1]), int(height), int(width))
