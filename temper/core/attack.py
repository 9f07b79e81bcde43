"""The family of attacks: generators that perturb each image of a part against a model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import PER_CLASS, SHOWN, Examples, Images, Labels
from temper.core.classifier import Classifier, Loss
from temper.core.component import AtOnce, Range, Ref
from temper.core.data_info import DataInfo
from temper.core.families import Generator
from temper.core.resumable_batches import fill_in_batches
from temper.core.run import Run
from temper.core.threat_model import ThreatModel


@dataclass(frozen=True, kw_only=True)
class Attack(Generator):
    """A generator that perturbs each image of a part against a model; the labels are kept."""

    model: Annotated[Ref[Classifier], "the model to attack"]
    data: Annotated[Ref[Examples] | None, "images to start from; default: the model's data set"] = None
    labels: Annotated[
        Literal["true", "predicted"], "labels whose loss is increased: the true ones or those predicted by the model"
    ] = "true"
    batch_size: Annotated[int, "images perturbed at once", Range(ge=1), AtOnce()] = 500

    @property
    def threat(self) -> ThreatModel | None:
        """The ball that contains every perturbed image; ``None`` for an attack without a bound."""
        return None

    @property
    def whole(self) -> bool:
        """Whether all images are perturbed in one call, because they share a perturbation or random draws."""
        return False

    @property
    def ascended_loss(self) -> Loss:
        """The loss whose gradient shows whether a gradient-based attack can make progress."""
        return "cross_entropy"

    @property
    def step_rule(self) -> str:
        """The step size in words, for the report."""
        return ""

    def fits(self, info: DataInfo) -> Iterator[tuple[str, str]]:
        if self.threat is not None and (problem := self.threat.size_problem(info.shape)):
            yield "eps", problem

    @abstractmethod
    def perturb(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        """Return ``x`` (n, h, w, c) perturbed so that ``victim`` does not predict ``y`` (n,).

        Unless ``whole``, an image must not depend on the others of its batch: draw from ``rng`` image by image, the
        same number of values for each, so that the images do not depend on ``batch_size``.
        """

    @final
    def craft(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        """Return one batch (n, h, w, c) with true labels ``y`` (n,), perturbed inside the ball and clipped to [0, 1]."""
        labels = y if self.labels == "true" else victim.predict(x)
        return self._bounded(self.perturb(victim, x, labels, rng), x)

    @final
    def produce(self, run: Run) -> Examples:
        assert self.data is not None  # the graph fills in the model's data set
        clean, victim = run[self.data], run[self.model]
        rng = run.rng()
        # At least 1, since it is the step through the set, which may be empty.
        size = max(1, len(clean)) if self.whole else self.batch_size

        def crafted(rows: slice) -> Images:
            return self.craft(victim, np.asarray(clean.x[rows]), clean.y[rows], rng)

        # The stream's state is saved with the batches, so that a resumed attack draws the same numbers.
        x = fill_in_batches(run, np.empty_like(clean.x), size, crafted, rng)
        run.images += len(clean)
        about = attack_facts(self.tag, self.labels, self.step_rule, self.threat) | {"ascended_loss": self.ascended_loss}
        info = about | shown_predictions(victim, x, clean.y)
        return Examples(x=x, y=clean.y, index=clean.index, info=info)

    def _bounded(self, adversarial: Images, clean: Images) -> Images:
        # Rounding in the attack's own arithmetic can leave [0, 1] by a few units in the last place.
        adversarial = np.clip(np.asarray(adversarial, np.float32), 0.0, 1.0)
        if adversarial.shape != clean.shape:
            raise ValueError(f"{self.tag}: expected images {clean.shape}, received {adversarial.shape}")
        if invalid := int((~np.isfinite(adversarial)).any(axis=(1, 2, 3)).sum()):
            raise ValueError(
                f"{self.tag}: expected finite pixels, received nan or inf in {invalid} images; the model's "
                "gradients are not finite there; common causes: a root, a norm or a division at 0, or half precision"
            )
        # An attack that leaves its ball is a bug, not a stronger attack.
        if self.threat is not None and not (inside := self.threat.contains(adversarial - clean)).all():
            raise ValueError(f"{self.tag}: {(~inside).sum()} images left the ball {self.threat}")
        return adversarial


def shown_rows(y: Labels) -> NDArray[np.int64]:
    """Return which images the report shows of those with labels ``y`` (n,): rows in rising order."""
    of_classes = [np.flatnonzero(y == label)[:PER_CLASS] for label in np.unique(y)]
    # The same images may be among the first and among those of a class.
    return np.unique(np.concatenate([np.arange(min(SHOWN, len(y))), *of_classes]))


def shown_predictions(victim: Classifier, x: Images, y: Labels) -> dict[str, Any]:
    """Return a model's predictions for the images that the report shows, as ``predicted``: class by row."""
    rows = shown_rows(y)
    predicted = victim.predict(x[rows]).tolist()
    return {"predicted": {str(row): label for row, label in zip(rows.tolist(), predicted, strict=True)}}


def attack_facts(tag: str, labels: str, step_rule: str, threat: ThreatModel | None) -> dict[str, Any]:
    """Return a report's facts about perturbed images: the source of the labels, the steps, and the ball if any."""
    bound = {"norm": threat.norm, "eps": threat.eps} if threat else {}
    return {"attack": tag, "labels": labels, "step_rule": step_rule, **bound}
