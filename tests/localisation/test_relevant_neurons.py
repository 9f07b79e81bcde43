"""Relevant units: means over the images of a class, and their uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from temper.artefacts.rankings import NO_UNIT
from temper.localisation.lrp_variants import AlphaBeta, Epsilon, Zero
from temper.localisation.relevant_neurons import RelevantNeurons
from tests.localisation.test_hit_spectrum import COMMON, examples, made, network
from tests.nn.inspection.relevance import unit_relevance


@pytest.mark.parametrize("start", ["predicted", "true"])
@pytest.mark.parametrize("rule", [Zero(), Epsilon(), AlphaBeta()], ids=lambda rule: rule.tag)
def test_relevance_is_averaged_over_the_images_of_a_class(start: str, rule: Any) -> None:
    model, data = network(), examples(40, classes=2)
    ranking = made(RelevantNeurons(**COMMON, top=3, rule=rule, start=start), model, data)  # type: ignore[arg-type]
    each = unit_relevance(model, data.x, rule, data.y if start == "true" else model.predict(data.x))
    for label in (0, 1):
        mean = each[data.y == label].mean(axis=0)
        np.testing.assert_allclose(ranking.scores[label], mean, atol=1e-6)
        assert ranking.units_of(label).tolist() == np.argsort(-mean, kind="stable")[:3].tolist()
    assert np.isnan(ranking.scores[2]).all(), "the third class has no image"
    assert ranking.selected[2].tolist() == [NO_UNIT] * 3
    assert [layer.units for layer in ranking.layers] == [3, 4, 5]
    assert ranking.info == {
        "localiser": "relevant_neurons", "rule": rule.tag, "start": start, "images": [*np.bincount(data.y), 0]
    }  # fmt: skip


def test_every_layer_contributes_its_most_relevant_units() -> None:
    ranking = made(RelevantNeurons(**COMMON, top=1, scope="layer"), network(), examples())
    for label in range(3):
        assert sorted(layer for layer, _ in ranking.positions_of(label)) == [0, 1, 2]
        parts = np.split(ranking.scores[label], [3, 7])
        assert {unit for _, unit in sorted(ranking.positions_of(label))} == {int(part.argmax()) for part in parts}


@pytest.mark.slow
def test_a_relevance_ranking_can_replace_a_suspiciousness_ranking(
    run: Callable[..., tuple[int, str]], write: Any
) -> None:
    text = """
    name: used
    datasets:
      digits: {type: digits, train_size: 300, test_size: 60}
    targets:
      mlp: {type: dense, dataset: digits, layers: 2, units: 8, epochs: 5}
    localise:
      relevant: {type: relevant_neurons, model: mlp, top: 4, rule: {type: z_plus}}
    generate:
      excited: {type: synthesis, model: mlp, neurons: relevant, eps: 0.1}
      learnt: {type: dgn, model: mlp, eps: 0.1, epochs: 1, loss: {type: suspiciousness, neurons: relevant}}
    evaluate:
      means: {type: class_means, models: [mlp], examples: [excited, learnt]}
      where: {type: suspicious_layers, models: [mlp], neurons: [relevant]}
      rise: {type: suspicious_activations, models: [mlp], examples: [excited], neurons: [relevant]}
    """
    code, said = run(write(text))
    assert code == 0, said
