"""Fits coverage criteria and scores on a model's training images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np

from temper.core.artefacts import Artefact, Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.nn.adequacy.coverage import Criterion
from temper.nn.adequacy.reference_data import Arrays, ReferenceData
from temper.nn.adequacy.score import Score
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import ActivationReadout


@dataclass(frozen=True, eq=False)
class Profile(Artefact):
    """The arrays that a criterion or a score was fitted to, by name."""

    kind: ClassVar[str] = "profile"

    arrays: Arrays

    def save(self, folder: Path) -> None:
        for name, array in self.arrays.items():
            np.save(folder / f"{name}.npy", array)

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls({path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))})


@dataclass(frozen=True, kw_only=True)
class _Learning(Preparation):
    """Fits a criterion or a score on training images."""

    produces = Profile

    model: Annotated[Ref[Classifier], "the model to inspect"]
    data: Annotated[Ref[Examples], "the training images"]

    @property
    def stochastic(self) -> bool:
        return False

    def preparations(self) -> Mapping[str, Preparation]:
        # The training images first, then sets that a criterion refers to, each once.
        sets = dict.fromkeys((self.data, *(ref for ref in self.references() if ref not in (self.model, self.data))))
        return {str(ref): ActivationReadout(model=self.model, examples=ref, positions=self.positions) for ref in sets}

    def produce(self, run: Run) -> Profile:
        def observed(ref: Ref[Examples]) -> Activations:
            found: Activations = run.prepared(str(ref))
            return found

        reference = ReferenceData(run[self.model], run[self.data], observed(self.data), observed)
        run.images += len(reference.examples)
        return Profile(self.learnt(reference))

    @property
    def positions(self) -> bool:
        """Whether it needs every position of feature maps."""
        return False

    @abstractmethod
    def learnt(self, reference: ReferenceData) -> Arrays:
        """Return the fitted arrays, by name."""


@dataclass(frozen=True, kw_only=True)
class CriterionProfile(_Learning):
    """The fit of a coverage criterion on training images.

    Source: the criterion's.
    """

    tag = "criterion_profile"

    criterion: Criterion

    @property
    def positions(self) -> bool:
        return self.criterion.positions

    def learnt(self, reference: ReferenceData) -> Arrays:
        return self.criterion.profile(reference)


@dataclass(frozen=True, kw_only=True)
class ScoreProfile(_Learning):
    """The fit of a score on training images.

    Source: the score's.
    """

    tag = "score_profile"

    score: Score

    def learnt(self, reference: ReferenceData) -> Arrays:
        return self.score.fit(reference)
