"""The state of a Keras model in training: what it needs to go on after a kill as if there had been none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.checkpoint import Checkpoint, restore_stream, stream_state
from temper.system import backend


class TrainingState:
    """A compiled Keras model in training and its checkpoint.

    Saved are all variables, the states of dropout's random streams among them, the optimiser's moments and its number of steps,
    the running mean of the loss, random streams of NumPy if there are any, and how far the training has come.
    """

    def __init__(self, model: Any, checkpoint: Checkpoint | None, *streams: np.random.Generator) -> None:
        """Take the model, what keeps its state, and the random streams that the training draws from."""
        self._model, self._checkpoint, self._streams = model, checkpoint or Checkpoint(), streams

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self._checkpoint.due

    def save(self, losses: list[float], done: int) -> None:
        """Keep the state after some epochs, of the losses given, and ``done`` images of the next.

        Raises:
            Stopped: the process has been asked to stop.
        """
        streams = list(map(stream_state, self._streams))
        self._checkpoint.save(values(self._variables), {"losses": losses, "done": done, "streams": streams})

    def restore(self) -> tuple[list[float], int]:
        """Put the model where it was saved last; return the losses of whole epochs and the images done of the next."""
        saved = self._checkpoint.load()
        if saved is None:
            return [], 0
        arrays, meta = saved
        assign(self._variables, arrays)
        for stream, value in zip(self._streams, meta["streams"], strict=True):
            restore_stream(stream, value)
        return list(meta["losses"]), int(meta["done"])

    @property
    def _variables(self) -> list[Any]:
        model = self._model
        return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


def values(variables: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Return the values of Keras variables as a checkpoint takes them, by their positions."""
    read = backend.keras().ops.convert_to_numpy
    return {str(number): np.array(read(variable)) for number, variable in enumerate(variables)}


def assign(variables: Sequence[Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give Keras variables the values that ``values`` returned of them, or of others of their shapes."""
    for number, variable in enumerate(variables):
        variable.assign(arrays[str(number)])
