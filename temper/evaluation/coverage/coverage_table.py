"""The coverage of models by sets of inputs, for any criteria."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from temper.core.artefacts import Examples, Row
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.display_names import display_name
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.evaluation.cell_evaluation import FittedToModels
from temper.nn.adequacy.coverage import Coverage, Criterion
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import ActivationReadout
from temper.nn.shared_stages.training_profile import CriterionProfile


@dataclass(frozen=True, kw_only=True)
class CoverageTable(FittedToModels):
    """The coverage of each model by each set of examples, for test adequacy criteria.

    With ``base``, the joint coverage of its images and the examples, and in ``added`` the part contributed by the
    examples. A note states how many items are covered, of how many, and what a criterion excluded. High coverage means
    that inputs differ from each other and from the training images, not that they are good tests: compare with a set of
    noise.

    Source: Pei, Cao, Yang and Jana (2017), DeepXplore; the tables of Gerasimou, Eniser, Sen and Cakan (2020),
    Importance-Driven Deep Learning System Testing.
    """

    tag = "coverage"
    metrics = ("coverage", "added")
    framework = False
    rows = ("model", "group")
    columns = ("examples",)
    figure = "bars"

    models: Annotated[tuple[Ref[Classifier], ...], "the models, in separate rows"]
    examples: Annotated[tuple[Ref[Examples], ...], "the sets of examples, one column each"]
    criteria: Annotated[tuple[Criterion, ...], "the criteria, one row each for every model"]
    base: Annotated[Ref[Examples] | None, "images that are already covered; default: none"] = None

    def check(self) -> Iterator[tuple[str, str]]:
        names = [display_name(criterion) for criterion in self.criteria]
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            yield "criteria", f"'{name}' occurs twice; give each different parameters, or remove one"

    def preparations(self) -> Mapping[str, Preparation]:
        (model,), (examples,) = self.models, self.examples
        sets = {"seen": examples} | ({"base": self.base} if self.base else {})
        assert self.data is not None
        positions = any(criterion.positions for criterion in self.criteria)
        seen = {name: ActivationReadout(model=model, examples=ref, positions=positions) for name, ref in sets.items()}
        return seen | {
            display_name(criterion): CriterionProfile(model=model, data=self.data, criterion=criterion)
            for criterion in self.criteria
            if criterion.learns
        }

    def measure(self, run: Run) -> Iterable[Row]:
        seen: Activations = run.prepared("seen")
        for done, criterion in enumerate(self.criteria, 1):
            name = display_name(criterion)
            profile = run.prepared(name).arrays if criterion.learns else {}
            coverage = criterion.coverage(profile, seen)
            if self.base:
                coverage.update(run.prepared("base"))
            before = coverage.value
            coverage.update(seen)
            about: dict[str, Any] = {**self.about(), "group": name, "unit": "proportion", "higher_is_better": None}
            yield Row(metric="coverage", value=coverage.value, n=len(seen), note=_note(coverage), **about)
            if self.base:
                yield Row(metric="added", value=coverage.value - before, n=len(seen), **about)
            run.progress(done, len(self.criteria), "criteria")


def _note(coverage: Coverage) -> str:
    return "; ".join((f"{coverage.covered} of {coverage.total}", *coverage.remarks))
