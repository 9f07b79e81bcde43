"""What coverage criteria and scores learn of a model before they judge inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.nn.inspection.activations import Activations

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ReferenceData:
    """A model and its training images.

    ``activations`` are the model's on ``examples``, row by row, ``left_out`` the number of images that are not among them;
    ``observed`` gives the activations on another set that a criterion refers to.
    """

    classifier: Classifier
    examples: Examples
    activations: Activations
    observed: Callable[[Ref[Examples]], Activations]
    left_out: int = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by label, as the training images have them; empty where they have none."""
        return tuple(self.examples.info.get("class_names", ()))

    def finite(self) -> ReferenceData:
        """Return the same without the training images whose activations are no finite numbers, counted in ``left_out``.

        Raises:
            StageError: no training image is left.
        """
        finite = self.activations.finite
        if finite.all():
            return self
        if not finite.any():
            raise StageError(
                "expected finite activations of the training images, received none; look at the model's weights"
            )
        rows = np.flatnonzero(finite)
        out = len(finite) - len(rows)
        return replace(self, examples=self.examples.take(rows), activations=self.activations.take(rows), left_out=out)


def remarks(learnt: Arrays) -> Iterator[str]:
    """Yield how many training images were left out of what was learnt, told by its array ``left_out``."""
    if out := int(learnt.get("left_out", 0)):
        yield f"{out} training images without finite activations left out"
