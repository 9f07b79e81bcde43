"""A point of a retraining curve: the accuracy of a model and its number of training inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from temper.artefacts.retrained_classifier import Retrained, TrainedOn
from temper.core.artefacts import Examples, Row
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.cell_evaluation import CellEvaluation

UNION = "union"


@dataclass(frozen=True, kw_only=True)
class RetrainingAccuracy(CellEvaluation):
    """Accuracy of models on each set of examples and on their union, and the size of each model's retraining data.

    accuracy(m, E) = |{i : argmax m(x_i) = y_i}| / n; in ``union`` every image of every set counts once, so that a set
    counts by its size, and twice if listed twice. The images are those generated on the generators' own models. For a
    model retrained on selected inputs, ``inputs`` is their number and ``adversarial_inputs`` the adversarial share.

    Source: Durán, Martínez-Fernández, Felderer and Franch (2023), Guiding the retraining of convolutional neural
    networks against adversarial inputs, who report the union alone.
    """

    tag = "retraining_accuracy"
    # A curve has hundreds of models and few sets: storing a cell per pair would take longer than measuring it.
    cells = (("models", "model"),)
    metrics = ("accuracy", "inputs", "adversarial_inputs")

    models: Annotated[tuple[Ref[Classifier], ...], "the models, one row each: the original, and the retrained ones"]
    examples: Annotated[tuple[Ref[Examples], ...], "data sets and generators, one column each next to their union"]

    def check(self) -> Iterator[tuple[str, str]]:
        if len(set(self.examples)) > 1 and any(ref.stage == UNION for ref in self.examples):
            yield "examples", f"'{UNION}' is reserved for all of them together; rename the stage"

    def measure(self, run: Run) -> Iterable[Row]:
        model, name = run[self.models[0]], self.models[0].stage
        counts: dict[str, tuple[int, int]] = {}
        for ref in dict.fromkeys(self.examples):
            examples = run[ref]
            counts[ref.label] = int((model.predict(examples.x) == examples.y).sum()), len(examples)
        if len(counts) > 1:
            named = [counts[ref.label] for ref in self.examples]
            counts[UNION] = sum(hits for hits, _ in named), sum(n for _, n in named)
        for label, (hits, n) in counts.items():
            yield Row.proportion("accuracy", hits, n, higher_is_better=True, model=name, examples=label)
        if isinstance(model, Retrained):
            yield from _rows_of(model.trained_on, name)


def _rows_of(trained_on: TrainedOn, model: str) -> Iterator[Row]:
    about: dict[str, Any] = {"model": model, "note": trained_on.note}
    yield Row(
        metric="inputs", value=trained_on.inputs, n=trained_on.available, unit="images", higher_is_better=False, **about
    )
    yield Row.proportion(
        "adversarial_inputs", trained_on.adversarial, trained_on.inputs, higher_is_better=None, **about
    )
