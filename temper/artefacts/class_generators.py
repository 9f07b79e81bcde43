"""Generators with one trained network per class, and the losses that train these networks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from temper.core.artefacts import Artefact, Examples, Images, Labels
from temper.core.component import Component
from temper.core.run import Run
from temper.nn.inspection.compiled_programs import Tensor
from temper.nn.inspection.units import with_separate_activations
from temper.system import backend


class ClassExamples(Examples):
    """Images perturbed by one network per class; the generator prepares ``networks``, a ``ClassGenerators``."""

    kind: ClassVar[str] = "class_examples"


class ClassGenerators(Artefact):
    """Networks that perturb images, one per class."""

    @abstractmethod
    def perturb(self, x: Images, labels: Labels) -> Images:
        """Return images (n, h, w, c), each perturbed by the network of its class in ``labels`` (n,).

        Raises:
            StageError: a class has no network.
        """


@dataclass(frozen=True)
class Batch:
    """The inputs of a loss at one training step.

    ``x`` are images (n, h, w, c) of one class, ``generated`` the network's outputs for them, ``y`` their labels (n,),
    ``eps`` the L-inf radius of the perturbation. ``target`` passes images to the model of ``GeneratorLoss.frozen_target``;
    ``constants`` are tensors.
    """

    x: Tensor
    generated: Tensor
    y: Tensor
    eps: float
    target: Callable[[Tensor], Any]
    constants: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class GeneratorLoss(Component):
    """A loss that a data generator network minimises."""

    clip_in_loss: Annotated[
        bool, "clip the perturbation to eps before the loss is computed, as it is clipped when images are generated"
    ] = False

    def of(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar, computed on the network's output or on that output clipped to eps."""
        # As published, the loss is computed on the unclipped output (DeepCustom).
        if not self.clip_in_loss:
            return self.value(batch)
        ops = backend.keras().ops
        return self.value(
            replace(batch, generated=batch.x + ops.clip(batch.generated - batch.x, -batch.eps, batch.eps))
        )

    @abstractmethod
    def value(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, one number, written in ``keras.ops``."""

    def frozen_target(self, model: Any) -> Any:
        """Return the Keras model for ``Batch.target``: a frozen copy of the target that returns logits (n, classes).

        ``model`` is the target itself, which other stages share: do not change it.
        """
        return with_separate_activations(model)

    def constants(self, run: Run, label: int) -> Mapping[str, np.ndarray]:
        """Return the arrays that the loss needs for a class besides its images, with the same shapes for every class.

        Raises:
            StageError: no data exist for that class.
        """
        return {}
