"""Apricot: moves a model's weights towards those of reduced models that are right where it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.retrained_classifier import Retrained, TrainedOn
from temper.core.artefacts import Examples
from temper.core.checkpoint import Checkpoint
from temper.core.classifier import Classifier
from temper.core.component import Part, Range, Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.nn.training import training
from temper.nn.training.training_state import assign, values
from temper.repair.further_training import FurtherTraining
from temper.repair.reduced_models import ReducedModels, ReducedModelSettings, ReducedTraining, Weights, correct_answers

_REDUCED = "reduced"


@dataclass(frozen=True, kw_only=True)
class Apricot(ReducedModelSettings, FurtherTraining):
    """Model fixing by weight adaptation.

    For every training image x that the model w gets wrong, with c of R reduced models right on it and i = R - c wrong,

        w <- w - step * [c / R * (w - mean of the right ones) - i / R * (w - mean of the wrong ones)],

    summed over a batch of such images. A batch's change is kept if held-out accuracy does not drop. After each round
    through them the model is trained for ``epochs``, kept on the same condition.

    Source: Zhang and Chan (2019), Apricot: A Weight-Adaptation Approach to Fixing Deep Learning Models; You, Wang,
    Chen, Liu and Li (2023), Regression Fuzzing for Deep Learning Systems, scenario FIXING. The latter does not state
    the number of reduced models, their training data, rounds and batches: the defaults are Temper's own. Differs: the
    statistics of normalisation are not adapted, only trained.
    """

    tag = "apricot"
    produces = Retrained

    holdout: Annotated[
        Ref[Examples] | None, "images that decide which changes are kept; default: the validation part of the data set"
    ] = None
    step: Annotated[float, "step size of the adaptation", Range(gt=0, lt=1)] = 1e-3
    failures: Annotated[int, "number of failing images whose changes are tried together", Range(ge=1)] = 20
    rounds: Annotated[int, "rounds through the failing images, each followed by training", Range(ge=1)] = 3
    patience: Annotated[int, "number of consecutive batches without a gain after which a round ends", Range(ge=1)] = 100
    epochs: Annotated[int, "passes over the images after each round; 0: adaptation only", Range(ge=0)] = 2

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "validation" if field_name == "holdout" else "train"

    def references(self) -> Iterator[Ref[Any]]:
        yield self.model
        if self.data is not None:
            yield self.data
            yield self._held_out

    def check(self) -> Iterator[tuple[str, str]]:
        for name in ("data", "holdout"):
            ref = getattr(self, name)
            if ref is not None and ref.part == "test":
                yield (
                    name,
                    "a model that was repaired with the test images cannot be evaluated on them; use another part",
                )

    def preparations(self) -> Mapping[str, Preparation]:
        return {_REDUCED: ReducedTraining.of(self)}

    def produce(self, run: Run) -> Retrained:
        assert self.data is not None  # the graph fills in the model's data set
        images, held_out = run[self.data], run[self._held_out]
        if not len(held_out):
            raise StageError(
                f"holdout: {self._held_out} has no image; give the data set a validation part (validation: 0.1), or "
                "set "
                "images that decide which changes are kept"
            )
        reduced: ReducedModels = run.prepared(_REDUCED)
        repaired = ModelUnderRepair(
            training.copied(run[self.model].model, run.framework_seed(), weights=True), held_out
        )
        for number in range(repaired.resume(run.checkpoint), self.rounds):
            self._adapt(repaired, reduced, images, run.rng(f"round {number}"))
            if self.epochs:
                # An interrupted round is repeated: its training may still be reverted.
                repaired.attempt(partial(self.train_further, images=images, run=run, checkpoint=Checkpoint()))
            repaired.save(run.checkpoint, number + 1)
        return Retrained(repaired.model, TrainedOn(inputs=len(images), adversarial=0, available=len(images)))

    @property
    def _held_out(self) -> Ref[Examples]:
        assert self.data is not None
        return self.holdout or replace(self.data, part="validation")

    def _adapt(
        self, repaired: ModelUnderRepair, reduced: ReducedModels, images: Examples, rng: np.random.Generator
    ) -> None:
        wrong = np.flatnonzero(Classifier(repaired.model).predict(images.x) != images.y)
        if not len(wrong):
            return
        wrong = rng.permutation(wrong)
        right = correct_answers(repaired.model, reduced, images.take(wrong))
        without_gain = 0
        for start in range(0, len(wrong), self.failures):
            batch = right[:, start : start + self.failures]
            gained = repaired.attempt(partial(adapt, reduced=reduced.weights, right=batch, step=self.step))
            without_gain = 0 if gained else without_gain + 1
            if without_gain == self.patience:
                return


class ModelUnderRepair:
    """A Keras model under repair, in which no change may decrease held-out accuracy.

    Attributes:
        model: the model, with the kept changes.
        accuracy: its accuracy on the held-out images.
    """

    def __init__(self, model: Any, held_out: Examples) -> None:
        self.model, self._held_out = model, held_out
        self.accuracy = self._measured()

    def attempt(self, change: Callable[[Any], None]) -> bool:
        """Change the model in place and revert the change if accuracy drops; return whether it rose."""
        # All weights, statistics of normalisation included, which further training changes too.
        before = self.model.get_weights()
        change(self.model)
        accuracy = self._measured()
        gained = accuracy > self.accuracy
        if accuracy < self.accuracy:
            self.model.set_weights(before)
        else:
            self.accuracy = accuracy
        return gained

    def save(self, checkpoint: Checkpoint, rounds: int) -> None:
        """Save the current model after some rounds, when due."""
        if checkpoint.due:
            checkpoint.save(values(self.model.variables), {"rounds": rounds})

    def resume(self, checkpoint: Checkpoint) -> int:
        """Restore the last saved model; return the number of completed rounds."""
        if (saved := checkpoint.load()) is None:
            return 0
        assign(self.model.variables, saved[0])
        self.accuracy = self._measured()
        return int(saved[1]["rounds"])

    def _measured(self) -> float:
        return float(np.mean(Classifier(self.model).predict(self._held_out.x) == self._held_out.y))


def adapt(model: Any, reduced: Weights, right: NDArray[np.bool_], step: float) -> None:
    """Adapt a model's trainable weights in place, as in ``Apricot``, for a batch of images it gets wrong.

    ``reduced`` has the weights of the reduced models, (models, weights), ``right`` which of them is right on which
    image, (models, images). With s = 1 for right and -1 for wrong, the change is -step / R * sum over models and images
    of s * (w - w_r).
    """
    signs = np.where(right, 1.0, -1.0).sum(axis=1)
    weights = model.trainable_weights
    ends = np.cumsum([int(np.prod(variable.shape)) for variable in weights])
    for variable, start, end in zip(weights, (0, *ends[:-1]), ends, strict=True):
        # Double precision: the change is a small difference of large sums.
        own = np.asarray(variable).ravel().astype(np.float64)
        change = signs.sum() * own - signs @ np.asarray(reduced[:, start:end], np.float64)
        variable.assign((own - step / len(reduced) * change).reshape(variable.shape))
