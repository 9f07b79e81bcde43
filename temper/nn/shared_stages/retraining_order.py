"""The order in which a score selects clean and adversarial images for labelling or retraining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Artefact, Examples, read_json, write_json
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.nn.adequacy.score import NOT_FITTED_ON, Score, Scores, descending
from temper.nn.inspection.activations import joined
from temper.nn.shared_stages.activation_readout import ActivationReadout
from temper.nn.shared_stages.training_profile import ScoreProfile

Rows = NDArray[np.int64]
_ARRAYS = ("scores", "rows", "adversarial")


@dataclass(frozen=True, eq=False)
class RetrainingOrder(Artefact):
    """The order of n clean images followed by m adversarial ones, numbered as rows 0 to n + m - 1.

    Attributes:
        scores: float64 (n + m,), higher first; nan where an image cannot be scored.
        rows: int64 (n + m,), all rows, in order.
        adversarial: int64 (m,), the adversarial rows alone, in order.
        info: ``unscored``, the number of images without a score, and ``remarks`` of the score on its fit.

    Source: Durán et al. (2023), Guiding the retraining of convolutional neural networks against adversarial inputs.
    """

    kind: ClassVar[str] = "order"

    scores: Scores
    rows: Rows
    adversarial: Rows
    info: Mapping[str, Any]

    @property
    def note(self) -> str:
        """Notes on the order for the reader; empty if there are none."""
        unscored = self.info["unjudged"]
        missing = [f"{unscored} of {len(self.scores)} inputs have no score"] if unscored else []
        return "; ".join([*missing, *self.info["remarks"]])

    def save(self, folder: Path) -> None:
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        write_json(folder / "info.json", self.info)

    @classmethod
    def load(cls, folder: Path) -> Self:
        scores, rows, adversarial = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS)
        return cls(scores, rows, adversarial, read_json(folder / "info.json"))


@dataclass(frozen=True, kw_only=True)
class RetrainingOrdering(Preparation):
    """The order of clean training images and adversarial ones, by a score.

    Stages with equal fields share it, seed by seed: shares and configurations differ in what they take from it.

    Source: Durán, Martínez-Fernández, Felderer and Franch (2023), Guiding the retraining of convolutional neural
    networks against adversarial inputs. Differs: ties are in random order, and images without a score last;
    as_published: ties as in a reversed unstable sort, and images without a score first.
    """

    tag = "ordering"
    produces = RetrainingOrder

    model: Annotated[Ref[Classifier], "the model that the score is computed with"]
    data: Annotated[Ref[Examples], "the clean images, on which the score is fitted"]
    examples: Annotated[tuple[Ref[Examples], ...], "the adversarial images"]
    order: Score
    as_published: Annotated[bool, "ties as in a reversed unstable sort, images without a score first"] = False

    def stream(self, stage: str) -> str:
        return self.tag

    def preparations(self) -> Mapping[str, Preparation]:
        sets = dict.fromkeys((self.data, *self.examples))
        found: dict[str, Preparation] = {str(ref): ActivationReadout(model=self.model, examples=ref) for ref in sets}
        if self.order.learns:
            found["profile"] = ScoreProfile(model=self.model, data=self.data, score=self.order)
        return found

    def produce(self, run: Run) -> RetrainingOrder:
        seen = joined(run.prepared(str(ref)) for ref in (self.data, *self.examples))
        clean = len(run[self.data])
        own = np.full(len(seen), NOT_FITTED_ON)
        own[:clean] = np.arange(clean)
        learnt = run.prepared("profile").arrays if self.order.learns else {}
        scores = np.asarray(self.order.values(learnt, seen, own, run.rng("scores")), np.float64)
        run.images += len(seen)
        if self.as_published:
            rows, adversarial = _reversed(scores), clean + _reversed(scores[clean:])
        else:
            rows = descending(scores, run.rng("ties"))
            adversarial = rows[rows >= clean]
        info = {"unjudged": int(np.isnan(scores).sum()), "remarks": list(self.order.remarks(learnt))}
        return RetrainingOrder(scores, rows, adversarial, info)


def _reversed(scores: Scores) -> Rows:
    # NumPy sorts nan last, so the reversed order has images without a score first.
    rows: Rows = np.argsort(scores)[::-1].astype(np.int64)
    return rows
