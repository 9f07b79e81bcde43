"""Layer-wise relevance propagation as differentiation: networks whose derivatives carry relevance.

In a network whose layers return their usual values but have other derivatives, the relevance of a tensor is the tensor
times the gradient that arrives at it. So a rule only defines a layer's derivative, and every backend's own
differentiation, compiled like any other, propagates the relevance. The relevance of a unit is the derivative with
respect to a factor of 1 on the unit's value, which is the same product, summed over the positions of a feature map.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from temper.core.component import Component
from temper.core.errors import StageError
from temper.nn.editing.copies import clone_layer, copy_state
from temper.nn.inspection.compiled_programs import Tensor
from temper.nn.inspection.units import Probe, with_separate_activations
from temper.system import backend

_COPIED = "_with_relevance"
"""The name suffix of copied layers: a rule's operations get names such as "add" that a stored layer may have."""


class RelevanceRule(Component):
    """How a layer with weights propagates relevance to its inputs."""

    @abstractmethod
    def propagate(self, layer: Any, x: Tensor, z: Tensor) -> Tensor:
        """Return the values ``z`` = ``layer(x)`` with the derivative that propagates relevance from ``z`` to ``x``."""


def relevance_model(model: Any, rule: RelevanceRule | None) -> Any:
    """Return a model of the same outputs whose derivatives carry relevance: R(tensor) = tensor * gradient.

    Layers with weights propagate relevance by the rule, or by LRP-0 if there is none; activations pass it through; max
    pooling assigns it to the largest value; average pooling, normalisation and sums share it by LRP-0. Dropout is off.

    Raises:
        StageError: a layer with weights is neither dense nor convolutional nor a batch normalisation.
    """
    return _copied(with_separate_activations(model), rule)


def unit_relevance_model(model: Any, rule: RelevanceRule | None, names: Collection[str] | None = None) -> Any:
    """Return a model as ``relevance_model`` does, from [images, a factor for each unit (n, units)] to logits.

    The factors multiply the units' values after their activation; units are those of
    ``temper.nn.inspection.units.Probe``, in its order, or only those of the named layers. Where all factors are 1, the
    logits are the model's, and their gradient is the units' relevance, for which nothing below the first of these
    layers is differentiated.

    Raises:
        StageError: as ``relevance_model``, or the model has no hidden layer.
    """
    keras = backend.keras()
    probe = Probe(model, "post")
    *values, logits = probe.model.outputs
    images = probe.model.inputs[0]
    chosen = [
        (tensor, layer)
        for tensor, layer in zip(values, probe.layers, strict=True)
        if names is None or layer.name in names
    ]
    ends = np.cumsum([layer.units for _, layer in chosen]).tolist()
    factors = keras.Input((ends[-1],))

    def multiplied(original: Any, outputs: Tensor) -> Tensor:
        for (tensor, layer), end in zip(chosen, ends, strict=True):
            if tensor is original.output:
                factor = factors[:, end - layer.units : end]
                # A feature map has one factor for all its positions.
                return outputs * (factor if len(outputs.shape) == 2 else factor[:, None, None, :])
        return outputs

    # The model to copy must take the factors as input, so it returns them; that output is dropped.
    taken = keras.Input(factors.shape[1:])
    source = keras.Model([images, taken], [logits, taken])
    carrier = _copied(source, rule, [keras.Input(images.shape[1:]), factors], multiplied)
    return keras.Model(carrier.inputs, carrier.outputs[0])


def with_derivative(value: Tensor, *carriers: tuple[Tensor, Tensor]) -> Tensor:
    """Return ``value`` with the derivative sum of ``weight * d(carrier)`` over the pairs (carrier, weight)."""
    stop = backend.keras().ops.stop_gradient
    result = stop(value)
    for carrier, weight in carriers:
        result = result + stop(weight) * (carrier - stop(carrier))  # adds exactly 0
    return result


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient, of the operands' shape; 0 where the denominator is 0."""
    ops = backend.keras().ops
    nothing = ops.equal(denominator, 0)
    # Both branches are differentiated, so the unused one must not divide by 0 either.
    return ops.where(nothing, 0.0, numerator / ops.where(nothing, 1.0, denominator))


def _copied(
    source: Any,
    rule: RelevanceRule | None,
    inputs: list[Tensor] | None = None,
    change: Callable[[Any, Tensor], Tensor] = lambda original, outputs: outputs,
) -> Any:
    """Return a copy of a model with separate activations that carries relevance; ``change`` maps layer outputs."""
    originals = {operation.name: operation for operation in source.operations}

    def call(layer: Any, *arguments: Any, **options: Any) -> Tensor:
        outputs = layer(*arguments, **options)
        original = originals[layer.name.removesuffix(_COPIED)]
        if _weights(layer):
            copy_state(layer, original)
        if _is_linear(layer) and rule is not None:
            outputs = rule.propagate(layer, arguments[0], outputs)
        elif _is_activation(layer):
            outputs = _passed_on(arguments[0], outputs)
        return change(original, outputs)

    return backend.keras().models.clone_model(source, inputs, clone_function=_copy, call_function=call)


def _copy(layer: Any) -> Any:
    layers = backend.keras().layers
    known = _is_linear(layer) or isinstance(layer, layers.BatchNormalization | layers.Normalization)
    if _weights(layer) and not known:
        raise StageError(
            f"layer '{layer.name}' ({type(layer).__name__}): expected dense and convolutional layers and batch "
            "normalisation; LRP has no rule for other layers with weights"
        )
    return clone_layer(layer, name=layer.name + _COPIED)


def _weights(layer: Any) -> Any:
    """Return the weights of a layer; an operation, such as a slice, has none."""
    return getattr(layer, "weights", ())


def _is_linear(layer: Any) -> bool:
    layers = backend.keras().layers
    kinds = (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv2DTranspose)
    return isinstance(layer, (*kinds, layers.DepthwiseConv2D, layers.SeparableConv2D))


def _is_activation(layer: Any) -> bool:
    layers = backend.keras().layers
    return isinstance(layer, layers.Activation | layers.ReLU | layers.LeakyReLU | layers.ELU)


def _passed_on(x: Tensor, values: Tensor) -> Tensor:
    """Return an activation's values with the derivative that preserves each unit's relevance: f(x) / x."""
    return with_derivative(values, (x, ratio(values, x)))
