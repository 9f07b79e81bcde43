"""The state of a Keras model in training, saved so that a kill does not change the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.checkpoint import Checkpoint, restore_stream, stream_state
from temper.system import backend


class TrainingState:
    """A compiled Keras model in training and its checkpoint.

    It saves all variables, including the states of dropout's random streams, the optimiser's moments and its number of
    steps, the running mean of the loss, NumPy's random streams if there are any, and the progress of the training.
    """

    def __init__(self, model: Any, checkpoint: Checkpoint | None, *streams: np.random.Generator) -> None:
        """Take the model, its checkpoint, and the random streams that the training draws from."""
        self._model, self._checkpoint, self._streams = model, checkpoint or Checkpoint(), streams

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self._checkpoint.due

    def save(self, losses: list[float], done: int) -> None:
        """Save the state after some epochs, with the losses given, and ``done`` images of the next.

        Raises:
            Stopped: the process was asked to stop.
        """
        streams = list(map(stream_state, self._streams))
        self._checkpoint.save(values(self._variables), {"losses": losses, "done": done, "streams": streams})

    def restore(self) -> tuple[list[float], int]:
        """Restore the last saved state; return the losses of completed epochs and the images done of the next."""
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
        # The metrics hold the running loss of an epoch that was interrupted.
        return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


def values(variables: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Return the values of Keras variables for a checkpoint, by position ("0", "1", ...)."""
    read = backend.keras().ops.convert_to_numpy
    return {str(number): np.array(read(variable)) for number, variable in enumerate(variables)}


def assign(variables: Sequence[Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Assign to Keras variables values that ``values`` returned for them or for others of the same shapes."""
    for number, variable in enumerate(variables):
        variable.assign(arrays[str(number)])
