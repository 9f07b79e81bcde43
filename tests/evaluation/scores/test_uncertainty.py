"""Uncertainty scores and controls against their definitions, also where a model is all but certain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

from temper.evaluation.scores.score_controls import NeuronCoverageScore, RandomScore
from temper.evaluation.scores.uncertainty import DeepGini, Entropy, LeastConfidence, Margin
from temper.nn.adequacy.score import Score
from temper.nn.inspection.units import UnitLayer
from tests.evaluation.surprise.support import seen, values

THREE = np.log([[0.5, 0.25, 0.25], [0.2, 0.7, 0.1], [1 / 3, 1 / 3, 1 / 3]])


def judged(score: Score, logits: Any) -> Any:
    test = seen(np.zeros((len(logits), 2)), np.zeros(len(logits)), logits=logits)
    return values(score, test, test)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (DeepGini(), [1 - 0.25 - 2 / 16, 1 - 0.04 - 0.49 - 0.01, 2 / 3]),
        (Entropy(), [1.5, -(0.2 * np.log2(0.2) + 0.7 * np.log2(0.7) + 0.1 * np.log2(0.1)), np.log2(3)]),
        (Margin(), [0.75, 0.5, 1.0]),
        (LeastConfidence(), [0.5, 0.3, 2 / 3]),
    ],
    ids=lambda value: getattr(value, "tag", ""),
)
def test_by_hand(score: Score, expected: list[float]) -> None:
    assert judged(score, THREE) == pytest.approx(expected, abs=1e-6)


def test_against_scipy() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (200, 7)).astype(np.float32)
    p = softmax(logits.astype(np.float64), axis=1)
    ordered = np.sort(p, axis=1)
    assert judged(Entropy(), logits) == pytest.approx(scipy_entropy(p, base=2, axis=1), abs=1e-12)
    assert judged(DeepGini(), logits) == pytest.approx(1 - (p**2).sum(axis=1), abs=1e-12)
    assert judged(Margin(), logits) == pytest.approx(1 - (ordered[:, -1] - ordered[:, -2]), abs=1e-12)
    assert judged(LeastConfidence(), logits) == pytest.approx(1 - ordered[:, -1], abs=1e-12)


@pytest.mark.parametrize("score", [DeepGini(), Entropy(), Margin(), LeastConfidence()], ids=lambda s: s.tag)
def test_inputs_of_which_a_model_is_certain_still_differ(score: Score) -> None:
    certain = judged(score, [[0.0, -40.0, -90.0], [0.0, -60.0, -90.0], [0.0, -80.0, -90.0]])
    assert (np.diff(certain) < 0).all()
    assert certain[-1] > 0
    nothing_left = judged(score, [[0.0, -5000.0], [2000.0, -3000.0]])
    assert nothing_left.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("score", [DeepGini(), Entropy(), Margin(), LeastConfidence()], ids=lambda s: s.tag)
def test_what_is_no_number_has_no_score(score: Score) -> None:
    assert np.isnan(judged(score, [[0.0, np.nan], [0.0, 1.0]])).tolist() == [True, False]


def test_two_classes_of_equal_probability_are_the_end_of_each_scale() -> None:
    assert [judged(s, [[1.0, 1.0]])[0] for s in (DeepGini(), Entropy(), Margin(), LeastConfidence())] == [
        0.5,
        1,
        1,
        0.5,
    ]


def test_share_of_units_above_the_threshold() -> None:
    test = seen([[0.0, 1.0, 0.2, 0.21], [5.0, 5.0, 5.0, 5.0], [-1.0, 1.0, 0.0, np.nan]], [0, 0, 0])
    found = values(NeuronCoverageScore(), test, test)
    # 0.2 in float32 lies above 0.2: what is equal does not count, which 0.25 and 0.25 show exactly.
    assert found[1] == 0.0
    assert np.isnan(found[2])
    quarter = seen([[0.0, 1.0, 0.25, 0.5]], [0])
    assert values(NeuronCoverageScore(threshold=0.25), quarter, quarter)[0] == 0.5


def test_several_layers_are_scaled_each_and_counted_together() -> None:
    test = seen([[0.0, 10.0, 3.0, 1.0]], [0], logits=[[0.0, 4.0]])
    test.low[:, 2], test.high[:, 2] = 0.0, 4.0
    score = NeuronCoverageScore(layers=("hidden", "logits"), threshold=0.2)
    assert values(score, test, test)[0] == (2 + 1) / 6


def test_a_map_is_scaled_by_all_its_positions() -> None:
    # Two maps whose means are 1 and 3, in a layer that reaches from 0 to 10: scaled 0.1 and 0.3.
    test = seen([[1.0, 3.0]], [0])
    maps = type(test)((test.layers[0], UnitLayer("hidden", 2, 4, 4), *test.layers[2:]), *list(vars(test).values())[1:])
    maps.low[:, 1], maps.high[:, 1] = 0.0, 10.0
    assert values(NeuronCoverageScore(), maps, maps)[0] == 0.5


def test_chance_is_as_likely_to_be_high_as_low() -> None:
    test = seen(np.zeros((5000, 1)), np.zeros(5000))
    found = values(RandomScore(), test, test)
    assert RandomScore().stochastic
    assert np.quantile(found, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.03)
    assert 0 <= found.min() <= found.max() < 1
