"""How well a model that learnt its classes task by task retains them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from temper.artefacts.incremental_classifier import Incremental, predict_among_rivals
from temper.core.artefacts import Examples, Row
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.evaluation.cell_evaluation import CellEvaluation

Counts = dict[int, dict[int, tuple[int, int]]]
"""By step and by task learnt so far: the number of correct images, and the total."""


@dataclass(frozen=True, kw_only=True)
class IncrementalLearning(CellEvaluation):
    """The accuracy of a model on each task after each step, and its change by later learning.

    R[t, j] is the accuracy after step t of T on the images of task j <= t, discriminated from the classes learnt, or
    from those of the task if it is given; ``task_accuracy`` has it, the step as ``group`` and the task as ``examples``.
    final_average = mean_j R[T, j]; forgetting = mean over j < T of max_t R[t, j] - R[T, j]; backward_transfer = mean
    over j < T of R[T, j] - R[j, j]. A model that learnt all tasks at once has only a final average.

    Source: Lopez-Paz and Ranzato (2017), Gradient Episodic Memory for Continual Learning, section 2; Chaudhry et al. (2018), Riemannian
    Walk for Incremental Learning, section 3.
    Differs: the maximum in forgetting includes the last step, so that it is never negative.
    """

    tag = "incremental_learning"
    cells = (("models", "model"),)
    metrics = ("final_average", "forgetting", "backward_transfer", "task_accuracy")
    rows = ("model",)
    columns = ("metric",)

    models: Annotated[tuple[Ref[Incremental], ...], "the models, one row each"]
    data: Annotated[
        Ref[Examples] | None, "the images to evaluate on; default: the test part of the first one's data set"
    ] = None

    def measure(self, run: Run) -> Iterable[Row]:
        assert self.data is not None  # the graph fills in the model's data set
        model = run[self.models[0]]
        about: dict[str, Any] = self.about()
        counts = self._counts(model, run[self.data])
        names = [run.class_label(self.data, label).removeprefix("class ") for label in range(model.num_classes)]
        last = len(model.steps) - 1
        final = counts[last]
        yield Row(
            metric="final_average",
            value=_mean(hits / n for hits, n in final.values()),
            n=sum(n for _, n in final.values()),
            unit="proportion",
            higher_is_better=True,
            **about,
        )
        if last:
            yield from _changes(counts, last, about)
        for step, row in counts.items():
            for task, (hits, n) in row.items():
                yield Row.proportion(
                    "task_accuracy",
                    hits,
                    n,
                    higher_is_better=True,
                    group=f"after step {step + 1}",
                    examples=f"classes {', '.join(names[label] for label in model.tasks[task])}",
                    **about,
                )

    def _counts(self, model: Incremental, images: Examples) -> Counts:
        """Return the correct counts of each task after each step; a task without images is excluded."""
        counts: Counts = {}
        for step, learnt in enumerate(model.steps):
            right = predict_among_rivals(model.after(step), images.x, images.y, model.rivals(step)) == images.y
            among = [right[np.isin(images.y, task)] for task in model.tasks[:learnt]]
            counts[step] = {task: (int(part.sum()), len(part)) for task, part in enumerate(among) if len(part)}
        if not counts[len(model.steps) - 1]:
            raise StageError(f"data: {self.data} has no image of any task; set one that has")
        return counts


def _changes(counts: Counts, last: int, about: dict[str, str]) -> Iterator[Row]:
    """Yield forgetting and backward transfer of the tasks before the last; task j is learnt in step j."""
    shares = {(step, task): hits / n for step, row in counts.items() for task, (hits, n) in row.items()}
    earlier = [task for task in counts[last] if task < last]
    if not earlier:
        return
    n = sum(counts[last][task][1] for task in earlier)
    best = {task: max(share for (_, of), share in shares.items() if of == task) for task in earlier}
    columns: dict[str, Any] = {"n": n, "unit": "percentage points", **about}
    lost = _mean(best[task] - shares[last, task] for task in earlier)
    gained = _mean(shares[last, task] - shares[task, task] for task in earlier)
    # A difference of proportions is not a proportion: it may be negative.
    yield Row(metric="forgetting", value=100.0 * lost, higher_is_better=False, **columns)
    yield Row(metric="backward_transfer", value=100.0 * gained, higher_is_better=True, **columns)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
