"""Loss and accuracy averaged over classes rather than over images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, Row
from temper.core.component import Range, Ref
from temper.core.run import Run
from temper.evaluation.cell_evaluation import AttackedModels


@dataclass(frozen=True, kw_only=True)
class ClassMeans(AttackedModels):
    """Loss and accuracy class by class, and their means over the classes.

    accuracy = mean_c |{i in c : m(x_i) = c}| / n_c and loss = mean_c mean_{i in c} -ln p_c(x_i), over the classes c that
    have images; nan for an empty set. Every class has equal weight however many images it has, as with one run per class.

    Source: Eniser, Gerasimou and Sen (2019), DeepFault, section 5, whose loss is Keras's: its ``clip`` is 1e-7.
    """

    tag = "class_means"
    metrics = ("accuracy", "loss", "class_accuracy", "class_loss")

    examples: Annotated[tuple[Ref[Examples], ...], "data sets and generators, one column each"]
    clip: Annotated[
        float,
        "probabilities are clipped to at least this in the loss, which bounds the loss of one image; 0: unclipped",
        Range(ge=0, lt=1),
    ] = 0.0

    def measure(self, run: Run) -> Iterable[Row]:
        model, examples = run[self.models[0]], run[self.examples[0]]
        logits = model.logits(examples.x)
        right = logits.argmax(axis=1) == examples.y
        loss = cross_entropy(logits, examples.y, self.clip)
        labels = np.unique(examples.y)
        about: dict[str, Any] = self.about()
        shares = [right[examples.y == label].mean() for label in labels]
        losses = [loss[examples.y == label].mean() for label in labels]
        n = len(examples)
        yield Row(metric="accuracy", value=_mean(shares), n=n, unit="proportion", higher_is_better=True, **about)
        yield Row(metric="loss", value=_mean(losses), n=n, unit="nats", higher_is_better=False, **about)
        for label, mean in zip(labels.tolist(), losses, strict=True):
            among = right[examples.y == label]
            group: dict[str, Any] = {**about, "group": run.class_label(self.examples[0], label)}
            yield Row.proportion("class_accuracy", int(among.sum()), len(among), higher_is_better=True, **group)
            yield Row(
                metric="class_loss", value=float(mean), n=len(among), unit="nats", higher_is_better=False, **group
            )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def cross_entropy(logits: NDArray[np.float32], y: NDArray[np.int64], clip: float) -> NDArray[np.float64]:
    """Return -ln of the softmax probability of each label, float64 (n,), with probabilities in [clip, 1 - clip]."""
    exact = logits.astype(np.float64)
    height = exact.max(axis=1, keepdims=True)
    logarithm = exact - height - np.log(np.exp(exact - height).sum(axis=1, keepdims=True))
    chosen = np.take_along_axis(logarithm, y[:, None], axis=1)[:, 0]
    low, high = (np.log(clip), np.log1p(-clip)) if clip else (-np.inf, 0.0)
    loss: NDArray[np.float64] = -np.clip(chosen, low, high)
    return loss
