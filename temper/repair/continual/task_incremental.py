"""Task-incremental repair: a model learns groups of classes one by one, and each image comes with its group."""

from __future__ import annotations

from dataclasses import dataclass

from temper.artefacts.incremental_classifier import Rivals, Tasks, rivals_within_tasks
from temper.repair.continual.class_groups import StepwiseRepair


@dataclass(frozen=True, kw_only=True)
class TaskIncremental(StepwiseRepair):
    """Learning groups of classes one by one on a shared trunk, each with its own head.

    The heads are columns of one layer: the softmax, in training and where the task is given, is over the classes of one
    task. With ``freeze_trunk_after: 1`` later tasks change nothing that earlier ones depend on, so nothing is
    forgotten. Evaluations without the task use the largest of all logits.

    Source: GenerativeRepair's CLTask; van de Ven, Tuytelaars and Tolias (2022), Three types of incremental learning:
    task-incremental.
    """

    tag = "task_incremental"
    task_given = True

    def rivals(self, tasks: Tasks, learnt: int) -> Rivals:
        return rivals_within_tasks(tasks)
