"""The base of class- and task-incremental repairs, which learn classes in sequential groups."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from temper.artefacts.incremental_classifier import Incremental, Rivals, Tasks, flat_weights
from temper.core.artefacts import Examples
from temper.core.component import Range, Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.nn.training import training
from temper.nn.training.training import LearningRate
from temper.repair.continual.continual_repair import ContinualRepair, corner_cases
from temper.repair.continual.learner import Learner
from temper.repair.continual.replay import LabelledImages
from temper.repair.continual.trainable_layers import (
    freeze,
    head_of,
    layers_with_weights,
    reinitialise,
    restored_trainability,
)


@dataclass(frozen=True, kw_only=True)
class StepwiseRepair(ContinualRepair):
    """A repair that learns the classes group by group, from a new head on the model's trunk."""

    produces: ClassVar[type[Incremental]] = Incremental
    task_given: ClassVar[bool]
    """Whether an image comes with its task, so that only its classes compete."""

    examples: Annotated[
        tuple[Ref[Examples], ...],
        "corner cases, learnt with their class: generators, of which the validation part is used; may be empty",
    ] = ()
    tasks: Annotated[
        int, "number of groups of classes, as equal as possible, in ascending order of the classes", Range(ge=1)
    ] = 5
    schedule: Annotated[
        Literal["sequential", "joint"], "the groups in sequence, or all at once, which is the upper bound"
    ] = "sequential"
    start: Annotated[
        Literal["continued", "fresh"],
        "weights of the trunk: the model's own, or new initial ones; the head is always new",
    ] = "continued"
    freeze_trunk_after: Annotated[
        int | None,
        "number of steps after which only the head learns, whatever `freeze` is; default: never",
        Range(ge=1),
    ] = None
    learning_rate: LearningRate = 1e-3

    @abstractmethod
    def rivals(self, tasks: Tasks, learnt: int) -> Rivals:
        """Return which classes compete while the last of ``learnt`` tasks are learnt."""

    def produce(self, run: Run) -> Incremental:
        original = run[self.model]
        images, tasks = self._images(run), self._tasks(original.num_classes)
        steps = (len(tasks),) if self.schedule == "joint" else tuple(range(1, len(tasks) + 1))
        model = training.copied(
            original.model, run.framework_seed(), weights=self.start == "continued", remark=run.remark
        )
        reinitialise(head_of(model), run.framework_seed())
        earlier = []
        with restored_trainability(model):
            self.freeze_in(model)
            # One learner for all steps: it holds the memory and the penalty of earlier ones.
            learner = Learner(model, self.settings(self.learning_rate, len(steps)), run)
            for number, learnt in enumerate(steps):
                if number == self.freeze_trunk_after:
                    freeze(layers_with_weights(model)[:-1])
                self._learn(run, learner, images, tasks, steps[number - 1] if number else 0, learnt)
                earlier.append(flat_weights(model))
        before_last = np.array(earlier[:-1], np.float32).reshape(len(steps) - 1, len(earlier[-1]))
        return Incremental(model, tasks, steps, self.task_given, before_last)

    def _learn(self, run: Run, learner: Learner, images: LabelledImages, tasks: Tasks, known: int, learnt: int) -> None:
        for task in tasks[known:learnt]:
            if not np.isin(images.y, task).any():
                assert self.data is not None  # the graph fills in the data set of the model
                names = ", ".join(run.class_label(self.data, label).removeprefix("class ") for label in task)
                raise StageError(f"data: none of the {len(images)} images is of the classes {names}, which form a task")
        new = images.of(tuple(label for task in tasks[known:learnt] for label in task))
        rivals = self.rivals(tasks, learnt)
        learner.learn(new, rivals)
        learner.remember(new, rivals)

    def _images(self, run: Run) -> LabelledImages:
        assert self.data is not None  # the graph fills in the model's data set
        data = run[self.data]
        images = LabelledImages(data.x, data.y)
        return images.joined_with(corner_cases(run, self.examples)) if self.examples else images

    def _tasks(self, classes: int) -> Tasks:
        if self.tasks > classes:
            raise StageError(f"tasks: expected at most {classes}, one for each class, received {self.tasks}")
        return tuple(tuple(map(int, group)) for group in np.array_split(np.arange(classes), self.tasks))
