"""What coverage criteria and scores learn of a model before they judge inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from core.artefacts import Examples
from core.classifier import Classifier
from core.component import Ref
from core.networks.activations import Activations

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Material:
    """A model and its training images.

    ``activations`` are the model's on ``examples``, row by row; ``observed`` gives those on another set that a
    criterion refers to.
    """

    classifier: Classifier
    examples: Examples
    activations: Activations
    observed: Callable[[Ref[Examples]], Activations]
