"""Guided retraining: trains a model on the images of highest score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Annotated, Literal

import numpy as np

from temper.artefacts.retrained_classifier import Retrained, TrainedOn
from temper.core.artefacts import Examples, Images, Labels
from temper.core.classifier import Classifier
from temper.core.component import Range, Ref
from temper.core.families import Repair
from temper.core.run import Run
from temper.core.stage import Preparation, Stage
from temper.nn.adequacy.score import Score
from temper.nn.shared_stages.retraining_order import RetrainingOrder, RetrainingOrdering, Rows
from temper.nn.training import training
from temper.nn.training.training import BatchSize, LearningRate, OptimizerName, TrainingSettings

_ORDER = "order"


@dataclass(frozen=True, kw_only=True)
class GuidedRetraining(Repair):
    """Training on the first images of an order of clean and adversarial training images.

    scratch_all:          C1, from new initial weights, on the first ceil(inputs * (n + m)) of n clean and m adversarial
    images. original_all:         C2, the same from the model's own weights. original_adversarial: C3, from the model's
    own weights, on the first ceil(inputs * m) of the adversarial images.

    Stages draw the same random numbers at the same seed, whatever their order and share, so that initial weights are
    equal and curves differ by training data only; with ``inputs: 1`` every order is the same set, which is trained on
    once.

    Source: Durán, Martínez-Fernández, Felderer and Franch (2023), Guiding the retraining of convolutional neural
    networks against adversarial inputs, whose optimiser and batch size are the defaults, and the epochs of three of its
    five data sets.
    Differs: see ``as_published`` and the switches of the scores.
    """

    tag = "guided_retraining"
    produces = Retrained

    model: Annotated[Ref[Classifier], "the original model, which determines the order"]
    examples: Annotated[
        tuple[Ref[Examples], ...], "the adversarial images: generators, of which the training part is used"
    ]
    data: Annotated[Ref[Examples] | None, "the clean images; default: the training part of the model's data set"] = None
    order: Annotated[Score | None, "score that orders the images, highest first; optional with inputs: 1"] = None
    configuration: Annotated[
        Literal["scratch_all", "original_all", "original_adversarial"],
        "weights to start from, and images to train on: C1, C2 and C3 of the paper",
    ] = "original_all"
    inputs: Annotated[float, "share of the images to train on, the first of the order", Range(gt=0, le=1)] = 1.0
    epochs: Annotated[int, "passes over these images", Range(ge=1)] = 10
    batch_size: BatchSize = 64
    learning_rate: LearningRate = 1e-3
    optimizer: OptimizerName = "rmsprop"
    as_published: Annotated[bool, "ties as in a reversed unstable sort, and images without a score first"] = False

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "epochs": 1}

    def check(self) -> Iterator[tuple[str, str]]:
        if self.order is None and self.inputs < 1:
            yield "order", "set the score that orders the images ({type: dsa}, ...), or use all with inputs: 1"
        if not self.examples:
            yield "examples", "expected at least one set of adversarial images"

    def stream(self, stage: str) -> str:
        # One random stream for all stages of this type, so that curves differ by training data only.
        return self.tag

    def equivalent(self) -> Stage:
        # With all images no order matters, so all such stages share one training.
        return replace(self, order=None, as_published=False) if self.inputs == 1 else self

    def preparations(self) -> Mapping[str, Preparation]:
        return {} if self.order is None else {_ORDER: RetrainingOrdering.of(self, as_published=self.as_published)}

    def produce(self, run: Run) -> Retrained:
        assert self.data is not None  # the graph fills in the model's data set
        sets = [run[self.data], *(run[ref] for ref in self.examples)]
        clean, total = len(sets[0]), sum(map(len, sets))
        # Rows count through the clean images first.
        rows, note = np.arange(clean if self._adversarial_only else 0, total), ""
        available = len(rows)
        if self.order is not None:
            order: RetrainingOrder = run.prepared(_ORDER)
            first = (order.adversarial if self._adversarial_only else order.rows)[: self._count(available)]
            # The training data form a set: their order no longer matters.
            rows, note = np.sort(first), order.note
        x, y = _taken(sets, rows)
        seed = run.framework_seed()
        model = training.copied(
            run[self.model].model, seed, weights=self.configuration != "scratch_all", remark=run.remark
        )
        training.fit(
            model,
            x,
            y,
            TrainingSettings.of(self),
            seed=seed,
            progress=run.progress,
            checkpoint=run.checkpoint,
        )
        run.images += self.epochs * len(rows)
        adversarial = int((rows >= clean).sum())
        return Retrained(model, TrainedOn(inputs=len(rows), adversarial=adversarial, available=available, note=note))

    @property
    def _adversarial_only(self) -> bool:
        return self.configuration == "original_adversarial"

    def _count(self, available: int) -> int:
        # Floating-point: 0.55 * 20 is slightly above 11.
        return ceil(round(self.inputs * available, 6))


def _taken(sets: Sequence[Examples], rows: Rows) -> tuple[Images, Labels]:
    """Return the images (k, h, w, c) and labels (k,) of ascending rows, counted through all sets."""
    ends = np.cumsum([len(examples) for examples in sets])
    parts = np.split(rows, np.searchsorted(rows, ends[:-1]))
    places = [part - (end - len(examples)) for examples, part, end in zip(sets, parts, ends, strict=True)]
    pairs = list(zip(sets, places, strict=True))
    return np.concatenate([e.x[at] for e, at in pairs]), np.concatenate([e.y[at] for e, at in pairs])
