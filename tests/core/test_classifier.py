"""The classifier: its interface, rejected models, and storage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.core.errors import StageError
from temper.system import backend
from tests.generators.models import images, linear, small


def test_shapes_and_predictions() -> None:
    victim, weights = linear((4, 4, 1), classes=3)
    x, _ = images(30, (4, 4, 1))
    assert (victim.input_shape, victim.num_classes) == ((4, 4, 1), 3)
    assert victim.predict(x).dtype == np.int64
    assert np.array_equal(victim.predict(x), (x.reshape(30, 16) @ weights).argmax(axis=1))


def test_a_stored_classifier_is_restored(tmp_path: Path) -> None:
    victim = small(convolution=True)
    victim.save(tmp_path)
    x, _ = images(8)
    np.testing.assert_allclose(Classifier.load(tmp_path).logits(x), victim.logits(x), atol=1e-6)


def test_softmax_and_other_shapes_are_rejected() -> None:
    keras = backend.keras()
    flat = keras.Sequential([keras.Input((16,)), keras.layers.Dense(3)])
    with pytest.raises(StageError, match=r"expected a model from \(n, height, width, channels\) to \(n, classes\)"):
        Classifier(flat)
    ends = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    with pytest.raises(StageError, match="expected a model that ends in logits"):
        Classifier(ends)
