"""The reference data that coverage criteria and scores are fitted on."""

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

    ``activations`` are the model's on ``examples``, row by row, ``excluded`` the number of excluded images;
    ``observed`` returns the activations on another set that a criterion refers to.
    """

    classifier: Classifier
    examples: Examples
    activations: Activations
    observed: Callable[[Ref[Examples]], Activations]
    excluded: int = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the training images, by label; empty if they have none."""
        return tuple(self.examples.info.get("class_names", ()))

    def finite(self) -> ReferenceData:
        """Return a copy without the training images that have non-finite activations, counted in ``excluded``.

        Raises:
            StageError: no training image remains.
        """
        finite = self.activations.finite
        # The usual case, without copying memory-mapped activations.
        if finite.all():
            return self
        if not finite.any():
            raise StageError(
                "expected finite activations of the training images, received none; check the model's weights"
            )
        rows = np.flatnonzero(finite)
        out = len(finite) - len(rows)
        return replace(self, examples=self.examples.take(rows), activations=self.activations.take(rows), excluded=out)


def remarks(learnt: Arrays) -> Iterator[str]:
    """Yield a note on how many training images were excluded, from the profile's array ``excluded``."""
    if out := int(learnt.get("excluded", 0)):
        yield f"{out} training images without finite activations excluded"
