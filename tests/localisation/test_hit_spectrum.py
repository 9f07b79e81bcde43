"""Spectra against a plain loop over images and units, and the localisers on a model worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.artefacts.rankings import NO_UNIT, NeuronRanking
from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import Run, prepared
from temper.localisation import hit_spectrum as module
from temper.localisation.controls import LeastSuspicious, RandomNeurons
from temper.localisation.hit_spectrum import ConvUnit, Spectrum, count
from temper.localisation.suspiciousness import DStar, Ochiai, Tarantula
from temper.localisation.suspiciousness_measures import tarantula
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.units import Probe, Values
from temper.system import backend


def network() -> Classifier:
    keras = backend.keras()
    layers = keras.layers
    stack = [keras.Input((6, 6, 1)), layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(4, 2)]
    model = keras.Sequential([*stack, layers.Flatten(), layers.Dense(5, "tanh"), layers.Dense(3)])
    rng = np.random.default_rng(51)  # the same on every backend, with several predicted classes
    model.set_weights([rng.normal(scale=0.5, size=weights.shape) for weights in model.get_weights()])
    return Classifier(model)


def examples(n: int = 40, shape: tuple[int, int, int] = (6, 6, 1), classes: int = 3) -> Examples:
    rng = np.random.default_rng(1)
    x = rng.random((n, *shape), np.float32)
    return Examples(x=x, y=rng.integers(classes, size=n), index=np.arange(n))


def run_of(artefacts: dict[str, Any], seed: int = 0) -> Run:
    return Run("it", seed, None, lambda ref: artefacts[str(ref)], lambda ref: {}, lambda *_: None)


def made(localiser: Any, model: Classifier, data: Examples, seed: int = 0) -> NeuronRanking:
    inputs: dict[str, Any] = {"model": model, "data": data}
    for name, before in localiser.preparations().items():
        inputs[str(prepared(name))] = before.produce(run_of(inputs))
    ranking = localiser.produce(run_of(inputs, seed))
    assert isinstance(ranking, NeuronRanking)
    return ranking


COMMON: dict[str, Any] = {"model": Ref("model"), "data": Ref("data")}


@pytest.mark.parametrize("values", ["pre", "post"])
@pytest.mark.parametrize("conv_unit", ["map_mean", "per_position"])
@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_counts_equal_those_of_a_loop(
    values: Values, conv_unit: ConvUnit, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_programs, "BATCH", 16)
    model, data = network(), examples()
    found = count(model, data, threshold, values, conv_unit)
    *layers, logits = map(backend.keras().ops.convert_to_numpy, Probe(model.model, values).model(data.x))
    right = logits.argmax(axis=1) == data.y
    counts: list[list[list[int]]] = []
    for label in range(3):
        counts.append([])
        for layer in layers:
            if conv_unit == "map_mean" and layer.ndim == 4:
                cells = layer.mean(axis=(1, 2))
            else:
                cells = layer.reshape(len(layer), -1)
            for cell in cells.T:
                four = [0, 0, 0, 0]
                for value, is_right, y in zip(cell, right, data.y, strict=True):
                    if y == label:
                        four[2 * is_right + (0 if value > threshold else 1)] += 1
                counts[-1].append(four)
    assert np.array_equal(found.counts, counts)
    assert found.failed.tolist() == [int((~right & (data.y == c)).sum()) for c in range(3)]


def test_the_score_of_a_map_is_the_mean_over_its_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2000)  # in batches of few images
    model, data = network(), examples()
    found = count(model, data, 0.0, "post", "per_position")
    first = tarantula(found.counts)[:, : 4 * 4 * 3].reshape(3, 4, 4, 3).mean(axis=(1, 2))
    scores = found.scores(tarantula)
    alive = found.localisable
    np.testing.assert_allclose(scores[alive, :3], first[alive])
    assert scores.shape == (3, 12)
    assert found.unit_counts.shape == (3, 12, 0)


@pytest.mark.parametrize("conv_unit", ["map_mean", "per_position"])
def test_a_stored_spectrum_is_restored(conv_unit: ConvUnit, tmp_path: Path) -> None:
    found = count(network(), examples(), 0.0, "pre", conv_unit)
    found.save(tmp_path)
    again = Spectrum.load(tmp_path)
    assert (again.layers, again.conv_unit) == (found.layers, conv_unit)
    assert np.array_equal(again.counts, found.counts)


def test_positions_where_nothing_can_be_localised() -> None:
    data = examples(4)
    one = Examples(x=data.x, y=np.zeros(4, np.int64), index=data.index)
    blind = network()
    blind.model.layers[-1].set_weights([np.zeros((5, 3)), np.array([9.0, 0, 0])])
    assert np.isnan(count(blind, one, 0.0, "pre", "per_position").scores(tarantula)).all()


def by_hand() -> tuple[Classifier, Examples]:
    """Return a model of two hidden units that detect a bright pixel, and six images of three classes.

    The model says 1 where unit 0 is active, else 0; unit 1 has no say.
    """
    keras = backend.keras()
    layers = keras.layers
    model = keras.Sequential([keras.Input((1, 2, 1)), layers.Flatten(), layers.Dense(2), layers.Dense(3)])
    model.set_weights(
        [np.eye(2), np.array([-0.5, -0.5]), np.array([[-1.0, 1, 0], [0, 0, 0]]), np.array([0.0, 0.0, -9])]
    )
    pixels = [[0, 1], [1, 1], [0, 0], [1, 0], [1, 1], [0, 0]]
    y = [0, 0, 0, 1, 1, 2]
    x = np.array(pixels, np.float32).reshape(6, 1, 2, 1)
    return Classifier(model), Examples(x=x, y=np.array(y), index=np.arange(6))


def test_a_model_worked_by_hand() -> None:
    ranking = made(Tarantula(**COMMON, top=1), *by_hand())
    # Class 0: image 1 fails with both active, images 0 and 2 pass, one of them with unit 1 active.
    assert ranking.spectrum[0].tolist() == [[1, 0, 0, 2], [1, 0, 1, 1]]
    np.testing.assert_allclose(ranking.scores[0], [1.0, 2 / 3])
    assert ranking.units_of(0).tolist() == [0]
    np.testing.assert_allclose(made(Ochiai(**COMMON, top=1), *by_hand()).scores[0], [1, 1 / 2**0.5])
    np.testing.assert_allclose(made(DStar(**COMMON, top=2), *by_hand()).scores[0], [np.inf, 1])


def test_classes_without_failures_or_passes_are_not_ranked() -> None:
    for localiser in (Tarantula, Ochiai, DStar, LeastSuspicious):
        ranking = made(localiser(**COMMON, top=1), *by_hand())
        assert np.isnan(ranking.scores[1:]).all()
        assert ranking.selected[1:].tolist() == [[NO_UNIT], [NO_UNIT]]
        assert ranking.info["not_localisable"] == [1, 2]
    assert ranking.info["failed"] == [1, 0, 1]
    assert ranking.info["passed"] == [2, 2, 0]


@pytest.mark.parametrize("localiser", [Tarantula, Ochiai, DStar])
def test_one_count_serves_every_smaller_top(localiser: Any) -> None:
    model, data = network(), examples(200)
    all_units = made(localiser(**COMMON, top=12), model, data)
    for top in (1, 2, 5, 11):
        assert np.array_equal(all_units.first(top).selected, made(localiser(**COMMON, top=top), model, data).selected)


def test_random_units_are_other_units_of_the_suspicious_layers() -> None:
    model, data = network(), examples(200)
    control = RandomNeurons(**COMMON, top=1)
    suspicious = [made(kind(**COMMON, top=1), model, data) for kind in (Tarantula, Ochiai, DStar)]
    drawn = set()
    for seed in range(30):
        ranking = made(control, model, data, seed)
        assert np.array_equal(ranking.selected, made(control, model, data, seed).selected)
        for label in set(range(3)) - set(ranking.info["not_localisable"]):
            (unit,) = ranking.units_of(label)
            assert unit not in {other.units_of(label)[0] for other in suspicious}
            (place,) = ranking.positions_of(label)
            assert place[0] in {layer for other in suspicious for layer, _ in other.positions_of(label)}
            assert ranking.scores[label, unit] == 1
            drawn.add((label, int(unit)))
    assert len(drawn) > 4  # not always the same


def test_a_too_small_pool_is_reported() -> None:
    with pytest.raises(
        StageError, match=r"class 0: expected at least 2 units besides the 2 .* received 0; lower `top`"
    ):
        made(RandomNeurons(**COMMON, top=2), *by_hand())


def test_the_least_suspicious_units_have_the_lowest_scores_and_are_active() -> None:
    model, data = network(), examples(200)
    ranking, highest = (made(kind(**COMMON, top=2), model, data) for kind in (LeastSuspicious, Ochiai))
    labels = set(range(3)) - set(ranking.info["not_localisable"])
    assert labels
    for label in labels:
        layers = {layer for layer, _ in highest.positions_of(label)}
        scores = ranking.scores[label]
        counts = ranking.spectrum[label]
        pool = [
            unit
            for unit, (layer, _) in enumerate(
                (i, u) for i, kind in enumerate(ranking.layers) for u in range(kind.units)
            )
            if layer in layers and counts[unit, 0] + counts[unit, 2]
        ]
        expected = sorted(pool, key=lambda unit: (scores[unit], unit))[:2]
        assert ranking.units_of(label).tolist() == expected


def test_a_bare_reference_to_data_has_a_default_part(experiment: Any, tmp_path: Path) -> None:
    from temper.engine.planning.task_graph import TaskGraph
    from temper.engine.storage.digests import Digests

    text = """
    name: parts
    datasets:
      digits: {type: digits}
    targets:
      mlp: {type: dense, dataset: digits}
    localise:
      ours: {type: ochiai, model: mlp, top: 3}
      theirs: {type: ochiai, model: mlp, top: 3, as_published: true}
      said: {type: ochiai, model: mlp, top: 3, data: digits.validation}
    """
    graph = TaskGraph(experiment(text), Digests(tmp_path / "digests.json"))
    parts = {w.stage: str(w.component.data) for w in graph.tasks.values() if w.section == "localise"}  # type: ignore[attr-defined]
    assert parts == {"ours": "digits.train", "theirs": "digits.test", "said": "digits.validation"}


def test_measures_share_one_count_at_any_top(experiment: Any, tmp_path: Path) -> None:
    from temper.engine.planning.task_graph import TaskGraph
    from temper.engine.storage.digests import Digests

    text = """
    name: once
    seeds: [1, 2]
    axes:
      k: [1, 2, 3]
    datasets:
      digits: {type: digits}
    targets:
      mlp: {type: dense, dataset: digits}
    localise:
      ochiai: {type: ochiai, model: mlp, top: $k}
      dstar: {type: dstar, model: mlp, top: $k, star: 2}
      random: {type: random_neurons, model: mlp, top: $k}
      other: {type: tarantula, model: mlp, top: $k, threshold: 0.5}
      relevant: {type: relevant_neurons, model: mlp, top: $k}
    """
    graph = TaskGraph(experiment(text), Digests(tmp_path / "digests.json"))
    tags = [task.component.tag for task in graph.tasks.values() if task.section == "localise"]
    assert tags.count("dstar") == 6
    assert tags.count("hit_spectrum") == 2 * 2, "one of each threshold for each seed's model"
    assert tags.count("unit_relevance") == 2
