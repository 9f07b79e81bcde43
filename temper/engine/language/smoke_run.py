"""The smoke run: the same experiment on tiny data with few steps, under its own name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from temper.core.component import Component, fields_of
from temper.core.dataset import Dataset
from temper.engine.language.build import plain
from temper.engine.language.experiment import Experiment
from temper.engine.language.reference_checks import reference_problems

LARGEST_SIDE = 96
"""Side in pixels that images are scaled down to, if the file scales them and all their readers accept that size."""
SUFFIX = ".smoke"
"""The suffix of a smoke run's name."""


def shrink(experiment: Experiment) -> Experiment:
    """Return an experiment that touches every stage in seconds.

    Its parameters are part of every fingerprint and its name differs, so its artefacts and tables never mix with those of
    the real run. Published numbers are not expected of it.
    """
    return _on_smaller_images(
        replace(
            experiment,
            name=f"{experiment.name}{SUFFIX}",
            seeds=experiment.seeds[:1],
            axes={name: values[:1] for name, values in experiment.axes.items()},
            stages={
                name: replace(spec, raw=_cut(next(experiment.components(name)), spec.raw))
                for name, spec in experiment.stages.items()
            },
            tables=tuple(replace(table, where=_kept(table.where, experiment)) for table in experiment.tables),
            expected=(),
            smoke=True,
        )
    )


def _on_smaller_images(experiment: Experiment) -> Experiment:
    """Return the experiment on images of ``LARGEST_SIDE``, or the unchanged experiment if a stage does not accept these."""
    scaled = {
        name: replace(spec, raw={**spec.raw, "resize": LARGEST_SIDE})
        for name, spec in experiment.stages.items()
        if issubclass(spec.cls, Dataset) and isinstance(side := spec.raw.get("resize"), int) and side > LARGEST_SIDE
    }
    smaller = replace(experiment, stages={**experiment.stages, **scaled})
    return experiment if any(reference_problems(smaller, known=smaller.stages)) else smaller


def _cut(component: Component, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a component's values in a file, with its parameters and nested ones reduced to their limits."""
    instead = component.for_smoke()
    if type(instead) is not type(component):
        return plain(instead)
    cut = dict(raw) | {name: plain(instead)[name] for name in _differing(component, instead)}
    limits = component.smoke_limits()
    for field in fields_of(type(component)):
        value, written = getattr(component, field.name), raw.get(field.name, field.default)
        if _has_nested(value):
            cut[field.name] = _cut_nested(value, raw.get(field.name))
        elif isinstance(value, Mapping):
            cut |= {field.name: lowered} if (lowered := _lowered(value, limits)) != value else {}
        elif field.name in limits and not (isinstance(written, int) and written <= limits[field.name]):
            cut[field.name] = limits[field.name]
    return cut


def _has_nested(value: Any) -> bool:
    return any(isinstance(item, Component) for item in (value if isinstance(value, tuple) else (value,)))


def _cut_nested(value: Any, raw: Any) -> Any:
    """Return one or several nested components as values in a file, reduced; those not in the file are written out."""
    if isinstance(value, Component):
        return _cut(value, raw or plain(value))
    return [_cut(*pair) for pair in zip(value, raw or map(plain, value), strict=True)]


def _lowered(values: Mapping[str, Any], limits: Mapping[str, int]) -> dict[str, Any]:
    """Return plain values by name, with numbers reduced to their limits."""
    return {
        name: min(value, limits[name]) if isinstance(value, int) and name in limits else value
        for name, value in values.items()
    }


def _differing(component: Component, other: Component) -> Iterator[str]:
    """Yield the parameters in which two components of one type differ."""
    for field in fields_of(type(component)):
        if getattr(component, field.name) != getattr(other, field.name):
            yield field.name


def _kept(where: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
    """Return a table's conditions without those on an axis, of which the smoke run has one value."""
    return {key: value for key, value in where.items() if key not in experiment.axes}
