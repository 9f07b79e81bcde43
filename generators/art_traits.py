"""The inputs of ART's evasion attacks: labels or targets, logits or probabilities, one image or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from temper.core.component import Plain
from temper.core.threat_model import Norm

Reads = Literal["labels", "predictions", "targets"]
Batches = Literal["any", "one", "all"]

_OBJECTS = "needs an object detector or tracker"
_SPEECH = "needs a speech recogniser"
_PATCH = "computes one patch for all images, and its generate() returns no images"
_GUIDES = "steers towards guide images, which an experiment file cannot give"
UNSUITABLE: Mapping[str, str] = {
    "AdversarialPatch": _PATCH,
    "AdversarialPatchNumpy": _PATCH,
    "AdversarialPatchTensorFlowV2": _PATCH,
    "AdversarialPatchPyTorch": _PATCH,
    "AdversarialTexturePyTorch": _OBJECTS,
    "BrendelBethgeAttack": "needs numba; untested without it",
    "CarliniWagnerASR": _SPEECH,
    "DecisionTreeAttack": "needs a decision tree",
    "DPatch": _OBJECTS,
    "RobustDPatch": _OBJECTS,
    "FeatureAdversariesNumpy": _GUIDES,
    "FeatureAdversariesPyTorch": _GUIDES,
    "FeatureAdversariesTensorFlowV2": _GUIDES,
    "FrameSaliencyAttack": "needs video",
    "GeoDA": "calls np.mat, which NumPy 2 removed",
    "GRAPHITEBlackbox": "needs masks and target images",
    "GRAPHITEWhiteboxPyTorch": "needs masks and target images",
    "HighConfidenceLowUncertainty": "needs a Gaussian process",
    "ImperceptibleASR": _SPEECH,
    "ImperceptibleASRPyTorch": _SPEECH,
    "LaserAttack": "needs a laser generator object",
    "LowProFool": "needs tabular data",
    "MalwareGDTensorFlow": "needs malware binaries",
    "OverloadPyTorch": _OBJECTS,
    "OverTheAirFlickeringPyTorch": "needs video",
    "SNAL": _OBJECTS,
}
"""ART's attacks that cannot be used on image classifiers, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """The inputs and outputs of one attack, as in ART's source.

    ``reads`` is the meaning of ``generate(y=...)``: ``labels`` to move away from, ``targets`` to move towards, or
    nothing, because the attack moves away from the model's own ``predictions``. ``probabilities`` says that the attack
    computes with class probabilities; the others take logits or only the predicted class. ``batches`` says what an
    image may share a call with: ``any`` others, none (``one``), or ``all`` images of the set, because they share a
    perturbation or random draws. ``shared_target`` requires one target for all images, ``starts`` images to start from,
    which ART itself draws from a stream that cannot be seeded. ``radius`` is the parameter that is the radius of a
    ball, and ``norms`` are the norms that the attack implements, only the first if it has no such parameter, none if
    its norms have other names. ``inner_batches`` says that the attack's own ``batch_size`` is not a number of images.
    ``min_classes``, ``square`` and ``backend`` are its requirements on a model, and ``packages`` the packages it
    imports that ART does not install.
    """

    reads: Reads = "labels"
    batches: Batches = "any"
    probabilities: bool = False
    shared_target: bool = False
    starts: bool = False
    inner_batches: bool = False
    radius: str = ""
    norms: tuple[Norm, ...] = ("inf", 2, 1)
    min_classes: int = 2
    square: bool = False
    backend: str = ""
    packages: tuple[str, ...] = ()


_PGD = Traits(radius="eps")
_RANDOM_BATCH = Traits(radius="eps", batches="all")
TRAITS: Mapping[str, Traits] = {
    "AutoAttack": Traits(radius="eps", batches="all", min_classes=3, square=True, packages=("multiprocess",)),
    "AutoConjugateGradient": _RANDOM_BATCH,
    "AutoProjectedGradientDescent": _RANDOM_BATCH,
    "BasicIterativeMethod": Traits(radius="eps", norms=("inf",)),
    "BoundaryAttack": Traits(reads="predictions", batches="one", starts=True),
    "CarliniL0Method": Traits(batches="one"),
    "CarliniL2Method": Traits(),
    "CarliniLInfMethod": Traits(),
    "CompositeAdversarialAttackPyTorch": Traits(batches="all", backend="torch", packages=("kornia",)),
    "DeepFool": Traits(reads="predictions", batches="all"),
    "ElasticNet": Traits(),
    "FastGradientMethod": _PGD,
    "HopSkipJump": Traits(reads="predictions", batches="one", starts=True, norms=("inf", 2)),
    # ART has disabled it for TensorFlow (ART issue 2439).
    "MomentumIterativeMethod": Traits(radius="eps", backend="torch"),
    "NewtonFool": Traits(reads="predictions", probabilities=True),
    "PixelAttack": Traits(batches="one", probabilities=True, min_classes=3),
    "ProjectedGradientDescent": _PGD,
    "ProjectedGradientDescentNumpy": _PGD,
    "ProjectedGradientDescentPyTorch": Traits(radius="eps", backend="torch"),
    "ProjectedGradientDescentTensorFlowV2": Traits(radius="eps", backend="tensorflow"),
    # It scales a gradient by the norm of the gradients of the whole batch.
    "RescalingAutoConjugateGradient": Traits(radius="eps", batches="one"),
    "SaliencyMapMethod": Traits(reads="targets"),
    # It treats any labels it receives as targets.
    "ShadowAttack": Traits(reads="targets", batches="one", inner_batches=True),
    "SignOPTAttack": Traits(reads="predictions", batches="one", min_classes=3),
    "SimBA": Traits(batches="one", probabilities=True, square=True),
    "SpatialTransformation": Traits(reads="predictions", batches="all"),
    "SquareAttack": Traits(radius="eps", batches="all", norms=("inf", 2), square=True),
    "TargetedUniversalPerturbation": Traits(reads="targets", batches="all", shared_target=True, radius="eps"),
    # No ball: it truncates pixels to integer grey levels, which may leave the ball of radius th / 255.
    "ThresholdAttack": Traits(batches="one", probabilities=True, min_classes=3),
    "UniversalPerturbation": Traits(radius="eps", batches="all"),
    "VirtualAdversarialMethod": Traits(
        reads="predictions", batches="all", probabilities=True, radius="eps", norms=(2,)
    ),
    "Wasserstein": Traits(batches="one", norms=()),
    "ZooAttack": Traits(batches="one"),
}  # fmt: skip
"""The attacks that work on image classifiers."""

INNER: Mapping[str, str] = {
    "carlini": "CarliniL2Method",
    "carlini_inf": "CarliniLInfMethod",
    "deepfool": "DeepFool",
    "ead": "ElasticNet",
    "fgsm": "FastGradientMethod",
    "bim": "BasicIterativeMethod",
    "pgd": "ProjectedGradientDescent",
    "newtonfool": "NewtonFool",
    "simba": "SimBA",
    "vat": "VirtualAdversarialMethod",
}
"""The inner attacks of universal perturbations, by value of ``attacker``; ART's jsma would get labels as targets."""

DRAWS = ("num_random_init", "random_eps")
"""Parameters that make an attack draw random numbers for a whole batch."""


def batches(attack: str, values: Mapping[str, Plain]) -> Batches:
    """Return which images may share a call, given the values of an attack's parameters."""
    if attack == "AutoConjugateGradient" and values.get("loss_type") is not None:
        return "one"  # its steps scale with the gradient, and ART's own losses are means over a batch
    return "all" if any(values.get(name) for name in DRAWS) else TRAITS[attack].batches


def depends_on_batch_size(values: Mapping[str, Plain]) -> bool:
    """Return whether ART's random draws depend on its batch size, as with several random starts."""
    restarts = values.get("num_random_init")
    return isinstance(restarts, int) and restarts > 1


def extra_packages(attack: str, values: Mapping[str, Plain]) -> tuple[str, ...]:
    """Return the packages that an attack imports and ART does not install."""
    return (*TRAITS[attack].packages, *(("cma",) if values.get("es") == 0 else ()))
