"""The effect of a repair: the failures it fixed, and the correct predictions it broke."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.incremental_classifier import Incremental, Rivals, predict_among_rivals, rivals_among
from temper.core.artefacts import Examples, Row
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.core.significance_tests import mcnemar
from temper.evaluation.cell_evaluation import CellEvaluation

Right = NDArray[np.bool_]
"""The images that a model classifies correctly, bool (n,)."""


@dataclass(frozen=True, kw_only=True)
class RepairEffect(CellEvaluation):
    """Accuracy before and after a repair, the failures it fixed and the correct predictions it broke.

    With b_i and a_i, whether the model is right on image i before and after: change = mean a_i - mean b_i; repair_rate
    = the share of a_i among the images with not b_i; regression_rate = the share of not a_i among those with b_i;
    without such images the number is omitted, and for an empty set the others are nan. p_mcnemar is the two-sided p of
    McNemar's exact test that a repair fixes as many as it breaks, which assumes independent images. ``union_before``
    and ``union_after`` are over the clean test set and the set together. If a repaired model is given the task of each
    image, so is the model before.

    Source: GenerativeRepair, whose "infected" set is the union; the regressions of Yan et al. (2021), Positive-Congruent
    Training: Towards Regression-Free Model Updates; McNemar (1947), Note on the sampling error of the difference between
    correlated proportions or percentages.
    """

    tag = "repair_effect"
    cells = (("repaired", "model"), ("examples", "examples"))
    metrics = (
        "accuracy_after",
        "accuracy_before",
        "change",
        "repair_rate",
        "regression_rate",
        "p_mcnemar",
        "union_after",
        "union_before",
    )
    rows = ("model", "examples")
    columns = ("metric",)

    model: Annotated[Ref[Classifier], "the model before the repair"]
    repaired: Annotated[tuple[Ref[Classifier], ...], "the models after it"]
    examples: Annotated[
        tuple[Ref[Examples], ...], "the sets to compare on: hold-outs of generators, and the data set itself"
    ]
    data: Annotated[
        Ref[Examples] | None, "the clean images of the union; default: the test part of the model's data set"
    ] = None
    pairing: Annotated[
        Literal["every", "position"],
        "every repaired model on every set; or each on the set at its position in the list, as one line of results",
    ] = "every"

    def check(self) -> Iterator[tuple[str, str]]:
        if self.pairing == "position" and len(self.repaired) != len(self.examples):
            yield (
                "pairing",
                f"position needs as many repaired models as sets, received {len(self.repaired)} and {len(self.examples)}",
            )

    def expand(self) -> Iterator[Self]:
        if self.pairing == "every":
            yield from super().expand()
            return
        for model, ref in zip(self.repaired, self.examples, strict=True):
            yield dataclasses.replace(self, repaired=(model,), examples=(ref,))

    def about(self) -> dict[str, str]:
        columns = super().about()
        return columns if self.pairing == "every" else {"examples": columns["examples"]}

    def measure(self, run: Run) -> Iterable[Row]:
        assert self.data is not None  # the graph fills in the model's data set
        models = run[self.model], run[self.repaired[0]]
        rivals, told = _rivals(models[1])
        before, after = _right(models, run[self.examples[0]], rivals)
        about: dict[str, Any] = {**self.about(), "note": self._note(told)}
        yield _accuracy("accuracy_before", before, about)
        yield _accuracy("accuracy_after", after, about)
        yield Row(
            metric="change",
            value=100.0 * float(after.mean() - before.mean()) if len(after) else float("nan"),
            n=len(after),
            unit="percentage points",
            higher_is_better=True,
            **about,
        )
        yield from _share("repair_rate", after[~before], True, about)
        yield from _share("regression_rate", ~after[before], False, about)
        yield _mcnemar(before, after, about)
        if self.data != self.examples[0]:
            clean_before, clean_after = _right(models, run[self.data], rivals)
            yield _accuracy("union_before", np.concatenate([clean_before, before]), about)
            yield _accuracy("union_after", np.concatenate([clean_after, after]), about)

    def _note(self, told: bool) -> str:
        pair = f"{self.model.stage} -> {self.repaired[0].stage}" if self.pairing == "position" else ""
        return "; ".join(filter(None, [pair, "the task of each image is given" if told else ""]))


def _rivals(repaired: Classifier) -> tuple[Rivals, bool]:
    """Return which classes compete, and whether this is because the task is given."""
    if isinstance(repaired, Incremental) and repaired.task_given:
        return repaired.rivals(), True
    return rivals_among(range(repaired.num_classes), repaired.num_classes), False


def _right(models: tuple[Classifier, ...], examples: Examples, rivals: Rivals) -> list[Right]:
    return [predict_among_rivals(model, examples.x, examples.y, rivals) == examples.y for model in models]


def _accuracy(metric: str, right: Right, about: dict[str, Any]) -> Row:
    return Row.proportion(metric, int(right.sum()), len(right), higher_is_better=True, **about)


def _mcnemar(before: Right, after: Right, about: dict[str, Any]) -> Row:
    fixed, broken = int((after & ~before).sum()), int((before & ~after).sum())
    note = "; ".join(filter(None, [about["note"], f"{fixed} fixed, {broken} broken"]))
    p, about = mcnemar(fixed, broken) if len(before) else float("nan"), {**about, "note": note}
    return Row(metric="p_mcnemar", value=p, n=len(before), unit="probability", higher_is_better=None, **about)


def _share(metric: str, hits: Right, better: bool, about: dict[str, Any]) -> Iterator[Row]:
    if len(hits):
        yield Row.proportion(metric, int(hits.sum()), len(hits), higher_is_better=better, **about)
