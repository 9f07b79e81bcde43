"""The two versions in one call, and the kinds of mutants."""

from __future__ import annotations

import numpy as np
import pytest

from temper.core.errors import StageError
from temper.generators.regression.model_versions import (
    BOTH_FAIL,
    CANDIDATE,
    FAULT,
    FIXED,
    HALF_WEAKENED,
    WEAKENED,
    VersionOutputs,
    Versions,
    classify,
    to_float,
)
from temper.system import backend
from tests.generators.regression.toys import CLASSES, SIDE, images, linear, versions


def kind(p1: tuple[float, float], p2: tuple[float, float], parent_drop: float = 0.0) -> int:
    """The kind of a mutant whose true label is 0."""
    answers = VersionOutputs(*(np.array([values], np.float32) for values in (p1, p2)), np.zeros(1, np.float32))
    return int(classify(answers, np.array([0]), np.array([parent_drop], np.float32))[0])


@pytest.mark.parametrize(
    ("p1", "p2", "parent_drop", "expected"),
    [
        ((0.4, 0.6), (0.3, 0.7), 0.0, BOTH_FAIL),
        ((0.9, 0.1), (0.4, 0.6), 0.0, FAULT),
        ((0.4, 0.6), (0.9, 0.1), 0.0, FIXED),
        ((0.95, 0.05), (0.6, 0.4), 0.0, WEAKENED),
        ((0.9, 0.1), (0.7, 0.3), 0.0, HALF_WEAKENED),
        ((0.9, 0.1), (0.8, 0.2), 0.0, CANDIDATE),
        ((0.8, 0.2), (0.9, 0.1), 0.1, FIXED),  # d from 0.1 to -0.1
        ((0.8, 0.2), (0.84, 0.16), 0.1, CANDIDATE),  # fell by 0.14 only
        ((0.7, 0.3), (0.9, 0.1), -0.02, FIXED),  # d from -0.02 to -0.2
        ((0.9, 0.1), (0.88, 0.12), 0.25, CANDIDATE),  # fell by 0.23, but not below 0
    ],
)
def test_mutants_are_classified_by_kind(
    p1: tuple[float, float], p2: tuple[float, float], parent_drop: float, expected: int
) -> None:
    assert kind(p1, p2, parent_drop) == expected


def test_both_versions_predict_as_they_do_alone() -> None:
    old, new = versions()
    x = (images().x * 255).round().astype(np.uint8)
    keras = backend.keras()
    inputs = keras.Input((SIDE, SIDE, 1))
    mean = keras.Model(inputs, keras.layers.Reshape((1,))(keras.layers.GlobalAveragePooling2D()(inputs)))
    answers = Versions(old, new, mean).predict(x)
    for alone, mutants_at_a_time in ((old, answers.p1), (new, answers.p2)):
        logits = np.exp(alone.logits(to_float(x)).astype(float))
        assert np.allclose(mutants_at_a_time, logits / logits.sum(axis=1, keepdims=True), atol=1e-5)
    assert np.allclose(answers.scores, to_float(x).mean(axis=(1, 2, 3)), atol=1e-6)
    assert np.array_equal(to_float(x), images().x), "what is kept is what was asked"


def test_many_images_take_several_calls() -> None:
    asked = Versions(*versions())
    x = np.random.default_rng(0).integers(0, 256, (2561, SIDE, SIDE, 1)).astype(np.uint8)
    answers = asked.predict(x)
    assert asked.calls == 2
    assert answers.p1.shape == (2561, CLASSES)
    assert np.allclose(answers.p1[2560:], asked.predict(x[2560:]).p1, atol=1e-6)
    assert answers.scores.shape == (2561,)
    assert len(asked.predict(x[:0])) == 0


def test_versions_must_have_equal_shapes_and_classes() -> None:
    keras = backend.keras()
    stack = [keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten(), keras.layers.Dense(CLASSES + 1)]
    other = type(linear(np.zeros((SIDE * SIDE, CLASSES))))(keras.Sequential(stack))
    with pytest.raises(StageError, match=r"reference: expected a model for classes: 4 .* received 5"):
        Versions(other, versions()[1])
