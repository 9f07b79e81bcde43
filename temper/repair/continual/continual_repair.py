"""The base of continual repairs: the corner cases, the memory, the regulariser and the frozen layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Part, Range, Ref
from temper.core.errors import StageError
from temper.core.families import Repair
from temper.core.run import Run
from temper.nn.training.training import OptimizerName
from temper.repair.continual.learner import LearnerSettings
from temper.repair.continual.regularisers import Regulariser
from temper.repair.continual.replay import LabelledImages
from temper.repair.continual.trainable_layers import freeze, layers_with_weights


@dataclass(frozen=True, kw_only=True)
class ContinualRepair(Repair):
    """A repair that continues to train a copy of a model, on corner cases along with its training data."""

    model: Annotated[Ref[Classifier], "the model to repair, which is unchanged"]
    data: Annotated[
        Ref[Examples] | None, "the images it was trained on; default: the training part of its data set"
    ] = None
    memory_per_class: Annotated[
        int, "images per class kept for replay, as many in each step as new ones; 0: none", Range(ge=0)
    ] = 200
    regulariser: Annotated[Regulariser | None, "further protection against forgetting: ewc, lwf; null: none"] = None
    freeze: Annotated[
        Literal["none", "first", "all_but_head"],
        "frozen layers: none, the first `freeze_layers`, or all but the one that computes the logits",
    ] = "none"
    freeze_layers: Annotated[
        int | None, "freeze: first: number of frozen layers with weights, counted from the input", Range(ge=1)
    ] = None
    epochs: Annotated[
        int, "passes over the new images or the memory, whichever is larger, in each step of the training", Range(ge=1)
    ] = 15
    batch_size: Annotated[int, "new images per optimiser step, along with as many replayed ones", Range(ge=1)] = 32
    optimizer: OptimizerName = "adam"

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "epochs": 1}

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "validation" if field_name == "examples" else "train"

    def check(self) -> Iterator[tuple[str, str]]:
        if self.freeze == "first" and self.freeze_layers is None:
            yield "freeze_layers", "freeze: first requires the number of frozen layers; set it"
        if self.freeze != "first" and self.freeze_layers is not None:
            yield "freeze_layers", f"only freeze: first uses it, received freeze: {self.freeze}; remove it"

    def settings(self, learning_rate: float, steps: int) -> LearnerSettings:
        """Return the training settings of each step."""
        return LearnerSettings(
            memory_per_class=self.memory_per_class,
            regulariser=self.regulariser,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=learning_rate,
            optimizer=self.optimizer,
            steps=steps,
        )

    def freeze_in(self, model: Any) -> None:
        """Freeze the configured layers of a Keras model.

        Raises:
            StageError: no layer would remain trainable.
        """
        layers = layers_with_weights(model)
        count = {"none": 0, "first": self.freeze_layers or 0, "all_but_head": len(layers) - 1}[self.freeze]
        if count >= len(layers):
            raise StageError(
                f"freeze_layers: the model has {len(layers)} layers with weights, and {count} are frozen; "
                f"expected at most {len(layers) - 1}"
            )
        freeze(layers[:count])


def corner_cases(run: Run, refs: tuple[Ref[Examples], ...]) -> LabelledImages:
    """Return the concatenated images of several sets.

    Raises:
        StageError: a set is empty, as that of a generator without a validation part in its data set.
    """
    sets = [run[ref] for ref in refs]
    for ref, examples in zip(refs, sets, strict=True):
        if not len(examples):
            raise StageError(
                f"examples: {ref} has no image to learn from; give the data set a validation part (validation: 0.1), "
                f"or set another part ({ref.stage}.train)"
            )
    return LabelledImages(np.concatenate([e.x for e in sets]), np.concatenate([e.y for e in sets]))
