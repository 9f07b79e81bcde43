"""The family of targets trained by Temper."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

from temper.core.classifier import Classifier
from temper.core.component import File, Range
from temper.core.data_info import DataInfo
from temper.core.families import Target
from temper.core.run import Run
from temper.nn.model_files import hdf5_weights
from temper.nn.training.training import BatchSize, LearningRate, OptimizerName, TrainingSettings, fit
from temper.system import backend

Passes = Annotated[int, "passes over the training images; 0: keep the initial weights", Range(ge=0)]


@dataclass(frozen=True, kw_only=True)
class TrainedTarget(Target):
    """A network built for a data set and trained on its training part. Members implement ``network``."""

    epochs: Passes
    batch_size: BatchSize
    learning_rate: LearningRate
    optimizer: OptimizerName = "adam"
    initial_weights: Annotated[
        str | None, "HDF5 weights of this network to start from; with epochs: 0 the target as published", File()
    ] = None

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "epochs": 1}

    @abstractmethod
    def network(self, info: DataInfo) -> Any:
        """Return the untrained Keras model from images to logits (n, classes)."""

    @property
    def smallest_side(self) -> int:
        """Minimum height and width of an input image, in pixels."""
        return 1

    @property
    def stochastic(self) -> bool:
        return self.epochs > 0 or self.initial_weights is None

    def files(self) -> Iterator[Path]:
        if self.initial_weights:
            yield Path(self.initial_weights)

    def fits(self, info: DataInfo) -> Iterator[tuple[str, str]]:
        height, width, _ = info.shape
        if min(height, width) < self.smallest_side:
            side = self.smallest_side
            yield "dataset", f"expected images of at least {side}x{side} pixels, received {height}x{width}; resize them"

    @final
    def produce(self, run: Run) -> Classifier:
        data, seed = run[self.dataset], run.framework_seed()
        backend.seed(seed)
        model = self.network(data.info)
        if self.initial_weights:
            hdf5_weights.load(model, Path(self.initial_weights), by_name=False)
        fit(
            model,
            data.train.x,
            data.train.y,
            TrainingSettings.of(self),
            seed=seed,
            progress=run.progress,
            checkpoint=run.checkpoint,
        )
        run.images += self.epochs * len(data.train)
        return Classifier(model)
