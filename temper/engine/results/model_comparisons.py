"""Pictures that compare the artefacts of a kind of one model, by their own ``comparison``: scores, orders of inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from temper.core.artefacts import ComparedArtefact
from temper.core.report_spec import Picture
from temper.engine.planning.bound_component import show_value
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.results.intact_artefacts import IntactArtefacts

MODELS, SETS = 4, 6
"""Models that have pictures, and sets of inputs in each."""
Sets = dict[str, dict[str, ComparedArtefact]]
"""The artefacts of a model, by set of inputs and by their names."""


def model_comparisons(graph: TaskGraph, sound: IntactArtefacts) -> list[Picture]:
    """Return the pictures of each kind of compared artefact, model by model."""
    found: list[Picture] = []
    for kind in dict.fromkeys(task.component.produces for task in graph.tasks.values()):
        if issubclass(kind, ComparedArtefact):
            for model, sets in _by_model(graph, sound, kind):
                with sound.showing(model):
                    found += kind.comparison(model, sets)
    return found


@dataclass(frozen=True)
class _Place:
    """Where a finished task belongs: the task of the model, and the label of the set of inputs."""

    model: str
    inputs: str

    @classmethod
    def of(cls, graph: TaskGraph, task: Task) -> _Place:
        component: Any = task.component
        model = graph.tasks[task.inputs[str(component.model)].fingerprint]
        # The set's own axes: a score may depend on the seed where the set does not.
        point = graph.tasks[task.inputs[str(component.examples)].fingerprint].point
        axes = [f"{axis}={show_value(value)}" for axis, value in point.items() if axis not in model.point]
        return cls(model.fingerprint, " ".join([component.examples.label, *axes]))


def _by_model(graph: TaskGraph, sound: IntactArtefacts, kind: type[ComparedArtefact]) -> Iterator[tuple[str, Sets]]:
    """Yield the artefacts of each model; of several points of a model or of a set, those of the first that is finished."""
    found: dict[str, dict[str, Sets]] = {}
    seen: set[tuple[str, str, str]] = set()
    for task in graph.tasks.values():
        if task.component.produces is not kind or not sound.has(task):
            continue
        place = _Place.of(graph, task)
        stage = graph.tasks[place.model].stage
        # Of a model that varies over axes the first is shown, and of a set likewise.
        if next(iter(found.setdefault(stage, {place.model: {}}))) != place.model:
            continue
        if (artefact := sound.load(task, kind)) is None:
            continue
        key = (stage, task.component.examples.label, artefact.name)  # type: ignore[attr-defined]
        if key not in seen:
            seen.add(key)
            found[stage][place.model].setdefault(place.inputs, {})[artefact.name] = artefact
    for models in islice(found.values(), MODELS):
        for model, sets in models.items():
            yield graph.tasks[model].label, dict(islice(sets.items(), SETS))
