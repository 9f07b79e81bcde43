"""Any evasion attack of the Adversarial Robustness Toolbox, by its class name and with its own parameters."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np

from core import backend
from core.artefacts import Images, Labels
from core.attack import Attack
from core.classifier import Classifier
from core.component import Plain, empty_mapping
from core.faults import StageError, nearest
from core.threat import Norm, ThreatModel
from generators.art_source import Parameter, parameters

BOUNDED = frozenset(
    {
        "AutoAttack",
        "AutoConjugateGradient",
        "AutoProjectedGradientDescent",
        "BasicIterativeMethod",
        "FastGradientMethod",
        "MomentumIterativeMethod",
        "ProjectedGradientDescent",
        "ProjectedGradientDescentNumpy",
        "ProjectedGradientDescentPyTorch",
        "ProjectedGradientDescentTensorFlowV2",
        "RescalingAutoConjugateGradient",
        "SquareAttack",
        "UniversalPerturbation",
    }
)
"""Attacks whose ``eps`` is the radius of a ball they stay in; elsewhere it is a step or a tolerance."""

SINGLE = frozenset({"ShadowAttack"})
"""Attacks that take one image at a time."""

NEEDED_PACKAGES = {
    "AutoAttack": "multiprocess",
    "CompositeAdversarialAttackPyTorch": "kornia",
    "ThresholdAttack": "cma",
}
"""Packages that ART imports for an attack but does not install."""

STARTING = frozenset({"BoundaryAttack", "HopSkipJump"})
"""Attacks that start from a random misclassified image, which ART draws from a stream that cannot be seeded."""

_BACKENDS = {"PyTorch": "torch", "TensorFlowV2": "tensorflow", "MomentumIterativeMethod": "torch"}
"""Backend that attacks whose name ends so need; ART has switched the last one off for TensorFlow (its issue 2439)."""


@dataclass(frozen=True, kw_only=True)
class Art(Attack):
    """An evasion attack of ART, white-box or black-box, on the Keras backend tensorflow or torch.

    Where `params` does not say otherwise, ART's `targeted` and `verbose` are off, and its `batch_size` is that
    of this component. ART computes cross-entropy from logits in float32.

    Source: Nicolae et al. (2018), Adversarial Robustness Toolbox v1.0.0, arXiv:1807.01069; each attack cites its own.
    """

    tag = "art"

    attack: Annotated[str, "class name in art.attacks.evasion, such as CarliniL2Method, DeepFool or SquareAttack"]
    params: Annotated[Mapping[str, Plain], "parameters of the attack, as ART names them"] = empty_mapping()

    @property
    def threat(self) -> ThreatModel | None:
        known = parameters(self.attack)
        norm = _norm(self.params.get("norm", known["norm"].default if "norm" in known else math.inf))
        eps = self.params.get("eps", known["eps"].default if "eps" in known else None)
        if self.attack not in BOUNDED or norm is None or not isinstance(eps, int | float):
            return None
        return ThreatModel(norm, float(eps))

    @property
    def step_rule(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in sorted(self.params.items()))
        return f"ART {self.attack}({given})"

    def check(self) -> Iterator[tuple[str, str]]:
        if backend.name() == "jax":
            yield "", "ART cannot attack a model on the jax backend; set KERAS_BACKEND to tensorflow or torch"
        try:
            known = parameters(self.attack)
        except StageError as error:
            yield "attack", str(error)
            return
        for ending, needed in _BACKENDS.items():
            if self.attack.endswith(ending) and backend.name() != needed:
                yield "attack", f"{self.attack} needs KERAS_BACKEND={needed}, received {backend.name()}"
        package = NEEDED_PACKAGES.get(self.attack)
        if package and importlib.util.find_spec(package) is None:
            yield "attack", f"{self.attack} needs the package {package}, which ART leaves to you; install it"
        for name, value in self.params.items():
            if fault := _fault(name, value, known):
                yield "params", f"{self.attack}: {fault}"

    def perturb(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        from art.attacks import evasion

        backend.seed(int(rng.integers(2**31)))
        at_once = 1 if self.attack in SINGLE else len(x)
        defaults = {"targeted": False, "verbose": False, "batch_size": at_once}
        settings = {name: value for name, value in defaults.items() if name in parameters(self.attack)}
        attack = getattr(evasion, self.attack)(_estimator(victim.model), **(settings | dict(self.params)))
        for inner in getattr(attack, "attacks", ()):
            inner.verbose = False  # AutoAttack does not pass it on
        batches = [slice(start, start + at_once) for start in range(0, len(x), at_once)]
        starts = {"x_adv_init": self._starts(victim, x, y, rng)} if self.attack in STARTING else {}
        # Copies, because some attacks write into what they are given and stage inputs are read-only.
        return np.concatenate([attack.generate(x=np.array(x[b]), y=np.array(y[b]), **starts) for b in batches])

    def _starts(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        """Return random images that are not given ``y``, each out of as many draws as ART would make."""
        starts = np.array(x)
        left = np.arange(len(x))
        for _ in range(int(self.params.get("init_size", parameters(self.attack)["init_size"].default) or 0)):
            if not len(left):
                break
            drawn = rng.random((len(left), *x.shape[1:]), np.float32)
            broken = victim.predict(drawn) != y[left]
            starts[left[broken]] = drawn[broken]
            left = left[~broken]
        return starts


def _fault(name: str, value: Plain, known: Mapping[str, Parameter]) -> str:
    if name not in known:
        return f"no parameter {name}{nearest(name, known)}; expected {', '.join(known)}"
    if name == "targeted" and value:
        return "expected targeted: false, received true; targets are not part of an experiment file"
    if not known[name].accepts(value):
        return f"expected {name} to be {known[name].annotation}, received {value!r}"
    return ""


def _norm(value: Plain) -> Norm | None:
    if value in ("inf", math.inf):
        return "inf"
    return 2 if value == 2 else 1 if value == 1 else None


@lru_cache(maxsize=1)
def _estimator(model: Any) -> Any:
    """Return ART's view of a model, which calls it compiled; kept, because a new one is traced anew."""
    victim = Classifier(model)
    common = {"nb_classes": victim.num_classes, "input_shape": victim.input_shape, "clip_values": (0.0, 1.0)}
    if backend.name() == "tensorflow":
        import tensorflow as tf
        from art.estimators.classification import TensorFlowV2Classifier

        loss = backend.keras().losses.CategoricalCrossentropy(from_logits=True)
        compiled = tf.function(model, reduce_retracing=True, autograph=False)
        return TensorFlowV2Classifier(model=compiled, loss_object=loss, **common)
    import torch
    from art.estimators.classification import PyTorchClassifier

    device = "gpu" if torch.cuda.is_available() else "cpu"
    loss = torch.nn.CrossEntropyLoss()
    return PyTorchClassifier(model=model, loss=loss, channels_first=False, device_type=device, **common)
