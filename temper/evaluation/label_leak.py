"""Whether a model infers the class from the perturbation instead of the image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from temper.artefacts.class_generators import ClassExamples, ClassGenerators
from temper.core.artefacts import Row
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.cell_evaluation import CellEvaluation


@dataclass(frozen=True, kw_only=True)
class LabelLeak(CellEvaluation):
    """Predictions of models for images perturbed by the network of a wrong class.

    If one network per class perturbs the images, selected by the true class, the perturbation reveals the class. Here
    each image passes through the network of a randomly chosen wrong class. ``accuracy`` is the share of images for
    which the model still predicts the true class, ``says_generator`` the share for which it predicts the network's
    class, and ``own_accuracy`` the accuracy where each image passed through the network of its own class. A model that
    is robust to perturbations keeps its accuracy whatever their origin; one that reads them predicts the network's
    class.

    Source: the networks are DeepCustom's; the measurement is Temper's own.
    """

    tag = "label_leak"
    metrics = ("says_generator", "accuracy", "own_accuracy")
    rows = ("model", "examples")
    columns = ("metric",)
    reads_originals = True

    models: Annotated[tuple[Ref[Classifier], ...], "the models to evaluate"]
    examples: Annotated[tuple[Ref[ClassExamples], ...], "generators that have a network for each class"]

    @property
    def stochastic(self) -> bool:
        return True

    def references(self) -> Iterator[Ref[Any]]:
        yield from super().references()
        for ref in self.examples:
            yield dataclasses.replace(ref, prepared="networks")

    def measure(self, run: Run) -> Iterable[Row]:
        (model,), (ref,) = self.models, self.examples
        networks: ClassGenerators = run[dataclasses.replace(ref, prepared="networks")]  # type: ignore[assignment]
        clean, classifier = run[self.originals[0]], run[model]
        x, y = np.asarray(clean.x), clean.y
        n, classes = len(y), classifier.num_classes
        wrong = (y + run.rng().integers(1, classes, size=n)) % classes
        said = classifier.predict(networks.perturb(x, wrong))
        own = classifier.predict(networks.perturb(x, y))
        about: dict[str, Any] = {**self.about(), "note": "each image perturbed by the network of a wrong class"}
        yield Row.proportion("says_generator", int((said == wrong).sum()), n, higher_is_better=False, **about)
        yield Row.proportion("accuracy", int((said == y).sum()), n, higher_is_better=True, **about)
        yield Row.proportion("own_accuracy", int((own == y).sum()), n, higher_is_better=True, **self.about())
