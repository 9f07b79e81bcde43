"""Training epochs of a compiled Keras model, each in its own order, which resume after a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.checkpoint import Checkpoint
from temper.core.component import Component, fields_of
from temper.nn.training.training_state import TrainingState
from temper.system import backend

STEPS_AT_ONCE = 64
"""Optimiser steps per call into the framework: a dense network trains 2.5 times as fast as with one per call."""
ON_DEVICE = 2**31
"""Size in bytes of the largest set that is held on the device; larger ones are copied there batch by batch."""

Arrays = Sequence[NDArray[Any]]
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class EpochSettings:
    """The number of passes over the data, the images per optimiser step, and whether each pass has its own order."""

    epochs: int
    batch_size: int
    shuffle: bool = True

    @classmethod
    def of(cls, component: Component, **values: Any) -> Self:
        """Return the settings that a component has as fields of the same names, except ``values``."""
        shared = {f.name for f in fields(cls)} & {f.name for f in fields_of(type(component))}
        return cls(**({name: getattr(component, name) for name in shared} | values))


class Epochs:
    """Trains a compiled Keras model, any number of times in sequence.

    Keras' own ``fit`` on TensorFlow (3.15 on 2.21), once seeded, shuffles into the same order at every epoch, so that
    the same images always share a batch. Here the order of an epoch is drawn from the seed and the epoch's number.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._program = _program(model) if backend.name() == "tensorflow" else None

    def train(
        self,
        x: Arrays,
        y: Arrays,
        settings: EpochSettings,
        seed: int,
        report: Callable[[int, float], None],
        checkpoint: Checkpoint | None = None,
    ) -> list[float]:
        """Train on inputs and targets, arrays (n, ...), one for each of the model's; return the mean loss of each epoch.

        ``report(epoch, loss)`` is called after each epoch, counted from 0, and may raise. The result does not depend on
        whether the training was interrupted and resumed from the checkpoint.

        Raises:
            Stopped: the process was asked to stop; the checkpoint holds the state to resume from.
        """
        state = TrainingState(self._model, checkpoint)
        losses, done = state.restore()
        steps = self._steps(x, y, settings.batch_size, seed)
        for epoch in range(len(losses), settings.epochs):
            order = np.arange(len(y[0]))
            if settings.shuffle:
                order = np.random.default_rng([seed, epoch]).permutation(len(order))
            for place in steps(order, done, epoch):
                if state.due and place < len(order):
                    state.save(losses, place)
            done = 0
            losses.append(float(self._model.get_metrics_result()["loss"]))
            report(epoch, losses[-1])
            if state.due:
                state.save(losses, 0)
        return losses

    def _steps(self, x: Arrays, y: Arrays, batch_size: int, seed: int) -> Callable[[Rows, int, int], Iterator[int]]:
        """Return a generator that trains on images in order from a position and yields where it may stop."""
        if self._program is None:
            prepare(self._model, x, y)
            return lambda order, done, epoch: self._fit(x, y, batch_size, order, epoch, seed)
        if sum(array.nbytes for array in (*x, *y)) > ON_DEVICE:
            return lambda order, done, epoch: self._run(partial(_taken, x, y), batch_size, 1, order, done)
        held = [
            _as_keras_takes([backend.keras().ops.convert_to_tensor(array) for array in arrays]) for arrays in (x, y)
        ]
        return lambda order, done, epoch: self._run(lambda rows: (held, rows), batch_size, STEPS_AT_ONCE, order, done)

    def _run(
        self, data: Callable[[Rows], tuple[Any, Rows]], batch_size: int, steps: int, order: Rows, done: int
    ) -> Iterator[int]:
        assert self._program is not None
        if not done:
            self._model.reset_metrics()
        for start in range(done, len(order), steps * batch_size):
            rows = order[start : start + steps * batch_size]
            # A NumPy number becomes a tensor; a Python number would be compiled in, once for each value.
            self._program(*data(rows), np.int64(batch_size))
            yield start + len(rows)

    def _fit(self, x: Arrays, y: Arrays, batch_size: int, order: Rows, epoch: int, seed: int) -> Iterator[int]:
        # Dropout on torch draws from torch's global random stream.
        backend.seed((seed + epoch) % 2**31)
        shuffled, _ = _taken(x, y, order)
        self._model.fit(
            *shuffled, batch_size=batch_size, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0
        )
        yield len(order)


def prepare(model: Any, x: Arrays, y: Arrays) -> None:
    """Build the parts of a compiled Keras model that would draw random numbers at its first call, as on torch."""
    if backend.name() == "torch":
        model.test_on_batch(*(_as_keras_takes([array[:1] for array in arrays]) for arrays in (x, y)))


def _program(model: Any) -> Any:
    """Return a TensorFlow program that trains a compiled Keras model on the rows of its data, batch by batch."""
    import tensorflow as tf

    def train(data: Any, rows: Any, batch_size: Any) -> None:
        def step(start: Any) -> Any:
            batch = rows[start : start + batch_size]
            model.train_step(tf.nest.map_structure(lambda array: tf.gather(array, batch), data))
            return start + batch_size

        tf.while_loop(lambda start: start < tf.size(rows, tf.int64), step, [tf.constant(0, tf.int64)])

    return tf.function(train, autograph=False, reduce_retracing=True)


def _taken(x: Arrays, y: Arrays, rows: Rows) -> tuple[Any, Rows]:
    """Return some rows of the data, and their positions in the returned data."""
    return [_as_keras_takes([array[rows] for array in arrays]) for arrays in (x, y)], np.arange(len(rows))


def _as_keras_takes(arrays: list[Any]) -> Any:
    return arrays if len(arrays) > 1 else arrays[0]
