"""Reads out a model's activations: one forward pass, shared by all criteria and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from temper.core.artefacts import Examples, Images
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Progress, Run
from temper.core.stage import Preparation
from temper.nn.editing.logits import free_name
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.activations import LOGITS, SOFTMAX, Activations, on_disk
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.nn.inspection.finite_check import check_outputs
from temper.nn.inspection.units import UnitLayer
from temper.system import backend


@dataclass(frozen=True, kw_only=True)
class ActivationReadout(Preparation):
    """The activations of a model on images, unit by unit.

    Source: one pass in place of the several of each artefact; units as in DeepXplore, Pei et al. (2017), section 4.1.
    """

    tag = "observation"
    produces = Activations

    model: Annotated[Ref[Classifier], "the model to inspect"]
    examples: Annotated[Ref[Examples], "the images"]
    positions: Annotated[bool, "keep the value of every position: 4 bytes each, for every image"] = False

    @property
    def stochastic(self) -> bool:
        return False

    def produce(self, run: Run) -> Activations:
        examples = run[self.examples]
        run.images += len(examples)
        return read_activations(run[self.model], examples.x, run.progress, positions=self.positions)


def read_activations(
    classifier: Classifier,
    x: Images,
    progress: Progress = lambda done, total, unit: None,
    *,
    positions: bool = False,
) -> Activations:
    """Return a classifier's activations on images float32 (n, height, width, channels), computed in batches.

    With ``positions``, every position's value is also kept, on disk.

    Raises:
        StageError: the model is nested, so that its layers cannot be identified, or logits are not finite.
    """
    layers, model = _readout_model(classifier.model)
    n, units, classes = len(x), sum(layer.units for layer in layers), classifier.num_classes
    means, positive = on_disk((n, units), np.float32), on_disk((n, units), np.bool_)
    low, high = (on_disk((n, len(layers)), np.float32) for _ in range(2))
    peak, logits = on_disk((n, len(layers)), np.int32), on_disk((n, classes), np.float32)
    arrays = [means, positive, low, high, peak, logits]
    if positions:
        arrays.append(on_disk((n, sum(layer.positions for layer in layers)), np.float32))
    for start in range(0, n, compiled_programs.BATCH):
        rows = slice(start, min(start + compiled_programs.BATCH, n))
        parts = compiled_programs.run(model, _reduced, (np.asarray(x[rows]),), static=(positions,))
        for array, part in zip(arrays, parts, strict=True):
            array[rows] = part
        progress(rows.stop, n, "images")
    check_outputs(logits)
    return Activations(layers, *arrays)


def _readout_model(model: Any) -> tuple[tuple[UnitLayer, ...], Any]:
    """Return the layers to read out, logits and probabilities last, and a model of all but the probabilities.

    Hidden layers keep their names. A layer of logits with the name of the probabilities ended in the softmax that was
    removed, so the name denotes the probabilities.
    """
    end = model.outputs[0]
    hidden = [layer for layer in model.layers if _is_read(layer) and layer.output is not end]
    names = [layer.name for layer in hidden]
    probabilities = free_name(SOFTMAX, names)
    last = next((layer.name for layer in model.layers if layer.output is end), probabilities)
    if last == probabilities:
        last = free_name(LOGITS, names)
    outputs = [*(layer.output for layer in hidden), end]
    layers = [_described(name, output.shape) for name, output in zip([*names, last], outputs, strict=True)]
    return (*layers, _described(probabilities, end.shape)), backend.keras().Model(model.inputs[0], outputs)


def _is_read(layer: Any) -> bool:
    """Whether a layer computes values of its own, rather than only inputs, reshapes, scales or drops them."""
    layers = backend.keras().layers
    passing = (
        layers.InputLayer, layers.Flatten, layers.Reshape, layers.Permute, layers.Rescaling, layers.Dropout,
        layers.SpatialDropout2D, layers.GaussianNoise, layers.ZeroPadding2D, layers.Cropping2D,
    )  # fmt: skip
    return not isinstance(layer, passing)


def _described(name: str, shape: tuple[int | None, ...]) -> UnitLayer:
    height, width = shape[1:3] if len(shape) == 4 else (1, 1)
    return UnitLayer(name, int(shape[-1] or 0), int(height or 0), int(width or 0))


def _reduced(call: Call, x: Tensor, positions: bool) -> tuple[Tensor, ...]:
    """Return the arrays of ``Activations`` in their order, for a batch."""
    ops = backend.keras().ops
    outputs = call(x)
    *hidden, logits = outputs if isinstance(outputs, list) else [outputs]  # Keras returns no list for one output
    # Coverage papers count the softmax outputs as units, which the model itself no longer has.
    layers = [*hidden, logits, ops.softmax(logits)]
    spatial = [tuple(range(1, len(layer.shape) - 1)) for layer in layers]
    flat = [ops.reshape(layer, (ops.shape(layer)[0], -1)) for layer in layers]
    means = [ops.mean(layer, axis=axes) if axes else layer for layer, axes in zip(layers, spatial, strict=True)]
    tops = [ops.max(layer, axis=axes) if axes else layer for layer, axes in zip(layers, spatial, strict=True)]
    return (
        ops.concatenate(means, axis=1),
        ops.cast(ops.concatenate(tops, axis=1) > 0, "uint8"),
        ops.stack([ops.min(layer, axis=1) for layer in flat], axis=1),
        ops.stack([ops.max(layer, axis=1) for layer in flat], axis=1),
        ops.stack([ops.cast(ops.argmax(layer, axis=1), "int32") for layer in flat], axis=1),
        logits,
        *([ops.concatenate(flat, axis=1)] if positions else []),
    )
