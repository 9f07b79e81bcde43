"""What is known of a data set before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set without loading it: image shape (height, width, channels), classes, and ``masks``.

    ``masks`` says whether the data set says where the object of an image is.
    """

    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    masks: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
