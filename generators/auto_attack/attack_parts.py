"""The parts of AutoAttack: which jobs each attack runs on which images, with which restarts and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels
from temper.core.classifier import Classifier
from temper.core.threat_model import Norm
from temper.generators.auto_attack.apgd_kernel import ApgdKernel
from temper.generators.auto_attack.attack_losses import AttackLoss
from temper.generators.auto_attack.fab_kernel import FabKernel
from temper.generators.auto_attack.refilled_batches import Jobs, Kernel, break_images
from temper.generators.auto_attack.square_kernel import SquareKernel
from temper.generators.image_streams import ImageStreams

PartName = Literal["apgd_ce", "apgd_dlr", "apgd_t", "fab", "fab_t", "square"]
MIN_CLASSES = {"dlr": 3, "dlr_targeted": 4}
"""Classes that the losses need, since they divide by a difference of the third and fourth largest logit."""


@dataclass(frozen=True, kw_only=True)
class AttackPart:
    """One attack of the ensemble.

    ``max_iter`` counts iterations, or queries of ``square``; ``targets`` the most likely wrong classes that a targeted
    attack tries in turn; ``samples`` the gradients that are averaged for a randomised model.
    """

    name: PartName
    norm: Norm
    eps: float
    max_iter: int
    restarts: int = 1
    targets: int = 9
    samples: int = 1

    def run(
        self, victim: Classifier, x: Images, y: Labels, rows: NDArray[np.int64], streams: ImageStreams, width: int
    ) -> tuple[Images, NDArray[np.bool_]]:
        """Return the images ``x`` (n, h, w, c), those of ``rows`` attacked, and which were broken, bool (n,)."""
        kernel = self._kernel(victim.num_classes, streams)
        return break_images(kernel, victim, x, y, self._jobs(victim, x, rows), width)

    @property
    def targeted(self) -> bool:
        return self.name.endswith("_t")

    def _kernel(self, classes: int, streams: ImageStreams) -> Kernel:
        match self.name:
            case "square":
                return SquareKernel(self.norm, self.eps, self.max_iter, streams)
            case "fab" | "fab_t":
                return FabKernel(self.norm, self.eps, self.max_iter, self.targeted, streams)
        return ApgdKernel(self.norm, self.eps, apgd_loss(self.name, classes), self.max_iter, self.samples, streams)

    def _jobs(self, victim: Classifier, x: Images, rows: NDArray[np.int64]) -> Jobs:
        """Return the jobs: for each target all restarts, for each restart all images."""
        aims = -np.ones((1, len(rows)), np.int64)
        if self.targeted and len(rows):
            ranked = np.argsort(victim.logits(x[rows]), axis=1)
            aims = ranked[:, -2 : -2 - min(self.targets, victim.num_classes - 1) : -1].T
        aims = np.repeat(aims, self.restarts, axis=0)
        numbers = np.arange(len(aims))
        if self.name == "fab_t":  # each target starts from the image itself
            numbers = numbers % self.restarts
        return Jobs(np.tile(rows, len(aims)), aims.ravel(), np.repeat(numbers, len(rows)))


def attack_in_turn(
    parts: Sequence[AttackPart], victim: Classifier, x: Images, y: Labels, rng: np.random.Generator, width: int
) -> Images:
    """Return images (n, h, w, c): each attack runs on those that are still predicted as ``y`` (n,).

    At most ``width`` attacks on single images run at once, which does not change the result.
    """
    made = np.array(x)
    robust = victim.predict(x) == y
    for part in parts:
        # Drawn even if no image is left, so that an image does not depend on the others.
        streams = ImageStreams(rng, len(x))
        rows = np.flatnonzero(robust)
        if len(rows):
            images, broken = part.run(victim, x, y, rows, streams, width)
            made[broken] = images[broken]
            robust &= ~broken
    return made


def apgd_loss(name: PartName, classes: int) -> AttackLoss:
    """Return the loss of an APGD part for a number of classes; with few, the difference of logits replaces the ratio."""
    match name:
        case "apgd_ce":
            return "cross_entropy"
        case "apgd_dlr":
            return "dlr" if classes >= MIN_CLASSES["dlr"] else "cross_entropy"
    return "dlr_targeted" if classes >= MIN_CLASSES["dlr_targeted"] else "difference"


def versions(norm: Norm) -> dict[str, list[tuple[PartName, dict[str, int]]]]:
    """Return the parts of each version of AutoAttack with the settings that differ from the defaults.

    Source: the authors' implementation (github.com/fra31/auto-attack), ``AutoAttack.set_version``.
    """
    several = {"restarts": 5}
    sparse = norm == 1
    return {
        "standard": [
            ("apgd_ce", several if sparse else {}),
            ("apgd_t", {"targets": 5} if sparse else {}),
            ("fab_t", {}),
            ("square", {}),
        ],
        "plus": [
            ("apgd_ce", several),
            ("apgd_dlr", several),
            ("fab", several),
            ("square", {}),
            ("apgd_t", {}),
            ("fab_t", {}),
        ],
        "rand": [("apgd_ce", {"samples": 20}), ("apgd_dlr", {"samples": 20})],
    }
