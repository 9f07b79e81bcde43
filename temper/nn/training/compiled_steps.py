"""Trainers: compiled training steps, cached for all models of one architecture with the same training settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Self

import numpy as np

from temper.nn.editing import copies
from temper.nn.inspection.compiled_programs import Architecture, architecture
from temper.nn.training.epochs import Epochs
from temper.system import backend

_KEPT = 6
"""Trainers in memory at once; each holds the weights of a model and the state of its optimiser."""


class Trainer:
    """A compiled copy of a model in which any model of its architecture can be trained.

    Attributes:
        model: the Keras model.
        epochs: the training loop.
    """

    def __init__(self, skeleton: Any, compiled: Callable[[Any], Any]) -> None:
        self._skeleton = skeleton
        self.model = compiled(skeleton)
        self.epochs = Epochs(self.model)
        self.model.optimizer.build(self.model.trainable_variables)
        read = backend.keras().ops.convert_to_numpy
        self._start = [np.array(read(variable)) for variable in self.model.optimizer.variables]

    @contextmanager
    def holding(self, model: Any) -> Iterator[Self]:
        """Yield the trainer as if it were built for ``model``, which receives the learnt values on exit.

        Every variable is copied, not only the weights: the states of dropout's random streams are among them.
        """
        # Moments and step count of the last model must not leak into this one.
        for variable, value in zip(self.model.optimizer.variables, self._start, strict=True):
            variable.assign(value)
        _copy(model, self._skeleton)
        yield self
        _copy(self._skeleton, model)


def trainer(model: Any, compiled: Callable[[Any], Any], key: tuple[Any, ...]) -> Trainer:
    """Return a trainer for a model; ``compiled(copy)`` builds it from a copy of the model.

    It is built once per architecture and ``key``, which must identify the result of ``compiled``. With TensorFlow only:
    on other backends a first ``fit`` draws random numbers that later ones do not, so each model has its own.
    """
    if backend.name() != "tensorflow":
        return Trainer(copies.copied(model), compiled)
    return _kept(architecture(model), _Recipe(compiled, key))


class _Recipe:
    """How a trainer is compiled; equal to any other with its key."""

    def __init__(self, compiled: Callable[[Any], Any], key: tuple[Any, ...]) -> None:
        self.compiled, self.key = compiled, key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Recipe) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=_KEPT)
def _kept(of: Architecture, recipe: _Recipe) -> Trainer:
    return Trainer(copies.copied(of.model), recipe.compiled)


def _copy(source: Any, target: Any) -> None:
    for variable, value in copies.paired_variables(target, source):
        variable.assign(value)
