"""Distance-based surprise by hand and against all distances; what cannot be judged is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from temper.core.errors import StageError
from temper.evaluation.surprise.dsa import DSA
from temper.evaluation.surprise.lsa import LSA
from temper.evaluation.surprise.mdsa import MDSA
from temper.nn.adequacy.score import NOT_FITTED_ON
from tests.evaluation.surprise.support import reference, remarks, seen, values

# On a line: class 0 at 0 and 1, class 1 at 4 and 10.
LINE = seen([[0], [1], [4], [10]], [0, 0, 1, 1])


def test_by_hand() -> None:
    test = seen([[2], [0], [-3], [6], [9]], [0, 0, 0, 1, 1])
    # 2: x_a 1, x_b 4. 0: x_a is itself. -3: x_a 0, x_b 4. 6: x_a 4, x_b 1. 9: x_a 10, x_b 1.
    assert values(DSA(), LINE, test) == pytest.approx([1 / 3, 0, 3 / 4, 2 / 3, 1 / 9])


def test_a_training_image_is_not_its_own_neighbour() -> None:
    own = np.arange(4)
    assert values(DSA(), LINE, LINE, own) == pytest.approx([1 / 3, 1 / 4, 6 / 9, 6 / 3])
    assert values(DSA(self_match="include"), LINE, LINE, own).tolist() == [0.0] * 4
    # One that is only like a training image is compared with it.
    assert values(DSA(), LINE, LINE).tolist() == [0.0] * 4


def looped(train: Any, labels: Any, test: Any, predicted: Any, own: Any) -> Any:
    """Return the scores as the definition has them, in float64, one input after another."""
    train, test = train.astype(np.float64), test.astype(np.float64)
    scores = []
    for x, c, i in zip(test, predicted, own, strict=True):
        same = np.flatnonzero(labels == c)
        same = same[same != i]
        distances = np.linalg.norm(train[same] - x, axis=1)
        a = train[same[distances.argmin()]]
        scores.append(distances.min() / np.linalg.norm(train[labels != c] - a, axis=1).min())
    return np.array(scores)


@pytest.mark.parametrize("match", ["exclude", "include"])
def test_against_the_definition(match: Any) -> None:
    rng = np.random.default_rng(0)
    train = np.maximum(rng.normal(size=(900, 40)), 0).astype(np.float32)
    labels = rng.integers(0, 6, 900)
    near = (train[:200] + rng.normal(0, 1e-4, (200, 40))).astype(np.float32)  # as weakly attacked images are
    far = np.maximum(rng.normal(size=(200, 40)) * 3, 0).astype(np.float32)
    test, predicted = np.vstack([train[:100], near, far]), np.r_[labels[:100], labels[:200], rng.integers(0, 6, 200)]
    own = np.r_[np.arange(100), np.full(400, NOT_FITTED_ON)]
    found = values(DSA(self_match=match), seen(train, labels, 6), seen(test, predicted, 6), own)
    expected = looped(train, labels, test, predicted, own if match == "exclude" else np.full(500, NOT_FITTED_ON))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_order_of_inputs_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    train, labels = rng.random((100, 5)), rng.integers(0, 3, 100)
    test, predicted, order = rng.random((60, 5)), rng.integers(0, 3, 60), rng.permutation(60)
    first = values(DSA(), seen(train, labels, 3), seen(test, predicted, 3))
    second = values(DSA(), seen(train, labels, 3), seen(test[order], predicted[order], 3))
    assert np.array_equal(first[order], second)


def test_a_class_that_was_never_predicted_has_no_score_and_is_reported() -> None:
    train = seen(LINE.means[:, 1:2], [0, 0, 1, 1], classes=3)
    assert np.isnan(values(DSA(), train, seen([[2], [2]], [2, 0], classes=3))).tolist() == [True, False]
    assert "classes predicted for no training image, so that they have no scores: 2" in remarks(DSA(), train)
    assert remarks(DSA(), LINE) == ""


def test_the_only_image_of_a_class_cannot_be_judged_itself() -> None:
    train = seen([[0], [1], [4]], [0, 0, 1])
    assert np.isnan(values(DSA(), train, train, np.arange(3))).tolist() == [False, False, True]
    assert values(DSA(), train, seen([[6]], [1])).tolist() == [2 / 3]


def test_equal_traces_of_different_classes_give_no_score() -> None:
    train = seen([[0], [0], [4]], [0, 1, 1])
    found = values(DSA(), train, seen([[0], [1], [5]], [0, 0, 1]))
    assert np.isnan(found).tolist() == [True, True, False]


def test_one_predicted_class_is_an_error() -> None:
    with pytest.raises(StageError, match="two predicted classes"):
        values(DSA(), seen([[0], [1]], [0, 0]), LINE)


def test_traces_with_nan_are_skipped_and_reported() -> None:
    train = seen([[0], [1], [np.nan], [4], [np.inf]], [0, 0, 0, 1, 1])
    found = values(DSA(), train, seen([[2], [np.nan], [np.inf]], [0, 0, 1]))
    assert found[0] == pytest.approx(1 / 3)
    assert np.isnan(found[1:]).all()
    assert "2 training images without finite activations excluded" in remarks(DSA(), train)
    own = values(DSA(), train, train, np.arange(5))
    assert np.isnan(own).tolist() == [False, False, True, True, True]
    with pytest.raises(StageError, match="finite activations"):
        values(DSA(), seen([[np.nan], [np.nan]], [0, 1]), LINE)


def test_dead_units_and_equal_images_are_no_trouble() -> None:
    train = np.zeros((400, 30), np.float32)
    train[200:, 0] = 1.0
    labels = np.repeat([0, 1], 200)
    found = values(DSA(), seen(train, labels), seen(train, labels), np.arange(400))
    assert found.tolist() == [0.0] * 400


def test_several_layers_are_one_trace() -> None:
    train = seen(LINE.means[:, 1:2], [0, 0, 1, 1], logits=[[3, 0], [3, 0], [0, 3], [0, 3]])
    found = values(DSA(layers=("logits", "hidden")), train, train, np.arange(4))
    expected = cdist([[0, 3, 0]], [[4, 0, 3]])[0, 0]
    assert found[1] == pytest.approx(1 / expected)


def test_asked_a_few_at_a_time_a_judge_says_the_same() -> None:
    rng = np.random.default_rng(4)
    train = seen(rng.random((80, 5)), rng.integers(0, 3, 80), 3)
    test = seen(rng.random((50, 5)), rng.integers(0, 3, 50), 3)
    nobody = np.full(50, NOT_FITTED_ON)
    for score in (DSA(), LSA(), MDSA()):
        judge = score.judge(score.fit(reference(train)))
        traces = score.traces(test)
        parts = [judge.scores(traces[i : i + 7], test.predicted[i : i + 7], nobody[i : i + 7]) for i in range(0, 50, 7)]
        assert np.concatenate(parts) == pytest.approx(values(score, train, test), rel=1e-12)
        assert np.array_equal(judge.scores(traces[:7], test.predicted[:7], nobody[:7]), parts[0])


def test_classes_are_called_by_their_names() -> None:
    trained = reference(seen([[0], [1], [2], [3]], [0, 0, 1, 1], classes=4))
    trained.examples.info["class_names"] = ["cat", "dog", "cow"]
    (said,) = DSA().remarks(DSA().fit(trained))
    assert said.endswith("so that they have no scores: cow, 3")
    with pytest.raises(StageError, match="the covariance of class dog is singular"):
        LSA(floor=0.0, var_threshold=0.0).fit(replaced(trained))


def replaced(trained: Any) -> Any:
    """Return the same material with two equal units, of which only the first class has unlike ones."""
    traces = [[0, 1], [1, 0], [3, 5], [5, 8], [0, 0], [1, 1], [2, 2], [5, 5]]
    again = reference(seen(traces, [0, 0, 0, 0, 1, 1, 1, 1]))
    again.examples.info.update(trained.examples.info)
    return again
