from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.nn.inspection.input_format_check import InputFormat, formats, input_mismatch
from temper.system import backend

RNG = np.random.default_rng(0)
PLAIN = InputFormat("", np.ones(1), np.zeros(1))
CLASSES = 4


def prototypes(channels: int) -> np.ndarray:
    """Return an image per class, which no format maps onto another class."""
    levels = np.array([[0.2, 0.8, 0.6], [0.4, 0.2, 0.8], [0.6, 0.4, 0.2], [0.8, 0.6, 0.4]])[:, None, None, :channels]
    return np.broadcast_to(levels, (CLASSES, 4, 4, channels)) + RNG.uniform(-0.1, 0.1, (CLASSES, 4, 4, channels))


def images(of: np.ndarray, n: int = 200) -> Examples:
    y = np.arange(n) % CLASSES
    x = np.clip(of[y] + RNG.normal(0, 0.02, (n, *of.shape[1:])), 0, 1).astype(np.float32)
    return Examples(x=x, y=y, index=np.arange(n))


def nearest(of: np.ndarray) -> Classifier:
    """Return the classifier whose class is that of the nearest prototype: logits 2 v.t - |t|^2, centred for precision."""
    keras = backend.keras()
    t = of.reshape(len(of), -1)
    inputs = keras.Input(of.shape[1:])
    outputs = keras.layers.Dense(len(t))(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.layers[-1].set_weights([2 * t.T, -(t**2).sum(axis=1)])
    return Classifier(model)


def trained_in(wanted: InputFormat, channels: int) -> tuple[Classifier, Examples]:
    """Return a classifier that is right on all images of a data set if it receives them in a format, and the data set."""
    of = prototypes(channels)
    classifier = nearest(wanted.images_for(PLAIN, of.astype(np.float32)))
    data = images(of)
    assert (classifier.predict(wanted.images_for(PLAIN, data.x)) == data.y).all()
    return classifier, data


@pytest.mark.parametrize(
    "text",
    [
        "scale: 255", "scale: 2, offset: -1", "scale: -1, offset: 1", "mean_std: imagenet", "bgr: true",
        "scale: 255, bgr: true", "mean: [0.48502, 0.45796, 0.40760], std: [0.00392157], bgr: true", "channels_first: true",
    ],
)  # fmt: skip
def test_the_format_that_a_model_was_trained_with_is_named(text: str) -> None:
    wanted = next(one for one in formats(3, flat=True) if one.text == text)
    trained, front = trained_in(wanted, 3)
    found = input_mismatch(trained, PLAIN, front, formats(3, flat=True))
    assert found is not None
    assert wanted.text in found.texts
    assert (found.hits, found.n) == (200, 200)
    assert wanted.text in found.text()


@pytest.mark.parametrize("text", ["scale: 255", "scale: 2, offset: -1", "mean_std: mnist"])
def test_grey_models_have_formats_too(text: str) -> None:
    (wanted,) = (one for one in formats(1, flat=True) if one.text == text)
    trained, front = trained_in(wanted, 1)
    found = input_mismatch(trained, PLAIN, front, formats(1, flat=True))
    assert found is not None
    assert text in found.texts


@pytest.mark.parametrize("present", list(formats(3, flat=False)), ids=lambda one: one.text)
def test_a_format_is_tried_from_any_other(present: InputFormat) -> None:
    x = RNG.random((2, 3, 3, 3)).astype(np.float32)
    for wanted in formats(3, flat=True):
        received = present.images_for(PLAIN, wanted.images_for(present, x))
        np.testing.assert_allclose(received, wanted.images_for(PLAIN, x), rtol=1e-3, atol=1e-2)


def test_nothing_is_named_where_no_format_is_clearly_better() -> None:
    of = prototypes(3)
    right = nearest(of)
    assert input_mismatch(right, PLAIN, images(of), formats(3, flat=True)) is None
    noise = replace(images(of), y=RNG.integers(CLASSES, size=200))
    assert input_mismatch(right, PLAIN, noise, formats(3, flat=True)) is None
    assert input_mismatch(nearest(255 * of), PLAIN, images(of, 4), formats(3, flat=True)) is None  # too few images
    assert input_mismatch(right, PLAIN, images(of).take(np.arange(0)), formats(3, flat=True)) is None


def test_formats_suit_the_images() -> None:
    grey, colour = ({one.text for one in formats(channels, flat=False)} for channels in (1, 3))
    assert "mean_std: mnist" in grey - colour
    assert "mean_std: cifar10" in colour - grey
    assert not any("bgr" in text for text in grey)
    assert not any("channels_first" in text for text in grey | colour)
