"""Targets trained by other programs and loaded from a file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from temper.core.artefacts import Data, Images
from temper.core.classifier import Classifier
from temper.core.component import PARTS, File
from temper.core.data_info import DataInfo
from temper.core.errors import StageError
from temper.core.families import Target
from temper.core.run import Run
from temper.nn.editing.copies import connected
from temper.nn.editing.logits import (
    are_probabilities,
    are_shares,
    free_name,
    logarithm_of,
    reordered,
    rescores,
    to_logits,
)
from temper.nn.images.preprocessing import LUMA, Grey
from temper.nn.inspection.class_order import Doubt
from temper.nn.inspection.finite_check import check_weights
from temper.system import backend
from temper.targets.models.keras_config import Shape
from temper.targets.models.model_file import ModelFile

_LOOKED_AT = 100
"""Number of images of each part whose outputs show whether a model returns probabilities."""
_RESCORED = (
    "the saved model ends in probabilities that are not one softmax. Their logarithms replace the logits: "
    "predictions stay the same, and gradients do not vanish where a probability is nearly 1."
)
_ROUNDED = (
    "the outputs of the saved model are probabilities of an unknown origin. Their logarithms replace the "
    "logits: predictions stay the same, but gradients vanish where float32 rounds a probability to 0 or 1, so that gradient-based "
    "attacks may look weaker than they are. Save the model with logits as output if you can."
)
_BOUNDED = (
    "all outputs of the saved model are between 0 and 1, but their sum differs between images. They are used as "
    "logits: predictions stay the same, but if they are probabilities or lengths, gradient-based attacks may look weaker than "
    "they are. Save the model with logits as output if you can."
)


@dataclass(frozen=True, kw_only=True)
class Saved(Target):
    """A saved model: .keras, or .h5/.hdf5 of Keras 1, 2 or 3, whole or as weights with a JSON architecture.

    ``classes`` names the class of each output if the model was trained with another order; its outputs are then
    reordered. The input format of the model is set by ``scale``, ``offset``, ``grey`` and ``channels_first``, which
    become layers in front of it; flattening is added if its input is flat, the channel axis of grey images is removed
    if it has none, and a final softmax is removed. A model that ends in other probabilities (an average of softmaxes,
    say) returns their logarithms instead, and the report says so. Only layers of Keras itself are loaded, and HDF5
    models only from a closed list; no code of the file runs. Weights of a built-in network without a JSON file are the
    ``initial_weights`` of that network's target instead.

    Source: the published models of DeepCustom, DeepFault, DeepImportance, DRFuzz and guided retraining.
    """

    tag = "saved"

    path: Annotated[str, "model file (.keras, .h5, .hdf5), or the weights of `architecture`", File()]
    architecture: Annotated[str | None, "JSON file of the architecture, if `path` contains weights only", File()] = None
    scale: Annotated[float, "the model's input is scale * pixel + offset, pixels in [0, 1]; 255: raw bytes"] = 1.0
    offset: Annotated[float, "see `scale`; scale 2 with offset -1 is [-1, 1]"] = 0.0
    grey: Annotated[
        Grey | None,
        "for a grey model and a colour data set: luma of ITU-R 601; luma_bgr: red and blue swapped",
    ] = None
    channels_first: Annotated[bool, "the model takes (channels, height, width)"] = False
    classes: Annotated[
        tuple[str, ...],
        "names of the data set's classes in the order of the model's outputs; empty: the data set's order",
    ] = ()

    @property
    def stochastic(self) -> bool:
        return False

    def files(self) -> Iterator[Path]:
        yield Path(self.path)
        if self.architecture:
            yield Path(self.architecture)

    def check(self) -> Iterator[tuple[str, str]]:
        if all(path.exists() for path in self.files()):
            yield from self._file.faults()

    def fits(self, info: DataInfo) -> Iterator[tuple[str, str]]:
        try:
            graph = self._file.graph
        except StageError:  # reported by check()
            return
        if self.grey and info.shape[2] != 3:
            yield "grey", f"expected images of 3 channels, received {info.shape[2]}; remove `grey`"
            return
        given = self._shape(info.shape)
        if not _agree(graph.input_shape, given):
            yield (
                "dataset",
                f"the model takes {_form(graph.input_shape)}, but gets {_form(given)}; {self._advice(graph.input_shape, info)}",
            )
        if self.classes and sorted(self.classes) != sorted(info.class_names):
            yield (
                "classes",
                f"expected each class of the data set once, received {_difference(self.classes, info.class_names)}",
            )
        if graph.num_outputs not in (None, info.num_classes):
            yield (
                "dataset",
                f"the model has {graph.num_outputs} outputs, but the data set {info.num_classes} classes; use another",
            )

    def produce(self, run: Run) -> Classifier:
        data = run[self.dataset]
        for _, message in self.fits(data.info):
            raise StageError(f"{self.path}: {message}")
        saved = self._file.load()
        try:
            check_weights(saved)
            logits = to_logits(saved)
            model = self._behind_conventions(logits, data.info)
            classifier = Classifier(model)
            if classifier.num_classes != data.info.num_classes:
                raise StageError(f"expected {data.info.num_classes} outputs, received {classifier.num_classes}")
            if logits is saved:  # the inputs of a removed softmax are logits, whatever their values
                classifier = self._of_logits(classifier, classifier.logits(_some(data)), run)
        except StageError as error:
            raise StageError(f"{self.path}: {error}") from None
        if rescores(saved):
            run.remark(_RESCORED)
        return (
            Classifier(reordered(classifier.model, self._outputs(data.info.class_names)))
            if self.classes
            else classifier
        )

    def _of_logits(self, classifier: Classifier, outputs: Images, run: Run) -> Classifier:
        """Return a classifier of logits for one whose ``outputs`` (n, classes) may still be probabilities."""
        if are_probabilities(outputs):
            run.remark(_ROUNDED)
            return Classifier(logarithm_of(classifier.model))
        if are_shares(outputs):
            run.remark(_BOUNDED)
        return classifier

    def advice(self, found: Doubt, names: Sequence[str]) -> str:
        if found.order is None:
            return f"{super().advice(found, names)} Check that its input is what the model expects (scale, offset, channel order)."
        wanted = [names[found.order.index(names.index(name))] for name in self.classes or names]
        listed = ", ".join(map(json.dumps, wanted))
        return f"If it was trained with another class order, set that order for the target, as in classes: [{listed}]."

    def _outputs(self, names: Sequence[str]) -> list[int]:
        """Return the model's output for each class of the data set."""
        return [self.classes.index(name) for name in names]

    @property
    def _file(self) -> ModelFile:
        return ModelFile(Path(self.path), Path(self.architecture) if self.architecture else None)

    def _shape(self, image: tuple[int, int, int]) -> Shape:
        """Return the shape of an image as passed to the model, before flattening."""
        height, width, channels = image
        channels = 1 if self.grey else channels
        return (channels, height, width) if self.channels_first else (height, width, channels)

    def _advice(self, wanted: Shape, info: DataInfo) -> str:
        height, width, channels = info.shape
        if not self.channels_first and _agree(wanted, (channels, height, width)):
            return "set channels_first: true"
        if not self.grey and channels == 3 and _agree(wanted, (height, width, 1)):
            return "set grey: luma here or of the data set"
        return "resize the data set, or use another model"

    def _behind_conventions(self, model: Any, info: DataInfo) -> Any:
        """Return the model preceded by the layers that convert an image (h, w, c) in [0, 1] to its input."""
        keras = backend.keras()
        taken = {layer.name for layer in model.layers}
        inputs = keras.Input(info.shape, name=free_name("image", taken))
        layers = list(self._conventions(model.input_shape[1:], lambda name: free_name(name, taken)))
        if not layers and not any(side is None for side in model.input_shape[1:]):
            return model
        tensor = inputs
        for layer in layers:
            tensor = layer(tensor)
        # Copies: a layer that is called twice has no unique output, which reading activations needs.
        return keras.Model(inputs, connected(model, tensor))

    def _conventions(self, wanted: Shape, name: Callable[[str], str]) -> Iterator[Any]:
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


def _some(data: Data) -> Images:
    """Return images of all parts, evenly spaced in each."""
    parts = [data.part(name).x for name in PARTS]
    return np.concatenate([part[:: max(1, len(part) // _LOOKED_AT)][:_LOOKED_AT] for part in parts])


def _agree(wanted: Shape, given: Shape) -> bool:
    if len(wanted) == 1:
        given = (math.prod(side or 0 for side in given),)
    if len(wanted) == 2 and len(given) == 3 and 1 in given[::2]:
        given = given[:2] if given[2] == 1 else given[1:]  # grey images without a channel axis
    return len(wanted) == len(given) and all(a is None or a == b for a, b in zip(wanted, given, strict=True))


def _difference(given: Sequence[str], names: Sequence[str]) -> str:
    """Return how a list of classes differs from those of the data set."""
    strange, missing = sorted(set(given) - set(names)), sorted(set(names) - set(given))
    said = [f"unknown {', '.join(strange)}"] * bool(strange) + [f"without {', '.join(missing)}"] * bool(missing)
    return "; ".join(said) or "a duplicate"


def _form(shape: Shape) -> str:
    return "x".join("any" if side is None else str(side) for side in shape) + " images"
