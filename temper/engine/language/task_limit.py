"""The number of tasks of an experiment, counted before any is created: axes multiply."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from temper.core.errors import KeyPath
from temper.core.families import Evaluation
from temper.engine.language.axis_points import SEED
from temper.engine.language.experiment import Experiment, StageSpec

MAX_TASKS = 500_000
"""Task limit of one experiment; planning so many takes about a minute and a gigabyte."""
_ADVICE = "take fewer values or seeds, or several files"


def own_problem(spec: StageSpec, axes: Mapping[str, tuple[Any, ...]], seeds: int) -> str:
    """Return the problem with the number of points on a stage's own axes; empty if there is none."""
    lengths = {axis: seeds if axis == SEED else len(axes.get(axis, "1")) for axis in sorted(spec.own_axes)}
    count = math.prod(lengths.values())
    if count <= MAX_TASKS:
        return ""
    factors = " x ".join(f"{length:,} of {axis}" for axis, length in lengths.items())
    return f"its axes make {count:,} tasks ({factors}); expected at most {MAX_TASKS:,}: {_ADVICE}"


def problem(experiment: Experiment, stages: Iterable[str]) -> tuple[str, KeyPath, str] | None:
    """Return (stage, path, message) where stages without a problem of their own have too many tasks together.

    The stage is the one with the most. A generator counts once, whatever parts of it are requested.
    """
    counts = {name: _tasks(experiment, name) for name in stages}
    if (total := sum(counts.values())) <= MAX_TASKS:
        return None
    most = max(counts, key=counts.__getitem__)
    lengths = " x ".join(
        f"{len(experiment.values(axis)):,} of {axis}" for axis in experiment.in_order(experiment.axes_of(most))
    )
    return (
        most,
        (),
        (
            f"the file makes {total:,} tasks, {counts[most]:,} of them of this stage ({lengths}); expected at most {MAX_TASKS:,}: "
            f"{_ADVICE}"
        ),
    )


def _tasks(experiment: Experiment, name: str) -> int:
    component = next(experiment.components(name), None)
    if not isinstance(component, Evaluation):
        return _points(experiment, experiment.axes_of(name))
    own = experiment.stages[name].own_axes
    return sum(_points(experiment, own | experiment.axes_read(cell)) for cell in component.expand())


def _points(experiment: Experiment, axes: Iterable[str]) -> int:
    return math.prod(len(experiment.values(axis)) for axis in axes)
