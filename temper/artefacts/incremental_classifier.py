"""A classifier that learnt its classes in groups, with its state after each group."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels, read_json, write_json
from temper.core.classifier import Classifier
from temper.nn.editing.copies import copied, set_weights

Tasks = tuple[tuple[int, ...], ...]
"""The classes of each task, in the order of learning."""
Rivals = NDArray[np.bool_]
"""Which classes compete, bool (classes, classes): row y marks those that compete for images of class y."""


class Incremental(Classifier):
    """A classifier that learnt its classes task by task, or all at once.

    Attributes:
        tasks: the classes of each task, every class in one.
        steps: the number of tasks learnt after each training step: 1, 2, ... or all at once.
        task_given: whether an image comes with its task, so that only its classes compete.
        earlier: float32 (steps - 1, weights), the concatenated weights after each step but the last.
    """

    kind: ClassVar[str] = "incremental"

    def __init__(
        self, model: Any, tasks: Tasks, steps: tuple[int, ...], task_given: bool, earlier: NDArray[np.float32]
    ) -> None:
        super().__init__(model)
        self.tasks, self.steps, self.task_given, self.earlier = tasks, steps, task_given, earlier

    def rivals(self, step: int = -1) -> Rivals:
        """Return which classes compete after a step, by default the last: those learnt, or those of a task."""
        if self.task_given:
            return rivals_within_tasks(self.tasks)
        learnt = [label for task in self.tasks[: self.steps[step]] for label in task]
        return rivals_among(learnt, self.num_classes)

    def after(self, step: int) -> Classifier:
        """Return the classifier as it was after a training step, counted from 0."""
        if step == len(self.steps) - 1:
            return self
        copy = copied(self.model)
        shapes = [weights.shape for weights in self.model.get_weights()]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        # The inverse of flat_weights.
        parts = np.split(np.asarray(self.earlier[step]), ends[:-1])
        set_weights(copy, [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])
        return Classifier(copy)

    def save(self, folder: Path) -> None:
        super().save(folder)
        about = {"tasks": self.tasks, "steps": self.steps, "task_given": self.task_given}
        write_json(folder / "tasks.json", about)
        np.save(folder / "earlier.npy", self.earlier)

    @classmethod
    def load(cls, folder: Path) -> Self:
        about = read_json(folder / "tasks.json")
        tasks = tuple(map(tuple, about["tasks"]))
        earlier = np.load(folder / "earlier.npy", mmap_mode="r")
        return cls(Classifier.load(folder).model, tasks, tuple(about["steps"]), about["task_given"], earlier)


def flat_weights(model: Any) -> NDArray[np.float32]:
    """Return all weights of a Keras model as one vector, float32 (weights,), as stored in ``Incremental.earlier``."""
    return np.concatenate([np.ravel(weights) for weights in model.get_weights()]).astype(np.float32)


def rivals_among(classes: Iterable[int], num_classes: int) -> Rivals:
    """Return rivals, bool (classes, classes), where every class competes with these classes and no others."""
    return np.tile(np.isin(np.arange(num_classes), list(classes)), (num_classes, 1))


def rivals_within_tasks(tasks: Tasks) -> Rivals:
    """Return rivals, bool (classes, classes), where each class competes with the classes of its own task."""
    number = np.empty(sum(map(len, tasks)), np.int64)
    for task, classes in enumerate(tasks):
        number[list(classes)] = task
    rivals: Rivals = number[:, None] == number[None, :]
    return rivals


def predict_among_rivals(model: Classifier, x: Images, y: Labels, rivals: Rivals) -> Labels:
    """Return the most likely label of each image among the rivals of its true label ``y``, int64 (n,)."""
    # -inf, so that no logit of a class that does not compete can be the largest.
    labels: Labels = np.where(rivals[y], model.logits(x), -np.inf).argmax(axis=1).astype(np.int64)
    return labels
