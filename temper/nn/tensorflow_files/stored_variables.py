"""The variables of a SavedModel folder, by the names of the attributes that lead to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.errors import StageError
from temper.nn.tensorflow_files.protobuf_wire import fields, inner, text

_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclass(frozen=True)
class StoredVariable:
    """A variable of a checkpoint, read when it becomes an array."""

    reader: Any
    key: str
    shape: tuple[int, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.reader.get_tensor(self.key), dtype)


class StoredVariables:
    """The variables in a folder; needs TensorFlow, whatever the backend.

    Raises:
        StageError: they are corrupted.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        try:
            self._reader = tf.train.load_checkpoint(str(folder / "variables"))
            self._shapes = self._reader.get_variable_to_shape_map()
            self._objects = [list(fields(node)) for node in inner(self._reader.get_tensor(_OBJECTS), 1)]
        except Exception as error:  # TensorFlow raises all kinds of errors on corrupted files
            raise StageError(f"{folder}: cannot be read as variables ({error}); the folder is corrupted") from error
        stored = sum(path.stat().st_size for path in folder.iterdir())
        if (needed := sum(map(math.prod, self._shapes.values()))) > stored:
            raise StageError(f"{folder}: {stored:,} bytes hold {needed:,} values; the folder is corrupted")

    def find(self, path: str) -> StoredVariable | None:
        """Return the variable that attributes lead to (``layer_with_weights-0/kernel``), or ``None``.

        Source: TensorFlow's ``trackable_object_graph.proto``.
        """
        node = 0
        for name in path.split("/"):
            if name not in (children := self._children.get(node, {})):
                return None
            node = children[name]
        if not 0 <= node < len(self._objects):
            return None
        keys = [
            text(value, 3) for number, value in self._objects[node] if number == 2 and isinstance(value, memoryview)
        ]
        key = keys[0] if keys else ""
        return StoredVariable(self._reader, key, tuple(self._shapes[key])) if key in self._shapes else None

    @cached_property
    def _children(self) -> dict[int, dict[str, int]]:
        found: dict[int, dict[str, int]] = {}
        for number, node in enumerate(self._objects):
            for field, child in node:
                if field == 1 and isinstance(child, memoryview):
                    place = next((value for key, value in fields(child) if key == 1 and isinstance(value, int)), 0)
                    found.setdefault(number, {})[text(child, 2)] = place
        return found
