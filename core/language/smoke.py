"""The smoke run: the same experiment on tiny data with few steps, under a name of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.component import fields_of
from core.dataset import Dataset
from core.language.experiment import Experiment, StageSpec

TINY: Mapping[str, int] = {"train_size": 200, "test_size": 50, "epochs": 1, "max_iter": 2, "num_random_init": 1}
"""The largest value each of these parameters has in a smoke run, wherever it occurs."""


def shrink(experiment: Experiment) -> Experiment:
    """Return an experiment that touches every stage in seconds.

    Its parameters are part of every fingerprint and its name differs, so its artefacts and tables never mix with
    those of the real run. Published numbers are not expected of it.
    """
    return replace(
        experiment,
        name=f"{experiment.name}.smoke",
        seeds=experiment.seeds[:1],
        axes={name: values[:1] for name, values in experiment.axes.items()},
        stages={name: replace(spec, raw=_tiny(spec, experiment)) for name, spec in experiment.stages.items()},
        tables=tuple(replace(table, where=_kept(table.where, experiment)) for table in experiment.tables),
        expected=(),
        smoke=True,
    )


def _tiny(spec: StageSpec, experiment: Experiment) -> dict[str, Any]:
    raw = dict(spec.raw)
    limits = dict(TINY)
    component = next(experiment.components(spec.name))
    if isinstance(component, Dataset):
        # A data set may have fewer images than that; one of unknown size keeps what its file says.
        sizes = component.sizes() or (0, 0)
        limits |= {name: min(limits[name], size) for name, size in zip(("train_size", "test_size"), sizes, strict=True)}
    for field in fields_of(spec.cls):
        if limits.get(field.name):
            value = raw.get(field.name, field.default)
            if not isinstance(value, int) or value > limits[field.name]:
                raw[field.name] = limits[field.name]
    return raw


def _kept(where: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
    """Return a table's conditions without those on an axis, of which the smoke run has one value."""
    return {key: value for key, value in where.items() if key not in experiment.axes}
