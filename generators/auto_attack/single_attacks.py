"""The attacks of AutoAttack as generators of their own: APGD, FAB and Square."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from temper.core.artefacts import Images, Labels
from temper.core.attack import Attack
from temper.core.classifier import Classifier
from temper.core.component import AtOnce, Range
from temper.core.data_info import DataInfo
from temper.core.threat_model import Norm, ThreatModel
from temper.generators.auto_attack.attack_parts import MIN_CLASSES, AttackPart, PartName, attack_in_turn


@dataclass(frozen=True, kw_only=True)
class AutoAttackPart(Attack):
    """An attack that leaves an image once it is misclassified, and images that are misclassified already."""

    eps: Annotated[float, "radius of the perturbation in `norm`, in input units", Range(gt=0)]
    norm: Annotated[Norm, "norm of the ball"] = "inf"
    restarts: Annotated[int, "random starts for each image that is still robust", Range(ge=1)] = 1
    width: Annotated[int, "attacks on single images that run at once", Range(ge=1), AtOnce()] = 128

    @property
    @abstractmethod
    def part(self) -> AttackPart:
        """The attack with its settings."""

    @property
    def threat(self) -> ThreatModel:
        return ThreatModel(self.norm, self.eps)

    @property
    def step_rule(self) -> str:
        starts = f"{self.restarts} start{'s' * (self.restarts > 1)}"
        return f"{self.part.max_iter} {self._unit}, step size chosen by the attack, {starts}"

    @property
    def _unit(self) -> str:
        return "iterations"

    def check(self) -> Iterator[tuple[str, str]]:
        if problem := self.threat.problem():
            yield "eps", problem

    def perturb(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        return attack_in_turn([self.part], victim, x, y, rng, self.width)


@dataclass(frozen=True, kw_only=True)
class APGD(AutoAttackPart):
    """Auto-PGD: gradient ascent with momentum that halves its step where the loss stops rising.

    x_{t+1} = project(x_t + 0.75 (z_{t+1} - x_t) + 0.25 (x_t - x_{t-1})), z_{t+1} = project(x_t + step * sign(dL/dx_t)), from
    step = 2 eps. At checkpoints the step is halved and the best image restored if fewer than 75 % of the steps
    increased the loss, or if neither the step nor the best loss changed since the last one. In norm 1 the steps are sparse
    and the ball shrinks from 3 eps over 2 eps to eps.

    Source: Croce and Hein (2020), Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks, algorithm 1; norm 1: Croce and Hein (2021), Mind the box, algorithm 1.
    """

    tag = "apgd"

    loss: Annotated[
        Literal["cross_entropy", "dlr", "dlr_targeted"],
        "loss to increase: cross-entropy, or the difference of logits ratio, which ignores the scale of the logits; "
        "dlr_targeted moves towards the most likely wrong classes in turn",
    ] = "cross_entropy"
    max_iter: Annotated[int, "number of steps", Range(ge=1)] = 100
    targets: Annotated[int, "classes that dlr_targeted tries in turn", Range(ge=1)] = 9
    samples: Annotated[int, "gradients averaged in each step, for models that draw random numbers", Range(ge=1)] = 1

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "max_iter": 2, "restarts": 1, "targets": 1}

    @property
    def part(self) -> AttackPart:
        names: dict[str, PartName] = {"cross_entropy": "apgd_ce", "dlr": "apgd_dlr", "dlr_targeted": "apgd_t"}
        return AttackPart(
            name=names[self.loss],
            norm=self.norm,
            eps=self.eps,
            max_iter=self.max_iter,
            restarts=self.restarts,
            targets=self.targets,
            samples=self.samples,
        )

    def fits(self, info: DataInfo) -> Iterator[tuple[str, str]]:
        yield from super().fits(info)
        needed = MIN_CLASSES.get(self.loss, 2)
        if info.num_classes < needed:
            yield "loss", f"{self.loss} needs {needed} classes, the data set has {info.num_classes}; use cross_entropy"


@dataclass(frozen=True, kw_only=True)
class FAB(AutoAttackPart):
    """Fast Adaptive Boundary attack: looks for the nearest misclassified image.

    Each step goes to the linearised decision boundary, 5 % beyond, and is pulled by at most 10 % towards the point of the
    boundary that is nearest to the clean image. An image further away than eps counts as robust and is returned unchanged.

    Source: Croce and Hein (2020), Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack.
    """

    tag = "fab"

    max_iter: Annotated[int, "number of steps for each start and target", Range(ge=1)] = 100
    targets: Annotated[
        int, "most likely wrong classes tried in turn; 0: the nearest of all, a gradient per class", Range(ge=0)
    ] = 9

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "max_iter": 2, "restarts": 1, "targets": 1}

    @property
    def part(self) -> AttackPart:
        return AttackPart(
            name="fab_t" if self.targets else "fab",
            norm=self.norm,
            eps=self.eps,
            max_iter=self.max_iter,
            restarts=self.restarts,
            targets=self.targets,
        )


@dataclass(frozen=True, kw_only=True)
class Square(AutoAttackPart):
    """Square attack: random search over squares of full perturbation, which uses the logits but no gradient.

    The square covers 80 % of the image at first and shrinks on a fixed schedule; a change is kept if the margin of the
    label decreases. Every image has its own squares.

    Source: Andriushchenko, Croce, Flammarion and Hein (2020), Square Attack: a query-efficient black-box adversarial
    attack via random search, algorithms 1 to 3.
    """

    tag = "square"

    queries: Annotated[int, "queries of the model for each image and start", Range(ge=1)] = 5000

    @property
    def part(self) -> AttackPart:
        return AttackPart(name="square", norm=self.norm, eps=self.eps, max_iter=self.queries, restarts=self.restarts)

    @property
    def _unit(self) -> str:
        return "queries"
