"""Continual repair: a model learns its corner cases without forgetting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from temper.artefacts.incremental_classifier import rivals_among
from temper.artefacts.retrained_classifier import Retrained, TrainedOn
from temper.core.artefacts import Examples
from temper.core.component import Range, Ref
from temper.core.run import Run
from temper.nn.training import training
from temper.repair.continual.continual_repair import ContinualRepair, corner_cases
from temper.repair.continual.learner import Learner
from temper.repair.continual.replay import LabelledImages
from temper.repair.continual.trainable_layers import restored_trainability


@dataclass(frozen=True, kw_only=True)
class Continual(ContinualRepair):
    """Learning corner cases of the known classes, along with replayed images of the original training data.

    L = the mean over a batch, half of it corner cases and half replayed images, of the cross-entropy, plus the term of
    ``regulariser``. The hold-out is the test part of the same generators, whose seeds are other images.

    Source: GenerativeRepair's CL; van de Ven, Tuytelaars and Tolias (2022), Three types of incremental learning, where
    it is domain-incremental; experience replay: Chaudhry et al. (2019), On Tiny Episodic Memories in Continual
    Learning.
    Differs: GenerativeRepair mixes the corner cases into all training images, at Adam's 1e-3, and trains one model on
    its sets in turn.
    """

    tag = "continual"
    produces = Retrained

    examples: Annotated[tuple[Ref[Examples], ...], "the corner cases: generators, of which the validation part is used"]
    learning_rate: Annotated[
        float, "step size of the optimiser; 1e-3 costs accuracy on the original data", Range(gt=0)
    ] = 1e-4

    def produce(self, run: Run) -> Retrained:
        assert self.data is not None  # the graph fills in the model's data set
        original, cases = run[self.data], corner_cases(run, self.examples)
        model = training.copied(run[self.model].model, run.framework_seed(), weights=True)
        all_rivals = rivals_among(range(model.output_shape[-1]), model.output_shape[-1])
        with restored_trainability(model):
            self.freeze_in(model)
            learner = Learner(model, self.settings(self.learning_rate, 1), run)
            # Before learning: the original data are what must not be forgotten.
            learner.remember(LabelledImages(original.x, original.y), all_rivals)
            learner.learn(cases, all_rivals)
        inputs = len(cases) + len(learner.memory)
        return Retrained(model, TrainedOn(inputs=inputs, adversarial=len(cases), available=len(cases) + len(original)))
