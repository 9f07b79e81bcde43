"""Warnings about attacks that look too weak, and about tasks that deviate from the experiment file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from temper.core.component import Plain
from temper.core.display_names import label
from temper.core.report_spec import ReportedExperiment
from temper.engine.tables.cells import missing

STRENGTHS = ("eps", "max_iter", "num_random_init")  # parameters that can only make an attack stronger as they grow
ZERO_GRADIENTS = 0.1  # share of zero entries above which a gradient attack cannot be trusted

Rows = Sequence[Mapping[str, Any]]


def warnings(results: Rows, experiment: ReportedExperiment) -> list[str]:
    """Return one sentence for every attack that looks too weak, and for every doubtful task.

    A weak attack gets worse where it should get better, or has no gradient; a doubtful task ran with reduced settings,
    is damaged, or has a remark of its stage.

    Source: Carlini et al. (2019), On Evaluating Adversarial Robustness, sections 4 and 5.
    """
    found = [
        f"{task}: out of memory, so it ran with {what}. "
        "With more memory, --force recomputes it with the settings of the file."
        for task, what in experiment.reduced.items()
    ]
    found += [
        f"{task}: the stored artefact is corrupted and not shown; --force recomputes it." for task in experiment.damaged
    ]
    found += experiment.remarks
    for axis, parameter in experiment.strength.items():
        if parameter in STRENGTHS:
            found += _accuracy_rises(results, axis, parameter, experiment)
    return found + _zero_gradients(results, experiment)


def _accuracy_rises(results: Rows, axis: str, parameter: str, experiment: ReportedExperiment) -> list[str]:
    """Return a sentence for each attack under which accuracy rises beyond its interval as the attack gets stronger."""
    # Ungrouped: among the accuracies of many classes, some rise by chance.
    accuracy = [
        row
        for row in results
        if row["metric"].endswith("accuracy")
        and missing(row["group"])
        and not missing(row.get(axis))
        and not missing(row["upper"])
    ]
    others = [name for name in experiment.axes if name != axis]
    groups = _grouped(accuracy, ["stage", "metric", "model", "examples", *others])
    sentences = []
    for key, rows in groups.items():
        model, examples = key[2:4]
        # Another value of such an axis is another model, which may be more robust.
        if axis in experiment.model_axes.get(str(model), ()):
            continue
        points = _points(rows, axis)
        rises = [
            (high[1] - low[1], low, high)
            for i, low in enumerate(points)
            for high in points[i + 1 :]
            if high[1] > low[2]
        ]
        if rises:
            _, low, high = max(rises)
            sentences.append(
                f"{_where(model, examples, dict(zip(others, key[4:], strict=True)))}: {key[1]} rises from "
                f"{low[1]:.2%} at {axis} {label(low[0])} to {high[1]:.2%} at {axis} {label(high[0])}, above the "
                f"interval's upper end {low[2]:.2%}. More {parameter} cannot make an attack weaker: "
                "look for masked gradients, or give it more steps."
            )
    return sentences


def _zero_gradients(results: Rows, experiment: ReportedExperiment) -> list[str]:
    """Return a sentence for each model whose gradients are largely zero, at the axis values with the largest share."""
    axes = list(experiment.axes)
    groups = _grouped([row for row in results if row["metric"] == "zero_gradients"], ["stage", "model", "examples"])
    sentences = []
    for (_, model, examples), rows in groups.items():
        shares: dict[tuple[Plain, ...], list[float]] = defaultdict(list)
        for row in rows:
            shares[_values(row, axes)].append(row["value"])
        point, share = max(((p, fmean(values)) for p, values in shares.items()), key=lambda pair: pair[1])
        if share > ZERO_GRADIENTS:
            sentences.append(
                f"{_where(model, examples, dict(zip(axes, point, strict=True)))}: {share:.2%} of the gradient's "
                "entries are exactly zero, so gradient attacks fail there and the accuracy is only an upper bound."
            )
    return sentences


def _grouped(results: Rows, names: Sequence[str]) -> dict[tuple[Plain, ...], list[Mapping[str, Any]]]:
    groups: dict[tuple[Plain, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in results:
        groups[_values(row, names)].append(row)
    return groups


def _values(row: Mapping[str, Any], names: Sequence[str]) -> tuple[Plain, ...]:
    return tuple(None if missing(row.get(name)) else row[name] for name in names)


def _points(rows: Rows, axis: str) -> list[tuple[float, float, float]]:
    """Return (axis value, accuracy, upper end of its interval), each a mean over seeds, by axis value."""
    at: dict[float, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        at[row[axis]].append(row)
    return [(x, fmean(r["value"] for r in at[x]), fmean(r["upper"] for r in at[x])) for x in sorted(at)]


def _where(model: Plain, examples: Plain, axes: Mapping[str, Plain]) -> str:
    point = ", ".join(f"{axis} {label(value)}" for axis, value in axes.items() if value is not None)
    return " under ".join(filter(None, map(label, (model, examples)))) + (f" ({point})" if point else "")
