"""Trains data generator networks in sequence in one compiled program."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Literal

import numpy as np

from temper.artefacts.class_generators import Batch, GeneratorLoss
from temper.core.artefacts import Images, Labels
from temper.core.checkpoint import Checkpoint
from temper.core.errors import StageError
from temper.nn.training.epochs import Epochs, EpochSettings
from temper.system import backend

Schedule = Literal["staircase", "constant"]
Constants = Mapping[str, np.ndarray]

STATISTICS_BATCHES = 20
"""Number of batches for the final statistics of batch normalisation."""


def learning_rate(start: float, schedule: Schedule, decay_step: int, decay_rate: float) -> Any:
    """Return Adam's step size: constant, or multiplied by ``decay_rate`` after every ``decay_step`` steps."""
    if schedule == "constant":
        return start
    return backend.keras().optimizers.schedules.ExponentialDecay(start, decay_step, decay_rate, staircase=True)


class GeneratorTrainer:
    """Trains networks of one architecture against one target; they share the compiled training step.

    The weights of each network are copied in, so the step is compiled once and not once per class.
    """

    def __init__(
        self, network: Any, frozen_target: Any, loss: GeneratorLoss, eps: float, rate: Any, constants: Constants
    ) -> None:
        """Build the training step; ``constants`` are those of any class, whose shapes all share."""
        keras = backend.keras()
        # The target must not learn: it is what the network is trained against.
        frozen_target.trainable = False
        self._network = keras.models.clone_model(network)
        self._trainer = _trainer_class()(self._network, frozen_target, loss, eps, constants)
        self._trainer.compile(optimizer=keras.optimizers.Adam(rate), jit_compile=backend.name() == "jax")
        self._trainer.optimizer.build(self._network.trainable_variables)
        self._epochs = Epochs(self._trainer)
        # The optimiser's state before any step, restored for each class.
        self._fresh = [keras.ops.convert_to_numpy(variable) for variable in self._trainer.optimizer.variables]

    def train(
        self,
        network: Any,
        x: Images,
        y: Labels,
        constants: Constants,
        *,
        settings: EpochSettings,
        seed: int,
        progress: Callable[[int], None],
        checkpoint: Checkpoint | None = None,
    ) -> list[float]:
        """Train a network in place on the images (n, h, w, c) of one class; return the mean loss of each epoch.

        ``progress`` receives the number of finished epochs after each.

        Batches are full, so that one shape is compiled, and sampled again each epoch with ``shuffle``; the remaining
        images, fewer than a batch, are dropped. If that would be more than a tenth of them, batches are made smaller.

        Raises:
            StageError: the loss is no longer finite.
            Stopped: the process was asked to stop; the checkpoint holds the state to resume from.
        """
        self._trainer.reset(network.get_weights(), self._fresh, constants)
        size = settings.batch_size
        # Smaller batches of equal size where dropping the rest would lose over a tenth.
        if len(x) < 10 * size:
            size = len(x) // math.ceil(len(x) / size)
        whole = len(x) // size * size

        def report(epoch: int, loss: float) -> None:
            if not math.isfinite(loss):
                raise StageError(
                    f"training diverged: the loss of epoch {epoch + 1} is {loss}; lower learning_rate or set "
                    "clip_in_loss"
                )
            progress(epoch + 1)

        losses = self._epochs.train(
            [x[:whole]],
            [y[:whole]],
            replace(settings, batch_size=size),
            seed,
            report=report,
            checkpoint=checkpoint,
        )
        network.set_weights(self._network.get_weights())
        recompute_batch_statistics(network, x[:: max(1, len(x) // (size * STATISTICS_BATCHES))], size)
        return losses


def recompute_batch_statistics(network: Any, x: Images, batch_size: int) -> None:
    """Set the statistics of batch normalisation to their mean over batches of ``x``, in place.

    The running mean of training weights a batch by 0.01: before some 500 steps it still depends strongly on its initial
    value, and the network would generate other images than in training.

    Source: Ioffe and Szegedy (2015), Batch Normalization, algorithm 2.
    """
    keras = backend.keras()
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    parts = np.array_split(x, max(1, min(STATISTICS_BATCHES, len(x) // batch_size)))
    for done, part in enumerate(parts):
        for layer in layers:
            # A cumulative mean: batch k has weight 1 / k.
            layer.momentum = done / (done + 1)
        network(keras.ops.convert_to_tensor(part), training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


@cache
def _trainer_class() -> Any:
    keras = backend.keras()
    ops = keras.ops

    class Trainer(keras.Model):  # type: ignore[misc, name-defined]
        """A network together with the frozen judge and the constants of its loss."""

        def __init__(
            self, network: Any, frozen_target: Any, loss: GeneratorLoss, eps: float, constants: Constants
        ) -> None:
            super().__init__()
            self.network, self.frozen_target, self.objective, self.eps = network, frozen_target, loss, eps
            self.constants = {
                name: self.add_weight(shape=np.shape(value), initializer="zeros", trainable=False, name=name)
                for name, value in constants.items()
            }
            self.built = True

        def reset(self, weights: list[Any], optimizer: list[Any], constants: Constants) -> None:
            self.network.set_weights(weights)
            for variable, value in zip(self.optimizer.variables, optimizer, strict=True):
                variable.assign(value)
            for name, variable in self.constants.items():
                variable.assign(constants[name])

        def call(self, x: Any, training: bool = False) -> Any:
            return self.network(x, training=training)

        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            batch = Batch(
                x=x,
                generated=y_pred,
                y=ops.cast(y, "int32"),
                eps=self.eps,
                target=lambda images: self.frozen_target(images, training=False),
                constants={name: ops.convert_to_tensor(variable) for name, variable in self.constants.items()},
            )
            return self.objective.of(batch)

    return Trainer
