"""Supplementary training: a model learns from images that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from temper.artefacts.retrained_classifier import Retrained, TrainedOn
from temper.core.artefacts import Examples
from temper.core.component import Part, Range, Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.nn.training import training
from temper.nn.training.training import LearningRate, OptimizerName
from temper.repair.further_training import FurtherTraining


@dataclass(frozen=True, kw_only=True)
class SupplementaryTraining(FurtherTraining):
    """Further training on the images that the data set held out for validation when the first version was trained.

    A data set with ``validation: 0.2`` gives the first version 80 % of its training images and the second the other 20
    %, both with every class in proportion and disjoint.

    Source: You, Wang, Chen, Liu and Li (2023), Regression Fuzzing for Deep Learning Systems, scenario SUPPLY, whose
    shares these are and whose released models show the optimiser; epochs and batch are Temper's own.
    """

    tag = "supplementary_training"
    produces = Retrained

    data: Annotated[
        Ref[Examples] | None,
        "the new images; default: the validation part of the model's data set, which is unseen",
    ] = None
    epochs: Annotated[int, "passes over the new images", Range(ge=1)] = 5
    learning_rate: LearningRate = 1e-2
    optimizer: OptimizerName = "sgd"

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        # The first version was not trained on the validation part.
        return "validation" if field_name == "data" else "train"

    def check(self) -> Iterator[tuple[str, str]]:
        if self.data is not None and self.data.part == "test":
            yield "data", "a model trained on the test images cannot be evaluated on them; use another part"

    def produce(self, run: Run) -> Retrained:
        assert self.data is not None  # the graph fills in the model's data set
        images = run[self.data]
        if not len(images):
            raise StageError(
                f"data: {self.data} has no unseen image for the model; give its data set a validation part "
                "(validation: 0.2), or set other images"
            )
        model = training.copied(run[self.model].model, run.framework_seed(), weights=True)
        self.train_further(model, images, run, run.checkpoint)
        return Retrained(model, TrainedOn(inputs=len(images), adversarial=0, available=len(images)))
