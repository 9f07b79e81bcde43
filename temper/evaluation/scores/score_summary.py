"""Summaries of scores on sets of inputs, and how well they separate perturbed from clean inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Self

import numpy as np

from temper.core.artefacts import Examples, Row
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.display_names import display_name
from temper.core.run import Run
from temper.core.significance_tests import vargha_delaney
from temper.core.stage import Preparation
from temper.evaluation.cell_evaluation import FittedToModels
from temper.nn.adequacy.score import Score
from temper.nn.adequacy.score_order import InputScores
from temper.nn.shared_stages.input_scores import InputScoring


@dataclass(frozen=True, kw_only=True)
class ScoreSummary(FittedToModels):
    """The mean and the median of scores on each set of inputs, and how well they separate it from clean ones.

    ``auc_roc`` is the probability that an input of the set scores higher than a clean one, ties counted half: 0.5 is
    chance, and below it the clean ones score higher. ``judged`` is the share of inputs that have a score; all other
    figures are over these. The scores of each input are stored, and plotted in the report.

    Source: Kim, Feldt and Yoo (2019), Guiding Deep Learning System Testing Using Surprise Adequacy, research questions 1 and 2;
    Hanley and McNeil (1982), The Meaning and Use of the Area under a Receiver Operating Characteristic (ROC) Curve.
    """

    tag = "scores"
    metrics = ("mean", "median", "auc_roc", "judged")
    framework = False
    rows = ("model", "examples", "group")
    columns = ("metric",)

    models: Annotated[tuple[Ref[Classifier], ...], "the models to inspect"]
    examples: Annotated[tuple[Ref[Examples], ...], "data sets and generators whose images are scored"]
    scores: Annotated[tuple[Score, ...], "the scores, in the group column"]
    clean: Annotated[Ref[Examples] | None, "the clean images that each set is compared with; default: no auc_roc"] = (
        None
    )

    @property
    def stochastic(self) -> bool:
        return any(score.stochastic for score in self.scores)

    def expand(self) -> Iterator[Self]:
        for cell in super().expand():
            for score in self.scores:
                yield dataclasses.replace(cell, scores=(score,))

    def preparations(self) -> Mapping[str, Preparation]:
        sets = {"scored": self.examples[0]} | ({"clean": self.clean} if self.clean else {})
        assert self.data is not None
        (model,), (score,), data = self.models, self.scores, self.data
        return {name: InputScoring(model=model, data=data, examples=ref, score=score) for name, ref in sets.items()}

    def measure(self, run: Run) -> Iterable[Row]:
        scored: InputScores = run.prepared("scored")
        found = scored.values[~np.isnan(scored.values)]
        about: dict[str, Any] = {**self.about(), "group": display_name(self.scores[0]), "higher_is_better": None}
        if len(found):
            row = partial(Row, n=len(found), note="; ".join(scored.remarks), **about)
            yield row(metric="mean", value=float(found.mean()), unit="score")
            yield row(metric="median", value=float(np.median(found)), unit="score")
            if self.clean and self.clean != self.examples[0]:
                clean: InputScores = run.prepared("clean")
                against = clean.values[~np.isnan(clean.values)]
                if len(against):
                    note = "; ".join(
                        dict.fromkeys((f"{len(found)} against {len(against)}", *scored.remarks, *clean.remarks))
                    )
                    area = vargha_delaney(found, against)
                    yield Row(
                        metric="auc_roc",
                        value=area,
                        n=len(found) + len(against),
                        unit="probability",
                        note=note,
                        **about,
                    )
        yield Row.proportion("judged", len(found), len(scored.values), **about)
