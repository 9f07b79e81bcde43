"""Models and images that the tests of the generators attack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from temper.core.artefacts import Images, Labels
from temper.core.classifier import Classifier
from temper.system import backend
from tests.initial_weights import set_glorot


def linear(shape: tuple[int, int, int] = (4, 4, 1), classes: int = 3, scale: float = 1.0) -> tuple[Classifier, Any]:
    """Return a linear classifier and its weights (pixels, classes); the bias is zero."""
    keras = backend.keras()
    weights = np.random.default_rng(7).normal(scale=scale, size=(int(np.prod(shape)), classes)).astype(np.float32)
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)])
    model.set_weights([weights, np.zeros(classes, np.float32)])
    return Classifier(model), weights


def small(seed: int = 0, convolution: bool = False) -> Classifier:
    """Return an untrained classifier of 6 x 6 colour images with curved decision boundaries."""
    keras = backend.keras()
    front = [keras.layers.Conv2D(4, 3, activation="tanh")] if convolution else []
    layers = [keras.Input((6, 6, 3)), *front, keras.layers.Flatten(), keras.layers.Dense(16, "tanh")]
    model = set_glorot(keras.Sequential([*layers, keras.layers.Dense(5)]), seed)
    model.set_weights([2 * weights for weights in model.get_weights()])
    return Classifier(model)


def digits(right: int = 16, wrong: int = 4) -> tuple[Classifier, Images, Labels]:
    """Return a classifier of 8 x 8 digits, with images it has not seen of which it gets so many right and wrong.

    Random features and a least-squares output: as quick as training is slow, and right on nine images in ten.
    """
    from sklearn.datasets import load_digits

    keras = backend.keras()
    found = load_digits()
    x, y = (found.images[..., None] / 16).astype(np.float32), found.target.astype(np.int64)
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(0, 0.3, (64, 40)).astype(np.float32), rng.normal(0, 0.3, 40).astype(np.float32)
    hidden = np.maximum(x.reshape(-1, 64) @ kernel + bias, 0)
    output = np.linalg.lstsq(np.c_[hidden, np.ones(len(x))][:1000], np.eye(10)[y[:1000]], rcond=None)[0]
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(40, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    model.set_weights([kernel, bias, *(8 * part.astype(np.float32) for part in (output[:-1], output[-1]))])
    victim = Classifier(model)
    hit = victim.predict(x[1000:]) == y[1000:]
    rows = 1000 + np.sort(np.concatenate([np.flatnonzero(hit)[:right], np.flatnonzero(~hit)[:wrong]]))
    return victim, x[rows], y[rows]


def images(n: int, shape: tuple[int, int, int] = (6, 6, 3), classes: int = 5, seed: int = 0) -> tuple[Images, Labels]:
    rng = np.random.default_rng(seed)
    return rng.random((n, *shape), np.float32), rng.integers(classes, size=n)


def published(shared: Path, name: str) -> Classifier:
    """Return the published `mnist_5x30` or `cifar_keras` without its softmax."""
    import h5py

    keras = backend.keras()
    layers = keras.layers
    if name == "mnist_5x30":
        stack = [keras.Input((28, 28, 1)), layers.Flatten(), *(layers.Dense(30, "relu") for _ in range(5))]
    else:
        stack = [keras.Input((32, 32, 3)), layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D()]
        stack += [layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D()]
        stack += [layers.Conv2D(64, 3, activation="relu"), layers.Flatten(), layers.Dense(64, "relu")]
    model = keras.Sequential([*stack, layers.Dense(10)])
    with h5py.File(shared / "models" / "deepcustom" / f"{name}.h5") as file:
        groups = [file[name] for name in file.attrs["layer_names"]]
        model.set_weights([group[w][()] for group in groups for w in group.attrs["weight_names"]])
    return Classifier(model)


def mnist_test(shared: Path) -> tuple[Images, Labels]:
    with np.load(shared / "data" / "mnist.npz") as file:
        return (file["x_test"][..., None] / np.float32(255)).astype(np.float32), file["y_test"].astype(np.int64)
