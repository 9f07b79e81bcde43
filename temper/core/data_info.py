"""Metadata of a data set, available before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataInfo:
    """Metadata of a data set, available without loading it: image shape (height, width, channels), classes, ``masks``.

    ``masks`` is whether the data set provides the object mask of each image.
    """

    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    masks: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
