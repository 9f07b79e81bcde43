"""``on_out_of_memory:`` of an experiment file: the reduced settings with which a stage out of memory is retried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from temper.core.component import Field, fields_of
from temper.core.errors import KeyPath, did_you_mean
from temper.engine.language.experiment import Experiment

KEY = "on_out_of_memory"


def divisors(data: Mapping[str, Any]) -> dict[str, int]:
    """Return the divisors by key, of data that satisfy the schema."""
    return {name: int(value.removeprefix("/")) for name, value in data.get(KEY, {}).items()}


def problems(experiment: Experiment, data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield (path, message) for every key that matches nothing in the experiment."""
    for key in data.get(KEY, {}):
        stage, _, name = key.rpartition(".")
        if stage and stage not in experiment.stages:
            yield (KEY, key), f"no stage is called '{stage}'{did_you_mean(stage, experiment.stages)}"
        elif stage and name not in (known := {field.name for field in _numbers(experiment, stage)}):
            yield (KEY, key), f"'{stage}' has no whole number called '{name}'{did_you_mean(name, known)}"
        elif not stage and not any(name in _at_once(experiment, stage) for stage in experiment.stages):
            having = [stage for stage in experiment.stages if name in {f.name for f in _numbers(experiment, stage)}]
            advice = f"; name the stage, if its numbers may change: {having[0]}.{name}" if having else ""
            yield (KEY, key), f"no stage has a '{name}' that says only how much is worked on at once{advice}"


def _numbers(experiment: Experiment, stage: str) -> Iterator[Field]:
    """Yield the fields with whole numbers of a stage, of its nested components and of what prepares it."""
    for component in experiment.components(stage):
        for whole in (component, *component.preparations().values()):
            for part in whole.with_nested():
                yield from (field for field in fields_of(type(part)) if field.kind.name == "int")


def _at_once(experiment: Experiment, stage: str) -> set[str]:
    return {field.name for field in _numbers(experiment, stage) if field.at_once}
