"""Class-incremental repair: a model learns its classes group by group, and is evaluated on all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from temper.artefacts.incremental_classifier import Rivals, Tasks, rivals_among
from temper.repair.continual.class_groups import StepwiseRepair
from temper.repair.continual.regularisers import LwF, Regulariser


@dataclass(frozen=True, kw_only=True)
class ClassIncremental(StepwiseRepair):
    """Learning classes group by group, each discriminated from all classes seen so far.

    Step t learns the images of group t along with remembered ones of groups 1 .. t-1, by cross-entropy over the classes
    seen. The head has a column for every class from the start; unseen ones are excluded, as if it were widened at each
    step. Without replay all predictions fall into the last group: expect an accuracy of 1 / tasks.

    Source: GenerativeRepair's CLClass; van de Ven, Tuytelaars and Tolias (2022), Three types of incremental learning:
    class-incremental; distillation on the old logits as in Li and Hoiem (2017), Learning without Forgetting.
    """

    tag = "class_incremental"
    task_given = False

    regulariser: Annotated[Regulariser | None, "further protection against forgetting: ewc, lwf; null: none"] = field(
        default_factory=LwF
    )

    def rivals(self, tasks: Tasks, learnt: int) -> Rivals:
        seen = [label for task in tasks[:learnt] for label in task]
        return rivals_among(seen, sum(map(len, tasks)))
