"""Robustness of models: accuracy on clean and attacked images, and the success rate of attacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, Row
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.cell_evaluation import AttackedModels, ExamplesProtocol
from temper.evaluation.worst_case import WORST_CASE, right_in_all, worst_cases


@dataclass(frozen=True, kw_only=True)
class RobustnessMatrix(AttackedModels):
    """Accuracy of every model on every set of examples, with respect to the true labels.

    accuracy(m, E) = |{i : argmax m(x_i) = y_i}| / n. The row ``worst_case`` counts an image only if the model is right
    on it in every one of the sets: the robust accuracy against all attacks together. There is one for each threat model
    (norm and eps; attacks without a bound form a separate one) and each source of images, each including the clean
    images of the source; if there are several, the row is labelled: ``worst_case (Linf 0.1)``.

    Source: Goodfellow, Shlens and Szegedy (2015); the matrix of DeepCustom (models x attacks); the worst case of
    Carlini et al. (2019), On Evaluating Adversarial Robustness, sec. 4.2.
    """

    tag = "robustness_matrix"
    metrics = ("accuracy", "class_accuracy")
    names_sources = True

    examples: Annotated[tuple[Ref[Examples], ...], "data sets and generators, one column each"]
    protocol: ExamplesProtocol = field()  # no default: the file decides which of the two numbers its table shows
    per_class: Annotated[bool, "also report the accuracy of each class"] = False
    worst_case: Annotated[bool, "add the worst case over the examples of each threat model"] = True

    def check(self) -> Iterator[tuple[str, str]]:
        if self.worst_case and any(ref.stage == WORST_CASE for ref in self.examples):
            yield (
                "examples",
                f"'{WORST_CASE}' is reserved for the worst case; rename the stage, or set worst_case: false",
            )

    def expand(self) -> Iterator[Self]:
        for model in self.models:
            examples = self.regenerated(self.examples, model)
            for ref in examples:
                yield dataclasses.replace(self, models=(model,), examples=(ref,), worst_case=False)
            if self.worst_case and len(examples) > 1:
                yield dataclasses.replace(self, models=(model,), examples=examples, per_class=False)

    def about(self) -> dict[str, str]:
        return super().about() | ({"examples": WORST_CASE} if self.worst_case else {})

    def measure(self, run: Run) -> Iterable[Row]:
        model = run[self.models[0]]
        if self.worst_case:
            for label, sets in worst_cases([(run.origin(ref), run[ref]) for ref in self.examples]).items():
                yield self._accuracy(right_in_all(model, sets)[1], label)
            return
        (examples,) = (run[ref] for ref in self.examples)
        originals, right = right_in_all(model, [examples])
        yield self._accuracy(right, self.examples[0].label)
        if self.per_class:
            y = examples.y[examples.rows_of(originals)]
            for number in range(model.num_classes):
                among = right[y == number]
                yield Row.proportion(
                    "class_accuracy",
                    int(among.sum()),
                    len(among),
                    higher_is_better=True,
                    group=run.class_label(self.examples[0], number),
                    **self.about(),
                )

    def _accuracy(self, right: NDArray[np.bool_], label: str) -> Row:
        about = self.about() | {"examples": label}
        return Row.proportion("accuracy", int(right.sum()), len(right), higher_is_better=True, **about)


@dataclass(frozen=True, kw_only=True)
class AttackSuccess(AttackedModels):
    """How often an attack turns a correct prediction into a wrong one, with evidence that the number is credible.

    attack_success_rate = |{i : m(x_i) = y_i and m(x'_i) != y_i}| / |{i : m(x_i) = y_i}|. ``zero_gradients`` is the
    share of input gradient entries that are exactly 0 at the clean images: near 1, a gradient attack fails for lack of
    a gradient and its success rate says nothing about robustness.

    Source: Carlini et al. (2019), On Evaluating Adversarial Robustness, sec. 5; Athalye, Carlini and Wagner (2018),
    Obfuscated Gradients Give a False Sense of Security, sec. 3.1.
    """

    tag = "attack_success"
    metrics = ("attack_success_rate", "robust_accuracy", "clean_accuracy", "zero_gradients", "linf_reached")
    rows = ("model", "examples")
    columns = ("metric",)
    reads_originals = True

    models: Annotated[tuple[Ref[Classifier], ...], "the models that are attacked"]
    examples: Annotated[tuple[Ref[Examples], ...], "the generators to evaluate"]

    def measure(self, run: Run) -> Iterable[Row]:
        model, adversarial = run[self.models[0]], run[self.examples[0]]
        clean = run[self.originals[0]]
        rows = clean.rows_of(adversarial.index)
        x, y = clean.x[rows], clean.y[rows]
        was_right, is_right = model.predict(x) == y, model.predict(adversarial.x) == y
        about: dict[str, Any] = {**self.about(), "note": _note(adversarial)}
        broken = int((was_right & ~is_right).sum())
        gradient = model.loss_gradient(x, y, adversarial.info.get("ascended_loss", "cross_entropy"))
        n = len(y)
        reached = np.abs(adversarial.x - x).max() if n else np.nan
        yield Row.proportion("attack_success_rate", broken, int(was_right.sum()), higher_is_better=None, **about)
        yield Row.proportion("robust_accuracy", int((was_right & is_right).sum()), n, higher_is_better=True, **about)
        yield Row.proportion("clean_accuracy", int(was_right.sum()), n, higher_is_better=True, **about)
        yield Row.proportion(
            "zero_gradients", int((gradient == 0).sum()), gradient.size, higher_is_better=None, **about
        )
        yield Row(metric="linf_reached", value=float(reached), n=n, unit="pixels", higher_is_better=None, **about)


def _note(examples: Examples) -> str:
    """Return a note on an attack for the reader: the source of its labels, its norm and its steps."""
    info = examples.info
    bound = f"norm {info['norm']}, eps {info['eps']:.4g}" if "eps" in info else "no bound"
    return "; ".join(filter(None, [f"{info.get('labels', 'unknown')} labels", bound, info.get("step_rule", "")]))
