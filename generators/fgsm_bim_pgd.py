"""Attacks that ascend the gradient of the loss inside a ball: FGSM, BIM and PGD, one kernel of one to many steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Artefact, Images, Labels
from temper.core.attack import Attack
from temper.core.classifier import Classifier, Loss
from temper.core.component import Range
from temper.core.run import Run
from temper.core.threat_model import Norm, ThreatModel, step_problem
from temper.generators.image_streams import ImageStreams
from temper.generators.norm_balls import projector, uniform_in_ball, unit_step
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Body, Call, Tensor
from temper.nn.inspection.gradients import margin, value_and_gradient
from temper.system import backend

_REVIEW_IMAGES = 16
"""Number of images whose gradients show whether a model has any."""


@dataclass(frozen=True, kw_only=True)
class GradientAttack(Attack):
    """An attack of steps along the gradient, each followed by a projection onto the ball and onto [0, 1]."""

    eps: Annotated[float, "radius of the perturbation in `norm`, in input units", Range(gt=0)]
    norm: Annotated[Norm, "norm of the ball and of the steps"] = "inf"
    loss: Annotated[
        Loss,
        "loss to increase: `margin` keeps the direction of the exact cross-entropy gradient where float32 loses it; "
        "`cross_entropy` is computed as ART and Foolbox do, and weakens where the softmax saturates",
    ] = "margin"

    @property
    @abstractmethod
    def schedule(self) -> tuple[float, int, int]:
        """Return (step length in the norm, number of steps, number of random starts)."""

    @property
    def threat(self) -> ThreatModel:
        return ThreatModel(self.norm, self.eps)

    @property
    def ascended_loss(self) -> Loss:
        return self.loss

    @property
    def stochastic(self) -> bool:
        return self.schedule[2] > 0

    @property
    def step_rule(self) -> str:
        eps_step, max_iter, starts = self.schedule
        start = f"{starts} random start{'s' * (starts > 1)}" if starts else "no random start"
        rule = f"{max_iter} x {eps_step:g} along the {self.loss} gradient, {start}"
        # Without a random start the steps must add up to eps to reach the surface.
        if not starts and eps_step * max_iter < self.eps * (1 - 1e-9):
            return f"{rule}; reaches {eps_step * max_iter:g} of eps {self.eps:g}"
        return f"{rule}; steps longer than eps {self.eps:g}" if eps_step > self.eps else rule

    def check(self) -> Iterator[tuple[str, str]]:
        if problem := self.threat.problem():
            yield "eps", problem
        if problem := step_problem(self.schedule[0], self.eps):
            yield "eps_step", problem

    def review(self, artefact: Artefact, run: Run) -> None:
        assert self.data is not None  # the graph fills in the model's data set
        clean = run[self.data].take(np.arange(min(len(run[self.data]), _REVIEW_IMAGES)))
        if len(clean) and not run[self.model].loss_gradient(clean.x, clean.y, self.ascended_loss).any():
            run.remark(
                f"the gradient of {self.model} is exactly 0 for each of {len(clean)} images, so this attack has no "
                "effect: no "
                "function between the image and the output has a gradient, or all units are saturated. Use an attack "
                "that "
                "needs none, such as SquareAttack or HopSkipJump of type art."
            )

    def perturb(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        starts = self.schedule[2]
        every = np.arange(len(x))
        streams = ImageStreams(rng, len(x)) if starts else None

        def start(rows: NDArray[np.int64], number: int) -> Images:
            if streams is None:
                return x
            return x[rows] + uniform_in_ball(streams.of(rows, number), x[rows].shape, self.norm, self.eps)

        if starts <= 1:
            return self._run(_ascend, victim, x, y, start(every, 0), len(x))[0]
        # Copies, since they are updated in place.
        best, broken, height = map(np.array, self._run(_scored_ascent, victim, x, y, start(every, 0), len(x)))
        for number in range(1, starts):
            # An image that is misclassified keeps its first such result.
            left = np.flatnonzero(~broken)
            if not len(left):
                break
            images, hit, reached = self._run(_scored_ascent, victim, x[left], y[left], start(left, number), len(x))
            better = hit | (reached > height[left])
            chosen = left[better]
            best[chosen], broken[chosen], height[chosen] = images[better], hit[better], reached[better]
        return best

    def _run(
        self, body: Body, victim: Classifier, x: Images, y: Labels, start: Images, batch_size: int
    ) -> tuple[NDArray[Any], ...]:
        eps_step, max_iter, _ = self.schedule
        return compiled_programs.run(
            victim.model,
            body,
            images=(x, y, start),
            shared=(self.eps, eps_step, max_iter),
            static=(self.norm, self.loss),
            batch_size=batch_size,
            passes=max_iter,
        )


def _ascend(
    call: Call, x: Tensor, y: Tensor, start: Tensor, eps: Tensor, eps_step: Tensor, max_iter: Tensor, *how: Any
) -> tuple[Tensor]:
    """Return the images after ``max_iter`` steps from ``start``; ``how`` is the norm and the loss."""
    ops = backend.keras().ops
    norm, loss = how
    project = projector(x, eps, norm)

    def objective(images: Tensor) -> Tensor:
        if loss == "margin":
            return margin(call(images), y)
        return ops.sparse_categorical_crossentropy(y, call(images), from_logits=True)

    def step(_: Tensor, images: Tensor) -> Tensor:
        gradient = value_and_gradient(objective, images)[1]
        return project(images + eps_step * unit_step(gradient, norm))

    # A loop in the graph: the number of steps is an input, not a new program.
    return (ops.fori_loop(0, max_iter, step, project(start)),)


def _scored_ascent(call: Call, x: Tensor, y: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return the images reached, whether they are misclassified (n,), and their margin (n,)."""
    ops = backend.keras().ops
    (images,) = _ascend(call, x, y, *rest)
    logits = call(images)
    return images, ops.cast(ops.argmax(logits, axis=-1), "int32") != y, margin(logits, y)


