"""What of scores and orders there is to look at: of each model the first that is finished, set by set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Artefact
from temper.core.report_spec import FaultCurves, ScoreCorrelations, ScoreHistograms
from temper.engine.planning.bound_component import show_value
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.results.intact_artefacts import IntactArtefacts
from temper.nn.adequacy.score_order import FaultOrder, InputScores

MODELS, SETS = 4, 6
"""Models that have pictures, and sets of inputs in each."""
A = TypeVar("A", InputScores, FaultOrder)
Sets = dict[str, dict[str, A]]
"""What there is of a model, by set and by the name of the score or criterion."""


def score_pictures(graph: TaskGraph, sound: IntactArtefacts) -> list[ScoreHistograms | ScoreCorrelations | FaultCurves]:
    """Return the distributions of scores, how they agree, and how soon their orders find faults, model by model."""
    found: list[ScoreHistograms | ScoreCorrelations | FaultCurves] = []
    for model, scored in _by_model(graph, sound, InputScores):
        with sound.showing(model):
            found += _of_scores(model, scored)
    for model, ordered in _by_model(graph, sound, FaultOrder):
        with sound.showing(model):
            curves = {label: {name: order.found for name, order in orders.items()} for label, orders in ordered.items()}
            curves = {label: lines for label, lines in curves.items() if any(line[-1] for line in lines.values())}
            if curves:
                found.append(FaultCurves(name=model, curves=curves))
    return found


def _of_scores(model: str, scored: Sets[InputScores]) -> list[ScoreHistograms | ScoreCorrelations]:
    names = list(dict.fromkeys(name for scores in scored.values() for name in scores))
    values = [
        [np.asarray(scores[name].values) if name in scores else np.zeros(0) for scores in scored.values()]
        for name in names
    ]
    histograms = ScoreHistograms(name=model, sets=list(scored), scores=names, values=values)
    if len(names) < 2:
        return [histograms]
    agree = [correlations([scores.get(name) for name in names]) for scores in scored.values()]
    return [histograms, ScoreCorrelations(name=model, sets=list(scored), scores=names, correlations=agree)]


def correlations(scored: Sequence[InputScores | None]) -> NDArray[np.float64]:
    """Return Spearman's rank correlation of scores of the same inputs, float64 (k, k), each over what both have judged.

    nan where there is a score of fewer than three inputs, or one that is the same for all.

    Source: Spearman (1904), The proof and measurement of association between two things.
    """
    k = len(scored)
    table = np.full((k, k), np.nan)
    for i, one in enumerate(scored):
        for j, two in enumerate(scored[: i + 1]):
            if one is None or two is None:
                continue
            both = ~(np.isnan(one.values) | np.isnan(two.values))
            ranks = [_ranks(values.values[both]) for values in (one, two)]
            if both.sum() >= 3 and all(np.ptp(rank) > 0 for rank in ranks):
                table[i, j] = table[j, i] = np.corrcoef(ranks[0], ranks[1])[0, 1]
    return table


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value, equal ones sharing the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


@dataclass(frozen=True)
class _Place:
    """Where a finished work belongs: the model's own work, and what the set of inputs is called."""

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


def _by_model(graph: TaskGraph, sound: IntactArtefacts, kind: type[A]) -> Iterator[tuple[str, Sets[A]]]:
    """Yield what there is of each model, of several points of a model and of a set the first that is finished."""
    found: dict[str, dict[str, Sets[A]]] = {}
    seen: set[tuple[str, str, str]] = set()
    for task in graph.tasks.values():
        made: type[Artefact] = task.component.produces
        if made is not kind or not sound.has(task):
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
