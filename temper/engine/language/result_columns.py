"""The columns that the results of an evaluation vary over, known before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from temper.core.component import Component, Plain, Ref, fields_of
from temper.core.display_names import display_name
from temper.core.errors import KeyPath
from temper.core.families import Evaluation
from temper.core.stage import Stage
from temper.engine.language.axis_causes import AxisCauses
from temper.engine.language.axis_points import SEED
from temper.engine.language.build import map_references
from temper.engine.language.experiment import Experiment

Varies = dict[str, tuple[Plain, ...]]
LABELS = ("model", "examples")


def varies(experiment: Experiment, name: str) -> Varies:
    """Return the columns the results of an evaluation vary over, each with its values in file order."""
    found: dict[str, dict[Plain, None]] = {level: {} for level in LABELS}
    axes = set(experiment.stages[name].own_axes)
    cls = experiment.stages[name].cls
    assert issubclass(cls, Evaluation)
    for component in experiment.components(name):
        assert isinstance(component, Evaluation)
        for cell in component.expand():
            axes |= experiment.axes_read(cell)
            labels = [(level, label) for level, label in cell.about().items()] + list(_kept(experiment, cell))
            for level, label in labels:
                found[level].setdefault(label)
    columns: Varies = {level: tuple(labels) for level, labels in found.items() if labels}
    columns["metric"] = cls.metrics
    columns |= {axis: experiment.values(axis) for axis in experiment.axes if axis in axes}
    return columns | ({SEED: experiment.seeds} if SEED in axes else {})


def _kept(experiment: Experiment, cell: Evaluation) -> Iterator[tuple[str, Plain]]:
    """Yield the labels of the results that a cell reads, of the levels that it does not gather."""
    for ref in cell.references():
        if experiment.is_gathered(ref):
            columns = varies(experiment, ref.stage)
            for level in LABELS:
                yield from ((level, label) for label in columns.get(level, ()) if not cell.gathers(level))


def unsuited(experiment: Experiment) -> Iterator[tuple[KeyPath, str]]:
    """Yield (path, message) for every evaluation that cannot use the results it reads."""
    for name, spec in experiment.stages.items():
        points = list(experiment.points(spec.own_axes))
        causes = AxisCauses(points)
        for point in points:
            component = experiment.component(name, point)
            for ref in component.references() if isinstance(component, Evaluation) else ():
                if experiment.is_gathered(ref):
                    assert isinstance(component, Evaluation)
                    for field, message in component.suits(varies(experiment, ref.stage)):
                        causes.add((field,) if field else (), message, point)
        yield from (((spec.section, name, *place), message) for place, message in causes.merged())


def repeated(experiment: Experiment) -> Iterator[tuple[KeyPath, str]]:
    """Yield (path, message) for every list of an evaluation with a duplicate, at any point of the axes."""
    for name, spec in experiment.stages.items():
        if issubclass(spec.cls, Evaluation):
            at_points = [dict.fromkeys(_twice(component)) for component in experiment.components(name)]
            for field, text in at_points[0]:
                if all((field, text) in found for found in at_points):
                    yield (spec.section, name, field), f"'{text}' is named twice; name each once"


def _twice(component: Stage) -> Iterator[tuple[str, str]]:
    assert isinstance(component, Evaluation)
    if _has_repeated_cells(component):
        yield from _repeated_items(component)


def _has_repeated_cells(evaluation: Evaluation) -> bool:
    cells = [_with_parts(cell, evaluation) for cell in evaluation.expand()]
    return any(cell in cells[:i] for i, cell in enumerate(cells))


def _repeated_items(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Yield (field, duplicate) for the lists of an evaluation."""
    whole = _with_parts(evaluation, evaluation)
    for field in fields_of(type(evaluation)):
        items, stated = (getattr(one, field.name) if field.kind.name == "many" else () for one in (evaluation, whole))
        for i, item in enumerate(items):
            if stated[i] in stated[:i]:
                yield field.name, display_name(item) if isinstance(item, Component) else str(item)


def _with_parts(cell: Evaluation, evaluation: Evaluation) -> Evaluation:
    """Return a cell with the part of every reference stated: `pgd` and `pgd.test` are the same examples."""

    def stated(field: str, ref: Ref[Any]) -> Ref[Any]:
        return dataclasses.replace(ref, part=ref.part or evaluation.part_of(field))  # type: ignore[arg-type] # or "definition"

    return map_references(cell, stated)