@dataclass(frozen=True, kw_only=True)
class FGSM(GradientAttack):
    """Fast gradient sign method: one step of length eps.

    x' = clip(x + eps * sign(dL/dx), 0, 1); with norm 2 or 1, the gradient divided by its norm instead of its sign.

    Source: Goodfellow, Shlens and Szegedy (2015), Explaining and Harnessing Adversarial Examples, section 4.
    """

    tag = "fgsm"

    @property
    def schedule(self) -> tuple[float, int, int]:
        return self.eps, 1, 0


@dataclass(frozen=True, kw_only=True)
class BIM(GradientAttack):
    """Basic iterative method: small steps from the image itself.

    x_{t+1} = project(x_t + eps_step * sign(dL/dx_t)), x_0 = x.

    Source: Kurakin, Goodfellow and Bengio (2017), Adversarial examples in the physical world, section 2.2.
    """

    tag = "bim"

    eps_step: Annotated[float, "length of one step in `norm`, in input units", Range(gt=0)]
    max_iter: Annotated[int, "number of steps", Range(ge=1)]

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "max_iter": 2}

    @property
    def schedule(self) -> tuple[float, int, int]:
        return self.eps_step, self.max_iter, 0


@dataclass(frozen=True, kw_only=True)
class PGD(GradientAttack):
    """Projected gradient descent: small steps, from random points of the ball.

    x_{t+1} = project(x_t + eps_step * sign(dL/dx_t)), x_0 = x + uniform noise in the ball. Among several starts an
    image keeps the first that is misclassified, else the one of highest loss.

    Source: Madry, Makelov, Schmidt, Tsipras and Vladu (2018), Towards Deep Learning Models Resistant to Adversarial
    Attacks, section 2.1.
    """

    tag = "pgd"

    eps_step: Annotated[float, "length of one step in `norm`, in input units", Range(gt=0)]
    max_iter: Annotated[int, "number of steps", Range(ge=1)]
    num_random_init: Annotated[int, "random starts; 0 starts once, from the image itself", Range(ge=0)] = 1

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "max_iter": 2, "num_random_init": 1}

    @property
    def schedule(self) -> tuple[float, int, int]:
        return self.eps_step, self.max_iter, self.num_random_init
