"""Trains Keras models that end in logits: plainly, on pairs of clean and adversarial images, or on the fly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from temper.core.artefacts import Images, Labels
from temper.core.checkpoint import Checkpoint
from temper.core.component import Range
from temper.core.errors import StageError
from temper.core.run import Progress
from temper.nn.editing import copies
from temper.nn.training.compiled_steps import trainer
from temper.nn.training.epochs import STEPS_AT_ONCE, EpochSettings, prepare
from temper.nn.training.training_state import TrainingState
from temper.system import backend

Optimizer = Literal["adam", "adadelta", "rmsprop", "sgd"]
BatchSize = Annotated[int, "images per optimiser step", Range(ge=1)]
LearningRate = Annotated[float, "step size of the optimiser", Range(gt=0)]
OptimizerName = Annotated[Optimizer, "optimiser; sgd has Nesterov momentum 0.9"]
Perturb = Callable[[Images, Labels, np.random.Generator], Images]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(EpochSettings):
    """The settings of a training; ``learning_rate`` is the step size of the optimiser."""

    learning_rate: float
    optimizer: Optimizer = "adam"


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """What attacks a share of each batch during a training: ``perturb(images, labels, rng)`` returns perturbed images."""

    perturb: Perturb
    share: float
    rng: np.random.Generator


def fit(
    model: Any,
    x: Images,
    y: Labels,
    settings: TrainingSettings,
    *,
    seed: int,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[float]:
    """Train a model in place on images (n, h, w, c) and labels (n,); return the mean cross-entropy of each epoch.

    On a CPU the same seed gives the same weights, whether or not the training was interrupted and resumed from the
    checkpoint.

    Raises:
        StageError: the loss is no longer finite.
        Stopped: the process was asked to stop; the checkpoint holds the state to resume from.
    """
    steps = _steps_of_keras(len(x), settings.batch_size)

    def compiled(copy: Any) -> Any:
        wrapper = backend.keras().Model(copy.inputs[0], copy.outputs[0])
        _compile(wrapper, settings, steps=steps)
        return wrapper

    with trainer(model, compiled, ("fit", settings.optimizer, settings.learning_rate, steps)).holding(model) as copy:
        report = _watched(settings.epochs, progress)
        return copy.epochs.train([x], [y], settings, seed, report, checkpoint)


def fit_pairs(
    model: Any,
    clean: Images,
    adversarial: Images,
    y: Labels,
    settings: TrainingSettings,
    *,
    ratio: float,
    seed: int,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[float]:
    """Train a model in place on ratio * CE(f(clean), y) + (1 - ratio) * CE(f(adversarial), y).

    The images, both (n, h, w, c), are paired by position. Returns the mean loss of each epoch.

    Raises:
        StageError: the loss is no longer finite.
        Stopped: the process was asked to stop; the checkpoint holds the state to resume from.
    """
    steps = _steps_of_keras(len(y), settings.batch_size)

    def compiled(copy: Any) -> Any:
        keras = backend.keras()
        inputs = [keras.Input(copy.input_shape[1:]) for _ in range(2)]
        wrapper = keras.Model(inputs, [copy(images) for images in inputs])
        _compile(wrapper, settings, steps=steps, loss_weights=[ratio, 1.0 - ratio])
        return wrapper

    with trainer(model, compiled, ("fit_pairs", ratio, settings.optimizer, settings.learning_rate, steps)).holding(
        model
    ) as copy:
        report = _watched(settings.epochs, progress)
        return copy.epochs.train([clean, adversarial], [y, y], settings, seed, report, checkpoint)


def fit_on_the_fly(
    model: Any,
    x: Images,
    y: Labels,
    settings: TrainingSettings,
    attacker: Attacker,
    *,
    rng: np.random.Generator,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[float]:
    """Train a model in place, a share of each batch replaced by attacked images; return the mean loss of each epoch.

    The attack is called before each step, so it attacks the model in its current state; it receives ceil(share * batch)
    images, sampled again each time.

    Raises:
        StageError: the loss is no longer finite.
        Stopped: the process was asked to stop; the checkpoint holds the state to resume from.
    """
    # The attack reads the model's current weights, so no copy is trained; the wrapper keeps the optimiser out of it.
    wrapper = backend.keras().Model(model.inputs[0], model.outputs[0])
    _compile(wrapper, settings, steps=1)
    wrapper.optimizer.build(wrapper.trainable_variables)
    prepare(wrapper, [x], [y])
    state, report = TrainingState(wrapper, checkpoint, rng, attacker.rng), _watched(settings.epochs, progress)
    losses, _ = state.restore()
    for epoch in range(len(losses), settings.epochs):
        # Dropout on torch draws from torch's global random stream.
        backend.seed(int(rng.integers(2**31)))
        order = rng.permutation(len(x)) if settings.shuffle else np.arange(len(x))
        total = 0.0
        for start in range(0, len(x), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            images, labels = x[batch], y[batch]
            replaced = rng.permutation(len(batch))[: math.ceil(attacker.share * len(batch))]
            # Fancy indexing copied the batch, so the training images stay clean.
            images[replaced] = attacker.perturb(images[replaced], labels[replaced], attacker.rng)
            total += len(batch) * float(wrapper.train_on_batch(images, labels))
        losses.append(total / len(x))
        report(epoch, losses[-1])
        if state.due:
            state.save(losses, 0)
    return losses


def copied(model: Any, seed: int, *, weights: bool, remark: Callable[[str], None] = lambda sentence: None) -> Any:
    """Return an independent model of the same layers, with the same weights or newly initialised.

    Only trainable weights are initialised (``copies.reinitialised``); ``remark`` receives a note on layers that keep
    theirs.

    Raises:
        StageError: the model has no trainable layer.
    """
    if not model.trainable_variables:
        raise StageError(
            "all layers of the model are frozen (trainable: false), so it cannot be trained; save it with trainable "
            "layers"
        )
    backend.seed(seed)
    if weights:
        return copies.copied(model)
    copy, keeping = copies.reinitialised(model)
    if keeping:
        remark(
            f"trained from new initial weights except {', '.join(keeping)}: non-trainable layers, such as frozen ones, "
            "keep their weights."
        )
    return copy


def steps_per_call(n: int, batch_size: int) -> int:
    """Return the number of optimiser steps per call into the framework."""
    if backend.name() == "torch":
        return 1  # Keras accepts only 1 on torch, which runs eagerly
    # A power of two, so that sets of many sizes share a few programs.
    batches = max(1, math.ceil(n / batch_size))
    return min(STEPS_AT_ONCE, 1 << (batches.bit_length() - 1))


def new_optimizer(name: Optimizer, learning_rate: float) -> Any:
    """Return a Keras optimiser."""
    optimizers = backend.keras().optimizers
    match name:
        case "adam":
            return optimizers.Adam(learning_rate)
        case "adadelta":
            return optimizers.Adadelta(learning_rate, rho=0.95)
        case "rmsprop":
            return optimizers.RMSprop(learning_rate)
        case "sgd":
            return optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)


def _compile(model: Any, settings: TrainingSettings, *, steps: int, loss_weights: list[float] | None = None) -> None:
    losses = backend.keras().losses
    model.compile(
        optimizer=new_optimizer(settings.optimizer, settings.learning_rate),
        loss=[losses.SparseCategoricalCrossentropy(from_logits=True) for _ in model.outputs],
        loss_weights=loss_weights,
        steps_per_execution=steps,
        # XLA makes TensorFlow's convolutions on a CPU twice as slow; JAX without it compiles nothing at all.
        jit_compile=backend.name() == "jax",
    )


def _steps_of_keras(n: int, batch_size: int) -> int:
    # On TensorFlow, ``Epochs`` has its own program, which is the same for sets of any size.
    return 1 if backend.name() == "tensorflow" else steps_per_call(n, batch_size)


def _watched(epochs: int, progress: Progress | None) -> Callable[[int, float], None]:
    """Return a callback for the loss of each epoch, which stops a diverging training and reports the progress."""

    def report(epoch: int, loss: float) -> None:
        finite(loss, epoch)
        if progress:
            progress(epoch + 1, epochs, "epochs")

    return report


def finite(loss: float, epoch: int) -> float:
    """Return the loss of an epoch, counted from 0.

    Raises:
        StageError: it is not finite.
    """
    if not math.isfinite(loss):
        raise StageError(f"training diverged: the loss of epoch {epoch + 1} is {loss}; lower learning_rate")
    return float(loss)
