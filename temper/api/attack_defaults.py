"""Default steps of attacks that a Python call omits; an experiment file always states them.

Source: the defaults of Foolbox 3.3; those of PGD in the infinity norm are Madry et al. (2018) on MNIST: 40 steps of 0.01 at
eps 0.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temper.api.in_memory import plain
from temper.engine.language.written_values import fraction

_STEPS = {
    "bim": {"inf": (1 / 5, 10), 2: (1 / 5, 10), 1: (1 / 5, 10)},
    "pgd": {"inf": (1 / 30, 40), 2: (1 / 40, 50), 1: (1 / 40, 50)},
}
"""By attack and norm: the length of a step as a share of ``eps``, and the number of steps."""


def with_default_steps(name: str, parameters: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return an attack's parameters with ``eps_step`` and ``max_iter``, and what the caller must know of them (or "")."""
    stated = dict(parameters)
    eps = fraction(plain(stated.get("eps")))
    if name not in _STEPS or {"eps_step", "max_iter"} <= stated.keys():
        return stated, ""
    norms = _STEPS[name]
    norm = plain(stated.get("norm", "inf"))
    share, number = norms[norm] if norm in norms else norms["inf"]
    # An eps that is no number is refused, whatever the step.
    complete = {"eps_step": share * (eps if isinstance(eps, int | float) else 1), "max_iter": number} | stated
    length, steps = fraction(plain(complete["eps_step"])), plain(complete["max_iter"])
    if not all(isinstance(value, int | float) for value in (eps, length, steps)) or steps * length >= eps * (1 - 1e-9):
        return complete, ""
    default = "eps_step" if "max_iter" in stated else "max_iter"
    return (
        complete,
        f"{steps} steps of {length:g} reach {steps * length:g} of eps {eps:g}: {default} is a default; state it",
    )
