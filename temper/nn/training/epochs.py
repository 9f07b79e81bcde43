"""Epochs: passes of a compiled Keras model over images, each in an order of its own, that go on where a kill ended them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.checkpoint import Checkpoint
from temper.nn.training.training_state import TrainingState
from temper.system import backend

STEPS_AT_ONCE = 64
"""Optimiser steps per call into the framework. Against one step per call, a dense network trains 2.5 times as fast."""
ON_DEVICE = 2**31
"""Bytes of the largest set that is held on the device; larger ones are copied there batch by batch."""

Arrays = Sequence[NDArray[Any]]
Rows = NDArray[np.int64]


class Epochs:
    """Trains a compiled Keras model, for any number of trainings one after another.

    Keras' own ``fit`` on TensorFlow (3.15 on 2.21), once seeded, shuffles into the same order at every epoch, so that the same
    images share a batch all along. Here the order of an epoch is drawn from the seed and the epoch's number.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._program = _program(model) if backend.name() == "tensorflow" else None

    def train(
        self,
        x: Arrays,
        y: Arrays,
        epochs: int,
        batch_size: int,
        seed: int,
        shuffle: bool,
        report: Callable[[int, float], None],
        checkpoint: Checkpoint | None = None,
    ) -> list[float]:
        """Train on inputs and targets, arrays (n, ...), one for each of the model's; return the mean loss of each epoch.

        ``report(epoch, loss)`` is called after each epoch, counted from 0, and may raise. What is learnt does not depend on
        whether the training was interrupted and went on from the checkpoint.

        Raises:
            Stopped: the process was asked to stop; the checkpoint has what is needed to go on.
        """
        state = TrainingState(self._model, checkpoint)
        losses, done = state.restore()
        steps = self._steps(x, y, batch_size, seed)
        for epoch in range(len(losses), epochs):
            order = np.random.default_rng([seed, epoch]).permutation(len(y[0])) if shuffle else np.arange(len(y[0]))
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
        """Return what trains on the images of an order from a place on, and yields places at which it can be interrupted."""
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
            self._program(*data(rows), np.int64(batch_size))
            yield start + len(rows)

    def _fit(self, x: Arrays, y: Arrays, batch_size: int, order: Rows, epoch: int, seed: int) -> Iterator[int]:
        # Dropout on torch draws from its global stream.
        backend.seed((seed + epoch) % 2**31)
        shuffled, _ = _taken(x, y, order)
        self._model.fit(
            *shuffled, batch_size=batch_size, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0
        )
        yield len(order)


def prepare(model: Any, x: Arrays, y: Arrays) -> None:
    """Have a compiled Keras model build what it does at its first call where it draws random numbers for that: on torch."""
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
    """Return some rows of the data, and where they are in what is returned."""
    return [_as_keras_takes([array[rows] for array in arrays]) for arrays in (x, y)], np.arange(len(rows))


def _as_keras_takes(arrays: list[Any]) -> Any:
    return arrays if len(arrays) > 1 else arrays[0]
