"""What all continual repairs share: the corner cases, the memory, the regulariser and what is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Part, Range, Ref
from temper.core.errors import StageError
from temper.core.families import Repair
from temper.core.run import Run
from temper.nn.training.training import Optimizer
from temper.repair.continual.layers import freeze, weighted
from temper.repair.continual.learner import Settings
from temper.repair.continual.regularisers import Regulariser
from temper.repair.continual.replay import Labelled


@dataclass(frozen=True, kw_only=True)
class ContinualRepair(Repair):
    """A repair that goes on training a clone of a model, on corner cases beside what it learnt from."""

    model: Annotated[Ref[Classifier], "the model to repair, which stays as it is"]
    data: Annotated[Ref[Examples] | None, "the images it learnt from; default: the training part of its data set"] = (
        None
    )
    memory_per_class: Annotated[
        int, "images of each class that are kept for replay, as many in each step as new ones; 0: none", Range(ge=0)
    ] = 200
    regulariser: Annotated[Regulariser | None, "what else keeps the model from forgetting: ewc, lwf; null: nothing"] = (
        None
    )
    freeze: Annotated[
        Literal["none", "first", "all_but_head"],
        "layers that do not learn: none, the first `freeze_layers`, or all but the one that gives the logits",
    ] = "none"
    freeze_layers: Annotated[
        int | None, "freeze: first: how many layers with weights do not learn, counted from the input", Range(ge=1)
    ] = None
    epochs: Annotated[
        int, "passes over the new images or the memory, whichever is more, in each step of the training", Range(ge=1)
    ] = 15
    batch_size: Annotated[int, "new images in an optimiser step, beside as many replayed ones", Range(ge=1)] = 32
    optimizer: Annotated[Optimizer, "optimiser; sgd has Nesterov momentum 0.9"] = "adam"

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "validation" if field_name == "examples" else "train"

    def check(self) -> Iterator[tuple[str, str]]:
        if self.freeze == "first" and self.freeze_layers is None:
            yield "freeze_layers", "say how many layers do not learn, as freeze: first means"
        if self.freeze != "first" and self.freeze_layers is not None:
            yield "freeze_layers", f"only freeze: first counts layers, and it is {self.freeze}; leave it out"

    def settings(self, learning_rate: float, steps: int) -> Settings:
        """Return how each of the steps is learnt."""
        return Settings(
            memory_per_class=self.memory_per_class,
            regulariser=self.regulariser,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=learning_rate,
            optimizer=self.optimizer,
            steps=steps,
        )

    def freeze_in(self, model: Any) -> None:
        """Freeze what is to be frozen of a Keras model.

        Raises:
            StageError: nothing would be left to learn.
        """
        layers = weighted(model)
        count = {"none": 0, "first": self.freeze_layers or 0, "all_but_head": len(layers) - 1}[self.freeze]
        if count >= len(layers):
            raise StageError(
                f"freeze_layers: the model has {len(layers)} layers with weights, and {count} do not learn; "
                f"expected at most {len(layers) - 1}"
            )
        freeze(layers[:count])


def corner_cases(run: Run, refs: tuple[Ref[Examples], ...]) -> Labelled:
    """Return the images of several sets, one after another.

    Raises:
        StageError: a set is empty, as that of a generator is whose data set has no validation part.
    """
    sets = [run[ref] for ref in refs]
    for ref, examples in zip(refs, sets, strict=True):
        if not len(examples):
            raise StageError(
                f"examples: {ref} has no image to learn from; give the data set a validation part (validation: 0.1), "
                f"or name another part ({ref.stage}.train)"
            )
    return Labelled(np.concatenate([e.x for e in sets]), np.concatenate([e.y for e in sets]))
