"""Reduced models: short trainings on subsets of the images, whose weights guide the adaptation of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Artefact, Examples
from temper.core.checkpoint import Checkpoint, Steps
from temper.core.classifier import Classifier
from temper.core.component import Component, Range, Ref
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.nn.images.stratified_sample import stratified
from temper.nn.training import training
from temper.nn.training.training import BatchSize, TrainingSettings

Weights = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ReducedModelSettings(Component):
    """The parameters that the reduced models of a repair depend on."""

    model: Annotated[Ref[Classifier], "the first version, which is unchanged"]
    data: Annotated[Ref[Examples] | None, "images to learn from; default: the training part of the data set"] = None
    reduced: Annotated[int, "reduced models, each trained on a part of the images", Range(ge=1)] = 20
    subset: Annotated[float, "share of the images that each reduced model is trained on", Range(gt=0, le=1)] = 0.2
    start: Annotated[
        Literal["fresh", "continued"], "reduced models start from new initial weights, or from the first version's"
    ] = "fresh"
    reduced_epochs: Annotated[int, "passes of each reduced model over its images", Range(ge=1)] = 4
    reduced_learning_rate: Annotated[float, "step size of Adam for reduced models", Range(gt=0)] = 1e-3
    batch_size: BatchSize = 128

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "reduced": 3, "reduced_epochs": 1}


class ReducedModels(Artefact):
    """Models of one architecture, as weights float32 (models, weights), trainable ones before the others."""

    kind: ClassVar[str] = "reduced_models"

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def save(self, folder: Path) -> None:
        np.save(folder / "weights.npy", self.weights)

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(np.load(folder / "weights.npy", mmap_mode="r"))


@dataclass(frozen=True, kw_only=True)
class ReducedTraining(Preparation, ReducedModelSettings):
    """The training of the reduced models.

    Source: Zhang and Chan (2019), Apricot, as ``apricot`` says.
    """

    tag = "apricot_reduced"
    produces = ReducedModels

    def produce(self, run: Run) -> ReducedModels:
        assert self.data is not None  # the graph fills in the model's data set
        original, images = run[self.model].model, run[self.data]
        steps, found = Steps(run.checkpoint), []
        for number in range(self.reduced):
            if (kept := steps.finished(str(number))) is None:
                kept = {"weights": self._trained(original, images, number, run, steps.in_progress(str(number)))}, {}
                steps.finish(str(number), *kept)
            found.append(kept[0]["weights"])
            run.progress(number + 1, self.reduced, "reduced models")
        run.images += self.reduced * self.reduced_epochs * self._size(images)
        return ReducedModels(np.stack(found))

    def _size(self, images: Examples) -> int:
        return max(1, round(self.subset * len(images)))

    def _trained(self, original: Any, images: Examples, number: int, run: Run, checkpoint: Checkpoint) -> Weights:
        # A seed per model, or all would start from the same weights.
        seed = run.framework_seed() + number
        rows = stratified(images.y, self._size(images), run.rng(f"reduced {number}"))
        model = training.copied(original, seed, weights=self.start == "continued", remark=run.remark)
        training.fit(
            model,
            images.x[rows],
            images.y[rows],
            TrainingSettings.of(self, epochs=self.reduced_epochs, learning_rate=self.reduced_learning_rate),
            seed=seed,
            checkpoint=checkpoint,
        )
        return flat_trainable_first(model)


def correct_answers(model: Any, reduced: ReducedModels, images: Examples) -> NDArray[np.bool_]:
    """Return which reduced model, of the model's architecture, is right on which image, bool (models, images)."""
    copy = training.copied(model, 0, weights=False)
    found = []
    for weights in reduced.weights:
        _set_weights(copy, weights)
        found.append(Classifier(copy).predict(images.x) == images.y)
    return np.stack(found)


def flat_trainable_first(model: Any) -> Weights:
    """Return all weights of a Keras model as one vector: trainable ones before the others."""
    weights = (*model.trainable_weights, *model.non_trainable_weights)
    return np.concatenate([np.asarray(variable, np.float32).ravel() for variable in weights])


def _set_weights(model: Any, row: Weights) -> None:
    variables = (*model.trainable_weights, *model.non_trainable_weights)
    ends = np.cumsum([int(np.prod(variable.shape)) for variable in variables])
    for variable, values in zip(variables, np.split(np.asarray(row), ends[:-1]), strict=True):
        variable.assign(values.reshape(variable.shape))
