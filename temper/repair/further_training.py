"""The base of repairs that continue a model's training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from temper.core.artefacts import Examples
from temper.core.checkpoint import Checkpoint
from temper.core.classifier import Classifier
from temper.core.component import Range, Ref
from temper.core.families import Repair
from temper.core.run import Run
from temper.nn.training import training
from temper.nn.training.training import BatchSize, LearningRate, OptimizerName, TrainingSettings


@dataclass(frozen=True, kw_only=True)
class FurtherTraining(Repair):
    """A repair that continues training from a model's own weights, by ``train_further``."""

    model: Annotated[Ref[Classifier], "the first version, which is unchanged"]
    epochs: Annotated[int, "passes over the images", Range(ge=0)]
    batch_size: BatchSize = 128
    learning_rate: LearningRate = 1e-4
    optimizer: OptimizerName = "adam"

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "epochs": 1}

    def train_further(self, model: Any, images: Examples, run: Run, checkpoint: Checkpoint) -> None:
        """Train a Keras model in place on images, with the settings of the fields.

        Raises:
            StageError: the loss is no longer finite.
            Stopped: the process was asked to stop; the checkpoint holds the state to resume from.
        """
        training.fit(
            model,
            images.x,
            images.y,
            TrainingSettings.of(self),
            # The seed of the stage, so that a resumed training shuffles alike.
            seed=run.framework_seed(),
            progress=run.progress,
            checkpoint=checkpoint,
        )
        run.images += self.epochs * len(images)
