"""Any evasion attack of the Adversarial Robustness Toolbox, by its class name and with its own parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels
from temper.core.attack import Attack
from temper.core.classifier import Classifier
from temper.core.component import Plain, empty_mapping
from temper.core.data_info import DataInfo
from temper.core.errors import StageError, did_you_mean
from temper.core.threat_model import ThreatModel
from temper.generators import art_bounds
from temper.generators.art_estimator import estimator
from temper.generators.art_source import Parameter, parameters
from temper.generators.art_traits import INNER, TRAITS, Batches, Traits, batches, depends_on_batch_size, extra_packages
from temper.system import backend, packages

_SLACK = 2e-4
"""Relative excess over the radius that ART allows: AutoAttack accepts DeepFool's images up to 1.0001 times it."""
Rngs = list[np.random.Generator]


@dataclass(frozen=True, kw_only=True)
class Art(Attack):
    """An evasion attack of ART, white-box or black-box, on the Keras backend tensorflow or torch.

    Unless set in `params`, ART's `targeted` and `verbose` are off, and its `batch_size` is that of this component. ART
    computes cross-entropy from logits in float32. Labels: BoundaryAttack, DeepFool, HopSkipJump, NewtonFool,
    SignOPTAttack, SpatialTransformation and VirtualAdversarialMethod move away from the model's predictions; with
    `labels: true` they leave misclassified images unchanged. SaliencyMapMethod, ShadowAttack and
    TargetedUniversalPerturbation move towards `targets`, never the label; the first two leave images unchanged that
    would become correct. All others move away from the label. Outputs: NewtonFool, PixelAttack, SimBA, ThresholdAttack
    and VirtualAdversarialMethod get class probabilities, as does UniversalPerturbation with the attacker newtonfool,
    simba or vat; all others get logits. Batches: AutoAttack, AutoConjugateGradient, AutoProjectedGradientDescent,
    CompositeAdversarialAttackPyTorch, DeepFool, SpatialTransformation, SquareAttack, TargetedUniversalPerturbation,
    UniversalPerturbation, VirtualAdversarialMethod, and any attack with num_random_init or random_eps, share a
    perturbation or random draws among images. They get all images in one call, whatever the `batch_size`, which is then
    the number of images that ART processes at once. It affects only the results of several num_random_init, which ART
    draws for each such batch. Every other attack returns the same images at any `batch_size`: attacks that draw, that
    ART implements for one image, or whose steps depend on the size of the batch, get one image at a time.

    Source: Nicolae et al. (2018), Adversarial Robustness Toolbox v1.0.0, arXiv:1807.01069; each attack cites its own.
    """

    tag = "art"
    requires = ("art",)

    attack: Annotated[str, "class name in art.attacks.evasion, such as CarliniL2Method, DeepFool or SquareAttack"]
    params: Annotated[Mapping[str, Plain], "parameters of the attack, as ART names them"] = empty_mapping()
    targets: Annotated[
        Literal["random", "least_likely"] | None,
        "class to move towards, for attacks that use one: sampled for each image, or the model's least likely class "
        "(one for all images where they share a perturbation); default: random",
    ] = None

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "max_iter": 2, "num_random_init": 1, "binary_search_steps": 1}

    @property
    def threat(self) -> ThreatModel | None:
        return art_bounds.ball(self.attack, self._values)

    @property
    def whole(self) -> bool:
        return self._batches == "all"

    def depends_on(self, name: str) -> bool:
        return name == "batch_size" and name not in self.params and depends_on_batch_size(self._values)

    @property
    def step_rule(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in sorted(self.params.items()))
        rule = f"ART {self.attack}({given})"
        if self._traits.reads == "targets":
            return f"{rule}, towards {self._targets.replace('_', ' ')} targets"
        return f"{rule}, away from the model's predictions" if self._traits.reads == "predictions" else rule

    def check(self) -> Iterator[tuple[str, str]]:
        if backend.name() == "jax":
            yield "", "ART cannot attack a model on the jax backend; set KERAS_BACKEND to tensorflow or torch"
        try:
            known = parameters(self.attack)
        except StageError as error:
            yield "attack", str(error)
            return
        wanted = self._traits.backend
        if wanted and wanted != backend.name():
            yield "attack", f"{self.attack} needs KERAS_BACKEND={wanted}, received {backend.name()}"
        if advice := packages.advice(extra_packages(self.attack, self._values)):
            yield "attack", f"{self.attack} needs packages that ART does not install: {advice}"
        if self.targets and self._traits.reads != "targets":
            yield "targets", f"{self.attack} moves away from a label and has no targets; remove `targets`"
        yield from self._problems(known)

    def fits(self, info: DataInfo) -> Iterator[tuple[str, str]]:
        for message in art_bounds.data_problems(self.attack, self._values, info.shape, info.num_classes):
            yield "params", f"{self.attack}: {message}"

    def perturb(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        # One stream per image, so that images do not depend on the batch.
        streams = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=len(x))]
        given, rows = y, np.arange(len(x))
        match self._traits.reads:
            case "targets":
                given = self._target_classes(victim, x, y, streams)
            case "predictions":
                rows = np.flatnonzero(victim.predict(x) == y)
        made = np.array(x)
        # ART draws for a whole batch in some attacks, so these get one image per call.
        size = max(1, len(rows)) if self._batches != "one" else 1
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            made[batch] = self._generate(victim, x[batch], given[batch], streams[batch[0]])
        if self._traits.reads == "targets" and not self._traits.shared_target:
            # On its way to a target, a misclassified image may become correctly classified.
            repaired = (victim.predict(x) != y) & (victim.predict(np.clip(made, 0, 1)) == y)
            made[repaired] = x[repaired]
        return made if self.threat is None else x + self.threat.trimmed(np.clip(made, 0, 1) - x, _SLACK)

    @property
    def _traits(self) -> Traits:
        return TRAITS[self.attack]

    @property
    def _batches(self) -> Batches:
        return batches(self.attack, self._values)

    @property
    def _values(self) -> dict[str, Plain]:
        """All parameters of the attack: those given, and ART's defaults."""
        return {name: parameter.default for name, parameter in parameters(self.attack).items()} | dict(self.params)

    @property
    def _targets(self) -> str:
        return self.targets or "random"

    def _problems(self, known: Mapping[str, Parameter]) -> Iterator[tuple[str, str]]:
        invalid = {
            name: problem for name, value in self.params.items() if (problem := _parameter_problem(name, value, known))
        }
        for problem in invalid.values():
            yield "params", f"{self.attack}: {problem}"
        intact = {name: value for name, value in self._values.items() if name not in invalid}
        for name, problem in art_bounds.problems(self.attack, intact):
            origin = "" if name in self.params else f", which is ART's default; set {name} in params"
            yield "params", f"{self.attack}: {name}: {problem}{origin}"

    def _generate(self, victim: Classifier, x: Images, y: Labels, stream: np.random.Generator) -> Images:
        """Return the images that one call of ART returns for images and their labels or targets."""
        from art.attacks import evasion

        # ART draws from the global streams of NumPy and the framework.
        backend.seed(int(stream.integers(2**31)))
        inner = self._inner
        probabilities = self._traits.probabilities or (inner != "" and TRAITS[inner].probabilities)
        model = estimator(victim.model, probabilities, summed=not self._traits.inner_batches)
        attack = getattr(evasion, self.attack)(model, **self._settings(inner))
        for part in getattr(attack, "attacks", ()):
            part.verbose = False  # AutoAttack does not pass it on
        one_hot = np.eye(victim.num_classes, dtype=np.float32)[y]
        if not self._traits.starts:
            # A copy, because some attacks write into their input and stage inputs are read-only.
            return np.asarray(attack.generate(x=np.array(x), y=one_hot))
        first = self._start(victim, x, y, stream)
        return x if first is None else np.asarray(attack.generate(x=np.array(x), y=one_hot, x_adv_init=first))

    @property
    def _inner(self) -> str:
        """The attack that a universal perturbation is built with."""
        return INNER.get(str(self._values.get("attacker")), "")

    def _settings(self, inner: str) -> dict[str, Any]:
        """Return the arguments of the attack's constructor."""
        size = 1 if self._batches == "one" else self.batch_size
        settings: dict[str, Any] = {"targeted": False, "verbose": False, "batch_size": size}
        if self._traits.inner_batches:
            del settings["batch_size"]
        if inner:
            of_inner = {"verbose": False, "targeted": self._traits.reads == "targets"}
            settings["attacker_params"] = {k: v for k, v in of_inner.items() if k in parameters(inner)}
        known = parameters(self.attack)
        return {name: value for name, value in settings.items() if name in known} | dict(self.params)

    def _target_classes(self, victim: Classifier, x: Images, y: Labels, streams: Rngs) -> Labels:
        """Return the target class of each image, int64 (n,); never that in ``y``."""
        if self._targets == "random":
            preference = np.stack([stream.random(victim.num_classes) for stream in streams])
        else:
            logits = victim.logits(x).astype(np.float64)
            # -log p, so that the least likely class is preferred.
            preference = np.logaddexp.reduce(logits, axis=1, keepdims=True) - logits
        if self._traits.shared_target:
            preference = np.tile(preference.mean(axis=0), (len(x), 1))
        preference[np.arange(len(x)), y] = -np.inf
        found: NDArray[np.int64] = preference.argmax(axis=1)
        return found

    def _start(self, victim: Classifier, x: Images, y: Labels, stream: np.random.Generator) -> Images | None:
        """Return a random image that is not predicted as one image's label, from as many draws as ART would make."""
        drawn = stream.random((int(self._values["init_size"] or 0), *x.shape[1:]), np.float32)
        broken = np.flatnonzero(victim.predict(drawn) != y[0])
        return drawn[broken[:1]] if len(broken) else None


def _parameter_problem(name: str, value: Plain, known: Mapping[str, Parameter]) -> str:
    if name not in known:
        return f"no parameter {name}{did_you_mean(name, known)}; expected {', '.join(known)}"
    if name == "targeted" and value:
        return "expected targeted: false, received true; targets are not part of an experiment file"
    if not known[name].accepts(value):
        return f"expected {name} to be {known[name].annotation}, received {value!r}"
    return ""
