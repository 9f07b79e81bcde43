"""Quantisation: rounds a model's weights and activations to fewer bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, Images
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.families import Repair
from temper.core.run import Run
from temper.nn.editing.copies import clone_layer, copied, copy_state, set_weights
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.system import backend

Ranges = Mapping[str, tuple[float, float]]
"""The smallest and the largest value of layers, by name."""
Precision = Literal["float16", "int8"]

_STEPS = 127
"""Steps of an 8-bit weight on each side of 0, symmetric so that w and -w are rounded alike."""


@dataclass(frozen=True, kw_only=True)
class Quantisation(Repair):
    """Rounds a model's numbers to fewer bits, and computes with them in 32 bits.

    float16: every weight becomes the nearest 16-bit number.
    int8:    w' = s * round(w / s) with s = max |w| / 127 for each unit of a convolution or dense layer; biases and
             normalisation keep 32 bits. With ``activations``, the image and the output of each hidden layer are rounded
             to 256 steps between the extremes seen in ``data``, including 0; logits are unchanged.

    The model runs on any machine and has the outputs of a device with such numbers, not its speed. The gradient passes
    straight through the rounding of activations, so that gradient-based attacks on the model work.

    Source: You, Wang, Chen, Liu and Li (2023), Regression Fuzzing for Deep Learning Systems: the quantised models next
    to its artefact. int8: Jacob, Kligys, Chen, Zhu, Tang, Howard, Adam and Kalenichenko (2018), Quantization and
    Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference; Krishnamoorthi (2018), Quantizing Deep
    Convolutional Networks for Efficient Inference, for per-unit steps.
    """

    tag = "quantisation"

    model: Annotated[Ref[Classifier], "the first version, which is unchanged"]
    precision: Annotated[Precision, "number format of the weights"] = "int8"
    activations: Annotated[bool, "int8: whether activations are rounded too"] = False
    data: Annotated[
        Ref[Examples] | None,
        "images that determine the range of activations; default: the training part of the data set",
    ] = None

    def check(self) -> Iterator[tuple[str, str]]:
        if self.activations and self.precision != "int8":
            yield "activations", "only int8 rounds activations; remove it, or set precision: int8"
        if self.data is not None and self.data.part == "test":
            yield "data", "steps fitted to the test images cannot be evaluated on them; use another part"

    @property
    def stochastic(self) -> bool:
        return False

    def produce(self, run: Run) -> Classifier:
        model = with_rounded_weights(run[self.model].model, self.precision)
        if self.activations:
            assert self.data is not None  # the graph fills in the model's data set
            images = run[self.data]
            if not len(images):
                raise StageError(f"data: {self.data} has no image to read activations from; set other images")
            # Pixels range from 0 to 1 whatever the data.
            model = with_rounded_activations(model, value_ranges(model, images.x))
            run.images += len(images)
        return Classifier(model)


def with_rounded_weights(model: Any, precision: Precision) -> Any:
    """Return a copy of a model with rounded weights.

    Raises:
        StageError: a weight is too large, or the unit axis of a layer's kernel is unknown.
    """
    keras = backend.keras()
    copy = copied(keras.Model(model.inputs[0], model.outputs[0]))
    for layer in model.layers:
        arrays = layer.get_weights()
        if precision == "float16":
            arrays = [rounded_to_float16(weights) for weights in arrays]
        elif (place := _kernel(layer)) is not None:
            arrays[place] = rounded_to_int8(arrays[place])
        if arrays:
            set_weights(copy.get_layer(layer.name), arrays)
    return copy


def rounded_to_float16(weights: NDArray[Any]) -> NDArray[np.float32]:
    """Return weights rounded to the nearest 16-bit numbers, as float32.

    Raises:
        StageError: one is too large.
    """
    with np.errstate(over="ignore"):
        found: NDArray[np.float32] = weights.astype(np.float16).astype(np.float32)
    if not np.isfinite(found).all():
        raise StageError(f"a weight of {np.abs(weights).max():g} is too large for 16 bits (65504); set precision: int8")
    return found


def rounded_to_int8(kernel: NDArray[Any]) -> NDArray[np.float32]:
    """Return a kernel (..., units) rounded to 127 steps on each side of 0, of equal size for each unit."""
    values = kernel.astype(np.float64)
    steps = np.abs(values).max(axis=tuple(range(values.ndim - 1)), keepdims=True) / _STEPS
    steps[steps == 0] = 1.0  # an all-zero unit stays zero: avoid 0 / 0
    found: NDArray[np.float32] = (np.round(values / steps) * steps).astype(np.float32)
    return found


def _kernel(layer: Any) -> int | None:
    """Return which of a layer's weights is its kernel (..., units), or ``None`` if it has none."""
    layers = backend.keras().layers
    if isinstance(layer, layers.Conv2D | layers.Dense):
        return 0
    if layer.weights and not isinstance(layer, layers.BatchNormalization | layers.Normalization | layers.PReLU):
        raise StageError(
            f"layer '{layer.name}' ({type(layer).__name__}): int8 is for convolutions and dense layers; set "
            "precision: float16"
        )
    return None


