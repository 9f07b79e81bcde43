"""Checks every stage at every point of its axes, by its schema and with the component's own checks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from temper.core.errors import KeyPath
from temper.engine.catalogue.schema_validation import Validator
from temper.engine.catalogue.sections import SECTIONS
from temper.engine.language.axis_causes import AxisCauses
from temper.engine.language.axis_points import axes_in, shows_new_values, value_at
from temper.engine.language.experiment import Experiment, StageSpec


def stage_problems(
    experiment: Experiment, validator: Validator, skip: Collection[str]
) -> Iterator[tuple[str, KeyPath, str]]:
    """Yield (stage, path within the stage, message) for every problem of the stages that are not in ``skip``.

    The components that are checked are those of the experiment: each is built here, once.
    """
    for name, spec in experiment.stages.items():
        if name not in skip:
            yield from ((name, *problem) for problem in _problems(experiment, spec, validator))


def _problems(experiment: Experiment, spec: StageSpec, validator: Validator) -> Iterator[tuple[KeyPath, str]]:
    points = list(experiment.points(spec.own_axes))
    causes = AxisCauses(points)
    malformed: list[frozenset[tuple[str, str]]] = []
    for point, is_new in zip(points, shows_new_values(spec.axis_places, points), strict=True):
        shown = frozenset((axis, repr(value)) for axis, value in point.items())
        if any(bad <= shown for bad in malformed):
            continue
        values = spec.values(point)
        # Without axes, the check of the whole file has reported what the schema finds.
        findings = list(validator.component(SECTIONS[spec.section], values)) if point and is_new else []
        for place, message in findings:
            axes = [axis for axis in axes_in(value_at(spec.raw, place)) if axis in point] or list(point)
            causes.add(place, message, point, axes)
            malformed.append(frozenset((axis, repr(point[axis])) for axis in axes))
        if findings or any(isinstance(value, list | Mapping) for value in point.values()):
            continue
        for place, part in spec.component(point, values).with_places():
            for field, message in part.check():
                causes.add((*place, field) if field else place, message, point)
    yield from causes.merged()
