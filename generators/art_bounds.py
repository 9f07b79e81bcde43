"""The valid parameters of ART's attacks, checked before ART is imported."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from temper.core.component import Plain, Range
from temper.core.threat_model import Norm, ThreatModel, step_problem
from temper.generators.art_traits import INNER, TRAITS

_COUNT, _ANY_COUNT = Range(ge=1), Range(ge=0)
_POSITIVE, _NOT_NEGATIVE = Range(gt=0), Range(ge=0)
_SHARE, _INSIDE = Range(gt=0, le=1), Range(gt=0, lt=1)
BOUNDS: Mapping[str, Range] = {
    "alpha": _POSITIVE, "batch_size": _COUNT, "beta": _NOT_NEGATIVE, "binary_search_steps": _COUNT,
    "confidence": _NOT_NEGATIVE, "conjugate_sinkhorn_max_iter": _COUNT, "const_factor": Range(gt=1), "decay": _NOT_NEGATIVE,
    "decrease_factor": _INSIDE, "delta": _SHARE, "eps": _POSITIVE, "eps_factor": Range(gt=1), "eps_iter": _COUNT,
    "eps_step": _POSITIVE, "epsilon": _SHARE, "eta": _SHARE, "finite_diff": _SHARE, "freq_dim": _COUNT, "gamma": _SHARE,
    "init_eval": _COUNT, "init_size": _COUNT, "initial_const": _POSITIVE, "k": _COUNT, "kernel_size": _COUNT,
    "lambda_c": _NOT_NEGATIVE, "lambda_s": _NOT_NEGATIVE, "lambda_tv": _NOT_NEGATIVE, "largest_const": _POSITIVE,
    "learning_rate": _POSITIVE, "max_doubling": _COUNT, "max_eval": _COUNT, "max_halving": _COUNT, "max_inner_iter": _COUNT,
    "max_iter": _COUNT, "max_rotation": Range(ge=0, le=180), "max_translation": Range(ge=0, le=100), "min_epsilon": _NOT_NEGATIVE,
    "nb_grads": _COUNT, "nb_parallel": _COUNT, "nb_random_init": _ANY_COUNT, "nb_restarts": _COUNT, "nb_steps": _COUNT,
    "num_random_init": _ANY_COUNT, "num_rotations": _COUNT, "num_translations": _COUNT, "num_trial": _COUNT, "p": _COUNT,
    "p_init": _INSIDE, "projected_sinkhorn_max_iter": _COUNT, "query_limit": _COUNT,
    "regularization": _POSITIVE, "sample_size": _COUNT, "sigma": _SHARE, "step_adapt": _INSIDE, "stride": _COUNT,
    "th": Range(ge=1, le=255), "theta": Range(ge=-1, le=1), "variable_h": _SHARE,
    "DeepFool.epsilon": Range(ge=0, le=1), "PixelAttack.th": _COUNT, "SignOPTAttack.beta": _POSITIVE,
    "TargetedUniversalPerturbation.delta": Range(ge=0, le=1), "UniversalPerturbation.delta": Range(ge=0, le=1),
}  # fmt: skip
"""Bounds of numbers by parameter, or by attack and parameter for exceptions.

