"""Targets trained by other programs and loaded from a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from temper.core.artefacts import Artefact, Data, Examples, Images
from temper.core.classifier import Classifier
from temper.core.component import PARTS, File
from temper.core.data_info import DataInfo
from temper.core.errors import StageError
from temper.core.families import Target
from temper.core.run import Run
from temper.nn.editing.channel_statistics import KnownStatistics
from temper.nn.editing.input_conventions import InputConventions, InputShape, agree, form
from temper.nn.editing.logits import with_reordered_outputs
from temper.nn.editing.model_endings import classifier_of
from temper.nn.images.preprocessing import Grey
from temper.nn.inspection.class_order_check import ClassMismatch
from temper.nn.inspection.input_format_check import InputFormat, formats, input_mismatch, sample_of
from temper.nn.model_files.model_file import ModelFile
from temper.nn.onnx.onnx_model import SUFFIX, OnnxModel
from temper.nn.pytorch import architectures, torch_model
from temper.nn.pytorch.torch_model import TorchModel

_COMPARED = 32
"""Number of images on which an imported model is compared with the program it was exported for."""
_LOOKED_AT = 100
"""Number of images of each part whose outputs show whether a model returns probabilities."""

_OPAQUE = (
    "the model is one layer, the signature of its SavedModel, as {reason}. Attacks with and without gradients work; whatever trains, "
    "changes or observes its units does not."
)


@dataclass(frozen=True, kw_only=True)
class Saved(Target):
    """A saved model: ONNX, PyTorch, .keras, .h5/.hdf5 of Keras 1 to 3, a TensorFlow SavedModel, or weights with their architecture.

    ``classes`` names the class of each output if the model was trained with another order; its outputs are then
    reordered. The input format of the model is set by ``resize``, ``grey``, ``scale`` and ``offset`` or ``mean`` and
    ``std``, ``bgr`` and ``channels_first``, which become layers in front of it in this order; flattening is added if its input is flat, the channel axis of grey images is removed
    if it has none, and a final softmax is removed. One output z, a logit or a sigmoid, of two classes becomes the logits (0, z). A model that ends in other probabilities (an average of softmaxes,
    say) returns their logarithms instead, and the report says so. Only layers of Keras itself are loaded, and HDF5
    models only from a closed list; no code of the file runs. ONNX models are rebuilt from a closed list of operators and compared
    with onnxruntime; PyTorch models (exported programs, and state dicts of torchvision's, timm's and RobustBench's networks) are exported
    to ONNX and compared with PyTorch. Weights of a built-in network without a JSON file are the
    ``initial_weights`` of that network's target instead.

    Source: the published models of DeepCustom, DeepFault, DeepImportance, DRFuzz and guided retraining.
    """

    tag = "saved"

    path: Annotated[
        str, "model file (.onnx, .keras, .h5, .hdf5, .pt2), SavedModel folder, or the weights of `architecture`", File()
    ]
    architecture: Annotated[
        str | None,
        "if `path` contains weights only: JSON file of a Keras model, or torchvision/NAME, timm/NAME, robustbench/NAME",
        File(names=architectures.PREFIXES),
    ] = None
    scale: Annotated[float, "the model's input is scale * pixel + offset, pixels in [0, 1]; 255: raw bytes"] = 1.0
    offset: Annotated[float, "see `scale`; scale 2 with offset -1 is [-1, 1]"] = 0.0
    grey: Annotated[
        Grey | None,
        "for a grey model and a colour data set: luma of ITU-R 601; luma_bgr: red and blue swapped",
    ] = None
    channels_first: Annotated[
        bool | None, "the model takes (channels, height, width); null: as its first layers state, otherwise no"
    ] = None
    mean: Annotated[
        tuple[float, ...],
        "subtracted from pixels in [0, 1], one value or one per channel (red, green, blue); instead of `scale` and `offset`",
    ] = ()
    std: Annotated[tuple[float, ...], "what is left is divided by it, as `mean`"] = ()
    mean_std: Annotated[KnownStatistics | None, "`mean` and `std` of a data set by its name"] = None
    bgr: Annotated[bool, "the model takes blue, green, red"] = False
    resize: Annotated[
        tuple[int, ...], "[height, width] to which a bilinear layer resizes the images in front of the model"
    ] = ()
    classes: Annotated[
        tuple[str, ...],
        "names of the data set's classes in the order of the model's outputs; empty: the data set's order",
    ] = ()

    @property
    def stochastic(self) -> bool:
        return False

    def files(self) -> Iterator[Path]:
        yield from self._given_files()
        yield from self._file.own_sources()

    def check(self) -> Iterator[tuple[str, str]]:
        yield from self._given_conventions(False).faults()
        if all(path.exists() for path in self._given_files()):
            if self._is_named and not isinstance(self._file, TorchModel):
                yield (
                    "architecture",
                    f"{self.architecture} is a PyTorch network, but {Path(self.path).name} is no PyTorch file; remove this one",
                )
                return
            yield from self._file.faults()

    def fits(self, info: DataInfo) -> Iterator[tuple[str, str]]:
        try:
            graph = self._file.graph
        except StageError:  # reported by check()
            return
        if misfits := list(self._conventions.misfits(info.shape[2])):
            yield from misfits
            return
        if self.channels_first and isinstance(self._file, TorchModel):
            yield "channels_first", "remove it: a PyTorch model gets its images with the channels first in any case"
            return
        given = self._conventions.given(info.shape)
        if not agree(graph.input_shape, given):
            yield (
                "dataset",
                f"the model takes {form(graph.input_shape)}, but gets {form(given)}; {self._advice(graph.input_shape, info)}",
            )
        if self.classes and sorted(self.classes) != sorted(info.class_names):
            yield (
                "classes",
                f"expected each class of the data set once, received {_difference(self.classes, info.class_names)}",
            )
        if graph.num_outputs == 1 and info.num_classes != 2:
            yield (
                "dataset",
                f"the model has one output, which tells two classes apart, but the data set has {info.num_classes}; use another",
            )
        elif graph.num_outputs not in (None, 1, info.num_classes):
            yield (
                "dataset",
                f"the model has {graph.num_outputs} outputs, but the data set {info.num_classes} classes; use another",
            )

    def stated(self) -> tuple[InputShape, int | None]:
        """Return the shape of the model's input without the batch, and its number of outputs, as its file states them.

        Raises:
            StageError: the file cannot be read.
        """
        return self._file.graph.input_shape, self._file.graph.num_outputs

    def produce(self, run: Run) -> Classifier:
        data = run[self.dataset]
        for _, message in self.fits(data.info):
            raise StageError(f"{self.path}: {message}")
        file, conventions = self._file, self._conventions
        if isinstance(file, TorchModel):
            file = file.for_images(conventions.given(data.info.shape))
        saved = file.load()
        if isinstance(file, TorchModel) and (remark := file.remark):
            run.remark(remark)
        if not agree(saved.input_shape[1:], given := conventions.given(data.info.shape)):
            raise StageError(f"{self.path}: the model takes {form(saved.input_shape[1:])}, but gets {form(given)}")
        if isinstance(file, OnnxModel | TorchModel):
            some = _some(data)
            file.check(saved, conventions.applied(some[:: -(-len(some) // _COMPARED)], saved.input_shape[1:]))

        def fitted(logits: Any) -> Any:
            model = conventions.in_front_of(logits, data.info.shape)
            if model.output_shape[-1] != data.info.num_classes:
                raise StageError(f"expected {data.info.num_classes} outputs, received {model.output_shape[-1]}")
            return model

        try:
            classifier = classifier_of(saved, fitted, _some(data), run.remark)
        except StageError as error:
            raise StageError(f"{self.path}: {error}") from None
        if reason := self._file.only_signature:
            run.remark(_OPAQUE.format(reason=reason))
        if not self.classes:
            return classifier
        return Classifier(with_reordered_outputs(classifier.model, self._outputs(data.info.class_names)))

    def review(self, artefact: Artefact, run: Run) -> None:
        assert isinstance(artefact, Classifier)
        super().review(artefact, run)
        data = run[self.dataset]
        # Labels outside the classes are reported elsewhere.
        if not len(data.test) or int(data.test.y.max()) >= artefact.num_classes:
            return
        wanted = self._file.graph.input_shape
        run.remark(_understood(artefact, data.test, self._conventions, wanted))
        present = self._pixel_format
        if not present.scale.all():  # a constant input, whose format cannot be undone
            return
        flat = len(wanted) == 1 and not self._conventions.channels_first
        # A weighted mean of the channels and a common scale and offset may change places.
        tried = formats(1 if self.grey else data.info.shape[2], flat)
        if better := input_mismatch(artefact, present, data.test, tried):
            run.remark(better.text())

    def advice(self, found: ClassMismatch, names: Sequence[str]) -> str:
        if found.order is None:
            return f"{super().advice(found, names)} Check that its input is what the model expects (scale, offset, mean, std, channel order)."
        wanted = [names[found.order.index(names.index(name))] for name in self.classes or names]
        listed = ", ".join(map(json.dumps, wanted))
        return f"If it was trained with another class order, set that order for the target, as in classes: [{listed}]."

    def _outputs(self, names: Sequence[str]) -> list[int]:
        """Return the model's output for each class of the data set."""
        return [self.classes.index(name) for name in names]

    def _given_files(self) -> Iterator[Path]:
        yield Path(self.path)
        if self.architecture and not self._is_named:
            yield Path(self.architecture)

    @property
    def _is_named(self) -> bool:
        """Whether the architecture is the name of a PyTorch network, not a file."""
        return self.architecture is not None and self.architecture.startswith(architectures.PREFIXES)

    @cached_property
    def _file(self) -> ModelFile | OnnxModel | TorchModel:
        if Path(self.path).suffix in torch_model.SUFFIXES:
            return TorchModel(Path(self.path), self.architecture)
        if Path(self.path).suffix == SUFFIX:
            return OnnxModel(Path(self.path), Path(self.architecture) if self.architecture else None)
        return ModelFile(Path(self.path), Path(self.architecture) if self.architecture else None)

    @property
    def _conventions(self) -> InputConventions:
        stated = self.channels_first
        return self._given_conventions(self._file.channels_first if stated is None else stated)

    def _given_conventions(self, channels_first: bool) -> InputConventions:
        return InputConventions(
            scale=self.scale,
            offset=self.offset,
            grey=self.grey,
            channels_first=channels_first,
            mean=self.mean,
            std=self.std,
            known=self.mean_std,
            bgr=self.bgr,
            resize=self.resize,
        )

    @property
    def _pixel_format(self) -> InputFormat:
        """What the conventions do to the values and colours of a pixel."""
        scale, offset = self._conventions.affine
        return InputFormat("", scale, offset, bgr=self.bgr)

    def _advice(self, wanted: InputShape, info: DataInfo) -> str:
        height, width, channels = *(self.resize or info.shape[:2]), info.shape[2]
        if not self._conventions.channels_first and agree(wanted, (channels, height, width)):
            return "set channels_first: true"
        if not self.grey and channels == 3 and agree(wanted, (height, width, 1)):
            return "set grey: luma here or of the data set"
        sides = tuple(side or 0 for side in (wanted[1:] if self._conventions.channels_first else wanted[:2]))
        if len(wanted) == 3 and all(sides) and replace(self, resize=sides)._fits(wanted, info):
            return f"resize the data set, or set resize: {list(sides)} for the model"
        return "resize the data set, or use another model"

    def _fits(self, wanted: InputShape, info: DataInfo) -> bool:
        return agree(wanted, self._conventions.given(info.shape))


def _understood(model: Classifier, test: Examples, conventions: InputConventions, wanted: InputShape) -> str:
    """Return a sentence with the clean accuracy, the confidence and the input range of a model on some test images."""
    sample = sample_of(test)
    logits = model.logits(sample.x)
    right = float((logits.argmax(axis=1) == sample.y).mean())
    confidence = float(np.exp(logits.max(axis=1) - np.logaddexp.reduce(logits, axis=1)).mean())
    received = conventions.applied(sample.x, wanted)
    return (
        f"On {len(sample)} test images: clean accuracy {right:.2%}, mean confidence {confidence:.3f}; "
        f"the model receives values from {received.min():.4g} to {received.max():.4g}."
    )


def _some(data: Data) -> Images:
    """Return images of all parts, evenly spaced in each."""
    parts = [data.part(name).x for name in PARTS]
    return np.concatenate([part[:: max(1, len(part) // _LOOKED_AT)][:_LOOKED_AT] for part in parts])


def _difference(given: Sequence[str], names: Sequence[str]) -> str:
    """Return how a list of classes differs from those of the data set."""
    strange, missing = sorted(set(given) - set(names)), sorted(set(names) - set(given))
    said = [f"unknown {', '.join(strange)}"] * bool(strange) + [f"without {', '.join(missing)}"] * bool(missing)
    return "; ".join(said) or "one of them twice"
