"""What a generator learns that has a network for each class, and the losses such networks are trained with."""

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
    """Images that a network for each class perturbed; the generator prepares ``networks``, a ``ClassGenerators``."""

    kind: ClassVar[str] = "class_examples"


class ClassGenerators(Artefact):
    """Networks that perturb images, one for each class."""

    @abstractmethod
    def perturb(self, x: Images, labels: Labels) -> Images:
        """Return each image of (n, h, w, c) as the network of the class in ``labels`` (n,) perturbs it.

        Raises:
            StageError: a class has no network.
        """


@dataclass(frozen=True)
class Batch:
    """What a loss sees of a training step.

    ``x`` are images (n, h, w, c) of one class, ``made`` what the network makes of them, ``y`` their labels (n,), ``eps``
    the L-inf radius of the perturbation. ``look`` shows images to the loss's ``judge``; ``constants`` are tensors.
    """

    x: Tensor
    made: Tensor
    y: Tensor
    eps: float
    look: Callable[[Tensor], Any]
    constants: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class GeneratorLoss(Component):
    """What a data generator network learns to make small."""

    clip_in_loss: Annotated[
        bool, "cut the perturbation to eps before the loss sees it, as it is cut when images are made"
    ] = False

    def of(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, of what the network makes or of what remains of it within eps."""
        if not self.clip_in_loss:
            return self.value(batch)
        ops = backend.keras().ops
        return self.value(replace(batch, made=batch.x + ops.clip(batch.made - batch.x, -batch.eps, batch.eps)))

    @abstractmethod
    def value(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, one number, written in ``keras.ops``."""

    def judge(self, model: Any) -> Any:
        """Return the Keras model that ``Batch.look`` calls: a frozen copy of the target, which gives logits (n, classes).

        ``model`` is the target itself, which other stages share: do not change it.
        """
        return with_separate_activations(model)

    def constants(self, run: Run, label: int) -> Mapping[str, np.ndarray]:
        """Return what the loss must know of a class besides its images; of the same shapes for every class.

        Raises:
            StageError: nothing is known of that class.
        """
        return {}
