"""Temper from Python: run experiments and read their results, or attack and measure a model in memory, in one call each.

Importing this module imports neither a framework nor pandas; what a name needs is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from temper.api.experiments_in_python import RunPlan, plan, run
    from temper.api.one_call import attack, coverage, scores
    from temper.api.run_results import RunResults
    from temper.api.run_results import open_results as open
    from temper.core.errors import SpecError, StageError

_HOMES = {
    "run": "temper.api.experiments_in_python:run",
    "plan": "temper.api.experiments_in_python:plan",
    "RunPlan": "temper.api.experiments_in_python:RunPlan",
    "open": "temper.api.run_results:open_results",
    "RunResults": "temper.api.run_results:RunResults",
    "attack": "temper.api.one_call:attack",
    "coverage": "temper.api.one_call:coverage",
    "scores": "temper.api.one_call:scores",
    "SpecError": "temper.core.errors:SpecError",
    "StageError": "temper.core.errors:StageError",
}

__all__ = [  # noqa: RUF022 - in the order of the page
    "run", "plan", "open", "attack", "coverage", "scores", "RunResults", "RunPlan", "SpecError", "StageError",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("temper.system.installation").version()
    if name not in _HOMES:
        raise AttributeError(f"module 'temper' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(":")
    found = globals()[name] = getattr(import_module(module), attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