Lengths are in input units, where a pixel goes from 0 to 1.
"""

CHOICES: Mapping[str, tuple[Plain, ...]] = {
    "attack": ("px", "dct"),
    "attack_order": ("fixed", "random", "scheduled"),
    "attacker": tuple(INNER),
    "ball": ("inf", "1", "2", "wasserstein"),
    "decision_rule": ("EN", "L1", "L2"),
    "es": (0, 1),
    "loss_type": (None, "cross_entropy", "difference_logits_ratio"),
    "order": ("random", "diag"),
    "TargetedUniversalPerturbation.attacker": ("fgsm", "simba"),
    "Wasserstein.norm": ("inf", "1", "2", "wasserstein"),
    "parallel_pool_size": (0,),
    "ZooAttack.batch_size": (1,),
}
"""Choices of parameters that take one of a few values, by the same names."""


def norm_of(attack: str, values: Mapping[str, Plain]) -> Norm | None:
    """Return the norm that an attack works in, or ``None`` if it implements no such norm."""
    norms = TRAITS[attack].norms
    value = values.get("norm", norms[0] if norms else None)
    known: Norm | None = "inf" if value in ("inf", math.inf) else 2 if value == 2 else 1 if value == 1 else None
    return known if known in norms else None


def ball(attack: str, values: Mapping[str, Plain]) -> ThreatModel | None:
    """Return the ball that an attack stays in, if its parameters define one."""
    traits, norm = TRAITS[attack], norm_of(attack, values)
    radius = values.get(traits.radius)
    if norm is None or isinstance(radius, bool) or not isinstance(radius, int | float):
        return None
    return ThreatModel(norm, float(radius))


def problems(attack: str, values: Mapping[str, Plain]) -> Iterator[tuple[str, str]]:
    """Yield (parameter, message) for every invalid value; ``values`` include the defaults."""
    for name, value in values.items():
        choices = CHOICES.get(f"{attack}.{name}", CHOICES.get(name))
        if choices and value not in choices:
            yield name, _one_of(choices, value)
        bounds = BOUNDS.get(f"{attack}.{name}", BOUNDS.get(name))
        checked_as_radius = name == TRAITS[attack].radius and ball(attack, values) is not None  # by `_lengths`
        if bounds and not checked_as_radius and isinstance(value, int | float) and not bounds.contains(value):
            yield name, f"expected {bounds}, received {value:g}"
    if values.get("theta") == 0:
        yield "theta", "expected a number other than 0, which would change no pixel"
    if "norm" in values and TRAITS[attack].norms and norm_of(attack, values) is None:
        yield "norm", _one_of(TRAITS[attack].norms, values["norm"])
    yield from _radius_problems(attack, values)


def _one_of(choices: Sequence[Plain], value: Plain) -> str:
    named = ", ".join("null" if choice is None else str(choice) for choice in choices)
    return f"expected {'one of ' if len(choices) > 1 else ''}{named}, received {value!r}"


def _radius_problems(attack: str, values: Mapping[str, Plain]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the radius, and with the step relative to it."""
    threat, step = ball(attack, values), values.get("eps_step")
    if threat is None:
        return
    if problem := threat.problem():
        yield TRAITS[attack].radius, problem
    steps = "max_iter" in values or attack == "AutoAttack" or values.get("minimal")
    if steps and isinstance(step, int | float) and (problem := step_problem(step, threat.eps)):
        yield "eps_step", problem


def data_problems(attack: str, values: Mapping[str, Plain], shape: tuple[int, int, int], classes: int) -> Iterator[str]:
    """Yield why an attack cannot work on images of a shape (height, width, channels), or on so few classes."""
    traits, (height, width, _) = TRAITS[attack], shape
    ratio = values.get("loss_type") == "difference_logits_ratio"
    if classes < (least := 3 if ratio else traits.min_classes):
        why = " (loss_type: difference_logits_ratio)" if ratio else ""
        yield f"needs at least {least} classes{why}; the data set has {classes}"
    if traits.square and height != width:
        yield f"needs square images; those of the data set are {height} x {width}"
    elif attack in ("SquareAttack", "AutoAttack") and (problem := _square_problem(attack, values, height)):
        yield problem
    if attack == "SimBA" and (width - int(values["freq_dim"] or 0)) % int(values["stride"] or 1):
        yield f"needs an image side ({width}) of freq_dim plus a multiple of stride"
    if (threat := ball(attack, values)) and (problem := threat.size_problem(shape)):
        yield f"{traits.radius}: {problem}"


def _square_problem(attack: str, values: Mapping[str, Plain], side: int) -> str:
    """Return why ART cannot place the largest square of its square attack on an image, if it cannot."""
    tile = round(math.sqrt(float(values.get("p_init") or 0.8)) * side)
    norm = norm_of(attack, values)
    if norm == 1:
        return ""  # AutoAttack's square attack has no effect then
    if norm == 2:
        # ART's L2 square is odd and at least 3 pixels wide.
        tile = max(tile, 3) + (max(tile, 3) % 2 == 0)
    if tile >= side or (norm == 2 and side < 10):
        return f"its square attack in norm {norm} has no room to move a square of {tile} pixels on a side of {side}"
    return ""
