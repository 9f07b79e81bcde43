"""AutoAttack: the ensemble of parameter-free attacks by which robustness is reported today."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

import numpy as np

from temper.core.artefacts import Images, Labels
from temper.core.attack import Attack
from temper.core.classifier import Classifier
from temper.core.component import AtOnce, Range
from temper.core.threat_model import Norm, ThreatModel
from temper.generators.auto_attack.attack_parts import AttackPart, PartName, attack_in_turn, versions

_ITERATIONS, _QUERIES = 100, 5000


@dataclass(frozen=True, kw_only=True)
class AutoAttack(Attack):
    """AutoAttack: APGD, FAB and Square in turn, each on the images that the attacks before it left robust.

    standard: APGD on cross-entropy, targeted APGD (9 targets), targeted FAB (9 targets), Square with 5,000 queries. plus:
    also APGD on DLR and untargeted FAB, with 5 restarts. rand: APGD on both losses with gradients averaged over 20
    samples, for randomised models. custom: those of ``attacks``. In norm 1, APGD has 5 restarts and 5 targets and starts
    from larger balls. With fewer than four classes the difference of logits replaces the targeted DLR loss, with two classes
    the cross-entropy replaces DLR.

    Source: Croce and Hein (2020), Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks; norm 1: Croce and Hein (2021), Mind the box.
    """

    tag = "auto_attack"

    eps: Annotated[float, "radius of the perturbation in `norm`, in input units", Range(gt=0)]
    norm: Annotated[Norm, "norm of the ball"] = "inf"
    version: Annotated[Literal["standard", "plus", "rand", "custom"], "the attacks and their settings"] = "standard"
    attacks: Annotated[tuple[PartName, ...], "attacks of the version `custom`, in this order"] = ()
    max_iter: Annotated[int, "iterations of APGD and FAB; only `custom` may change it", Range(ge=1)] = _ITERATIONS
    queries: Annotated[int, "queries of Square; only `custom` may change it", Range(ge=1)] = _QUERIES
    width: Annotated[int, "attacks on single images that run at once", Range(ge=1), AtOnce()] = 128

    @property
    def threat(self) -> ThreatModel:
        return ThreatModel(self.norm, self.eps)

    @property
    def step_rule(self) -> str:
        return f"AutoAttack {self.version}: {', '.join(part.name for part in self.parts)}"

    @property
    def parts(self) -> list[AttackPart]:
        """The attacks in turn."""
        chosen = versions(self.norm).get(self.version) or [(name, {}) for name in self.attacks]
        return [
            AttackPart(
                name=name,
                norm=self.norm,
                eps=self.eps,
                max_iter=self.queries if name == "square" else self.max_iter,
                **settings,
            )
            for name, settings in chosen
        ]

    def check(self) -> Iterator[tuple[str, str]]:
        if problem := self.threat.problem():
            yield "eps", problem
        if self.version != "custom":
            defaults = {"attacks": (), "max_iter": _ITERATIONS, "queries": _QUERIES}
            for name, default in defaults.items():
                if getattr(self, name) != default:
                    yield (
                        name,
                        f"version {self.version} is fixed; remove `{name}`, or set version: custom with `attacks`",
                    )
        elif not self.attacks:
            yield "attacks", "expected the attacks of version custom, received none"

    def for_smoke(self) -> Self:
        names = tuple(part.name for part in self.parts)
        return replace(self, version="custom", attacks=names, max_iter=2, queries=10)

    def perturb(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        return attack_in_turn(self.parts, victim, x, y, rng, self.width)
