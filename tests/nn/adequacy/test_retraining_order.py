"""The order of clean and adversarial images: ties, unscored images, and training rows passed to the score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Range, Ref
from temper.core.run import Run, prepared
from temper.nn.adequacy.reference_data import Arrays
from temper.nn.adequacy.score import Score
from temper.nn.inspection.activations import SOFTMAX, Activations
from temper.nn.inspection.units import UnitLayer
from temper.nn.shared_stages.retraining_order import RetrainingOrder, RetrainingOrdering
from temper.nn.shared_stages.training_profile import Profile

MODEL, CLEAN, FIRST, SECOND = Ref[Classifier]("m"), Ref[Examples]("d"), Ref[Examples]("f"), Ref[Examples]("s")
NAN = np.nan


@dataclass(frozen=True, kw_only=True)
class Told(Score):
    """Scores by the first logit, minus the training row of the input."""

    tag = "told"

    less: Annotated[float, "what a training image loses", Range()] = 0.0

    def fit(self, reference: Any) -> Arrays:
        raise AssertionError("learnt beforehand")

    def values(self, learnt: Arrays, seen: Activations, own: Any, rng: np.random.Generator) -> Any:
        offset: Any = learnt["offset"]
        return offset + seen.logits[:, 0] - self.less * (own >= 0) * (own + 1)

    def remarks(self, learnt: Arrays) -> Iterator[str]:
        yield f"learnt {len(learnt)}"


def observed(values: list[float]) -> Activations:
    logits = np.array(values, np.float32)[:, None]
    ends = np.zeros((len(values), 2), np.float32)
    layers = (UnitLayer("logits", 1, 1, 1), UnitLayer(SOFTMAX, 1, 1, 1))
    return Activations(layers, ends, ends > 0, ends, ends, ends.astype(np.int32), logits)


def order(clean: list[float], *others: list[float], seed: int = 1, **fields: Any) -> RetrainingOrder:
    refs = (CLEAN, FIRST, SECOND)[: 1 + len(others)]
    ordering = RetrainingOrdering(
        model=MODEL, data=CLEAN, examples=refs[1:], order=Told(**fields.pop("score", {})), **fields
    )
    known: dict[str, Any] = {
        str(prepared(str(ref))): observed(v) for ref, v in zip(refs, (clean, *others), strict=True)
    }
    assert set(ordering.preparations()) == {*map(str, refs), "profile"}
    known[str(prepared("profile"))] = Profile({"offset": np.array([10.0])})
    known[str(CLEAN)] = Examples(
        x=np.zeros((len(clean), 1, 1, 1), np.float32), y=np.zeros(len(clean), np.int64), index=np.arange(len(clean))
    )
    stage = ordering.stream("any")
    return ordering.produce(Run(stage, seed, None, lambda ref: known[str(ref)], lambda _: {}, lambda *_: None))


def test_clean_and_adversarial_rows_are_ordered_together() -> None:
    found = order([0.1, 0.9], [0.5, 0.3], [0.7])
    assert found.rows.tolist() == [1, 4, 2, 3, 0]
    assert found.adversarial.tolist() == [4, 2, 3]
    np.testing.assert_allclose(found.scores, [10.1, 10.9, 10.5, 10.3, 10.7], rtol=1e-6)
    assert found.rows.dtype == np.int64
    assert found.scores.dtype == np.float64
    assert found.note == "learnt 1"


def test_the_score_receives_the_training_row_of_clean_images_only() -> None:
    found = order([0.0, 0.0, 0.0], [0.0], score={"less": 1.0})
    assert found.scores.tolist() == [9.0, 8.0, 7.0, 10.0]


def test_images_without_a_score_come_last_and_are_counted() -> None:
    found = order([NAN, 0.2], [0.1, NAN])
    assert found.rows[:2].tolist() == [1, 2]
    assert set(found.rows[2:]) == {0, 3}
    assert found.adversarial.tolist() == [2, 3]
    assert found.note == "2 of 4 inputs have no score; learnt 1"


def test_ties_are_ordered_by_the_seed() -> None:
    same = [0.0] * 20
    orders = [order(same, same, seed=seed) for seed in (1, 1, 2)]
    assert orders[0].rows.tolist() == orders[1].rows.tolist() != orders[2].rows.tolist()
    assert sorted(orders[0].rows) == list(range(40))
    assert orders[0].adversarial.tolist() == [row for row in orders[0].rows if row >= 20]
    assert 2 < (orders[0].rows[:20] >= 20).sum() < 18, "neither kind goes first"


def test_as_published_ties_are_reversed_and_unscored_images_come_first() -> None:
    found = order([0.1, 0.1, NAN], [0.5, 0.1], as_published=True)
    assert found.rows.tolist() == np.argsort([0.1, 0.1, NAN, 0.5, 0.1])[::-1].tolist()
    assert found.rows[0] == 2
    assert found.adversarial.tolist() == [3, 4]


def test_a_stored_artefact_is_restored(tmp_path: Path) -> None:
    written = order([0.1, 0.9], [0.5])
    written.save(tmp_path)
    read = RetrainingOrder.load(tmp_path)
    assert read.rows.tolist() == written.rows.tolist()
    assert read.adversarial.tolist() == written.adversarial.tolist()
    assert read.scores.tolist() == written.scores.tolist()
    assert read.note == written.note
