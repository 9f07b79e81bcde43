"""Which scores and orders are shown, and the correlation of scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from temper.core.artefacts import Artefact
from temper.core.report_spec import FaultCurves, ScoreCorrelations, ScoreHistograms
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.results.intact_artefacts import IntactArtefacts
from temper.engine.results.model_comparisons import model_comparisons
from temper.engine.storage.store import Store
from temper.nn.adequacy.score_comparison import correlations
from temper.nn.adequacy.score_order import FaultOrder, InputScores
from temper.nn.shared_stages.input_scores import InputScoring
from temper.nn.shared_stages.test_priority import ScorePriority
from temper.system import backend

SCORED = """
name: scored
seeds: [1, 2]
axes: {eps: [0.1, 0.2]}
datasets: {digits: {type: digits}}
targets: {mlp: {type: dense, dataset: digits}}
generate: {fgsm: {type: fgsm, model: mlp, eps: $eps}}
evaluate:
  scores:
    type: scores
    models: [mlp]
    examples: [digits, fgsm]
    scores: [{type: entropy}, {type: margin}]
  priority: {type: prioritisation, models: [mlp], examples: [fgsm], scores: [{type: entropy}]}
"""


def published(graph: TaskGraph, store: Store, kind: type[InputScoring] | type[ScorePriority]) -> list[Task]:
    """Publish synthetic results of all tasks of a kind: the scores of the first are 1, of the second 2, ..."""
    tasks = [task for task in graph.tasks.values() if isinstance(task.component, kind)]
    for i, task in enumerate(tasks):
        name = task.component.score.tag  # type: ignore[attr-defined]
        made: Artefact = InputScores(name, np.full(4, i + 1.0), ())
        if kind is ScorePriority:
            made = FaultOrder(name, np.arange(4), np.array([True, False, False, False]), ())
        store.publish(task.fingerprint, made, {})
    return tasks


def test_first_point_of_each_model_and_set_is_shown(graph: Callable[..., TaskGraph], tmp_path: Path) -> None:
    whole, store = graph(SCORED), Store(tmp_path / "store")
    assert model_comparisons(whole, IntactArtefacts(store)) == []
    tasks = published(whole, store, InputScoring)
    assert len(tasks) == 2 * 2 + 2 * 4, "two scores of the digits by seed, and of fgsm by seed and eps"
    histograms, table = model_comparisons(whole, IntactArtefacts(store))
    assert isinstance(histograms, ScoreHistograms)
    assert isinstance(table, ScoreCorrelations)
    assert (histograms.name, histograms.sets) == ("mlp seed=1", ["digits", "fgsm eps=0.1"])
    assert histograms.scores == table.scores == ["entropy", "margin"]
    shown = [tasks[int(values[0]) - 1] for scores in histograms.values for values in scores]
    assert [(w.point.get("seed"), w.point.get("eps")) for w in shown] == [(1, None), (1, 0.1)] * 2
    published(whole, store, ScorePriority)
    *_, faults = model_comparisons(whole, IntactArtefacts(store))
    assert isinstance(faults, FaultCurves)
    assert {label: {name: line.tolist() for name, line in lines.items()} for label, lines in faults.curves.items()} == {
        "fgsm eps=0.1": {"entropy": [0, 1, 1, 1, 1]}
    }


def test_seed_dependent_score_belongs_to_the_same_set(graph: Callable[..., TaskGraph], tmp_path: Path) -> None:
    keras = backend.keras()
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    fixed = SCORED.replace(
        "type: dense, dataset: digits", f"type: saved, dataset: digits, path: {tmp_path / 'model.keras'}"
    )
    whole, store = graph(fixed.replace("{type: margin}", "{type: random}")), Store(tmp_path / "store")
    tasks = published(whole, store, InputScoring)
    assert {task.point.get("seed") for task in tasks} == {None, 1, 2}
    histograms, _ = model_comparisons(whole, IntactArtefacts(store))
    assert isinstance(histograms, ScoreHistograms)
    assert (histograms.name, histograms.sets) == ("mlp", ["digits", "fgsm eps=0.1"])


def test_scores_are_correlated_over_inputs_that_both_have() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 9, 60).astype(float), rng.normal(size=60)
    one[:5], two[3:9] = np.nan, np.nan
    table = correlations([one, two, np.zeros(60), None])
    assert table[0, 1] == table[1, 0] == pytest.approx(spearmanr(one[9:], two[9:]).statistic)
    assert np.diag(table)[:2] == pytest.approx([1, 1])
    assert np.isnan(table[2:]).all(), "the same for all, and not there"