def _stored_layers(model: Any) -> list[Any]:
    """Return the hidden layers of a functional model whose values a device would store.

    Normalisation and activation are fused with the preceding layer, so that only the last of such a chain counts;
    pooling, flattening and dropout pass on rounded values.
    """
    layers = backend.keras().layers
    absorbed = (layers.BatchNormalization, layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.PReLU)
    making = (layers.Conv2D, layers.Dense, layers.Add, *absorbed)
    found = [layer for layer in model.layers if isinstance(layer, making) and layer.output is not model.outputs[0]]
    return [layer for layer in found if not _only_feeds(layer, absorbed)]


def _only_feeds(layer: Any, kinds: tuple[Any, ...]) -> bool:
    return all(isinstance(node.operation, kinds) for node in layer._outbound_nodes)


def value_ranges(model: Any, x: Images) -> Ranges:
    """Return the smallest and the largest value of every rounded layer, over all images (n, h, w, c)."""
    points = _stored_layers(model)
    observed = backend.keras().Model(model.inputs[0], [layer.output for layer in points])
    low, high = compiled_programs.run_all(observed, _extremes, x)
    ends = zip(low.min(axis=0).tolist(), high.max(axis=0).tolist(), strict=True)
    return {layer.name: end for layer, end in zip(points, ends, strict=True)}


def _extremes(call: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest value of each layer for each image, both (n, layers)."""
    ops, values = backend.keras().ops, call(x)
    flat = [ops.reshape(v, (ops.shape(x)[0], -1)) for v in (values if isinstance(values, list) else [values])]
    return ops.stack([ops.min(v, axis=1) for v in flat], axis=1), ops.stack([ops.max(v, axis=1) for v in flat], axis=1)


def with_rounded_activations(model: Any, ranges: Ranges) -> Any:
    """Return a copy of a model that rounds its image and these layers' values to 256 steps between their extremes."""
    keras = backend.keras()

    def rounding(values: Tensor, low: float, high: float) -> Tensor:
        # The range includes 0, which padding and ReLU produce exactly.
        low, high = min(low, 0.0), max(high, 0.0)
        return keras.quantizers.fake_quant_with_min_max_vars(values, low, high) if low < high else values

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        given = keras.tree.map_structure(
            lambda values: rounding(values, 0.0, 1.0) if _is_image(values) else values, arguments
        )
        outputs = layer(*given, **options)
        return rounding(outputs, *ranges.get(layer.name, (0.0, 0.0)))

    functional = keras.Model(model.inputs[0], model.outputs[0])
    copy = keras.models.clone_model(functional, clone_function=clone_layer, call_function=call)
    copy_state(copy, functional)
    return copy


def _is_image(values: Tensor) -> bool:
    return isinstance(values._keras_history.operation, backend.keras().layers.InputLayer)
