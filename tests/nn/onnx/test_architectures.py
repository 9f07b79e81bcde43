"""Networks of PyTorch after their export: the same logits, the same gradients."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from temper.core.classifier import Classifier
from temper.nn.onnx.onnx_model import OnnxModel
from temper.system import backend
from tests.nn.onnx.architectures import ARCHITECTURES, CLASSES, Exporter, PreActivatedResNet, exported, randomised
from tests.nn.onnx.support import close

RNG = np.random.default_rng(0)


def converted(path: Path) -> Classifier:
    """Return a file's classifier, which ``check`` has compared with onnxruntime."""
    file = OnnxModel(path)
    model = file.load()
    file.check(model, RNG.random((2, *file.input_shape), np.float32))
    return Classifier(model)


def gradient(model: nn.Module, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return torch's own gradient of the cross-entropy of each image."""
    images = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    nn.functional.cross_entropy(model(images), torch.tensor(y), reduction="sum").backward()
    return np.moveaxis(np.asarray(images.grad), 1, -1)


def double_gradient(path: Path, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gradient of the cross-entropy of a model that computes in double precision."""
    import tensorflow as tf

    keras = backend.keras()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        model, images = OnnxModel(path).load(), tf.constant(x, tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = model(images, training=False)
            loss = keras.ops.sum(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))
        return np.asarray(tape.gradient(loss, images))
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def test_gradients_are_torchs_and_those_of_finite_differences(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = randomised(PreActivatedResNet((4, 4, 6), 1))
    found = converted(exported(model, 8, "torchscript", tmp_path / "model.onnx"))
    x, y = RNG.random((3, 8, 8, 3), np.float32), np.array([1, 4, 7])
    mine = found.loss_gradient(x, y)
    close(mine, gradient(model, x, y))
    double = model.double()

    def loss(images: np.ndarray) -> Any:
        tensor = torch.tensor(np.moveaxis(images, -1, 1).copy())
        return nn.functional.cross_entropy(double(tensor), torch.tensor(y), reduction="none").detach().numpy()

    for image, row, column, channel in ((0, 2, 3, 1), (1, 7, 0, 2), (2, 4, 4, 0)):
        step = np.zeros(x.shape)
        step[image, row, column, channel] = 1e-5
        slope = ((loss(x + step) - loss(x - step)) / 2e-5)[image]
        assert mine[image, row, column, channel] == pytest.approx(slope, rel=2e-3, abs=1e-5 * float(np.abs(mine).max()))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_has_onnxruntimes_logits_and_torchs_gradients(
    name: str, side: int, exporter: Exporter, tmp_path: Path, record_property: Any
) -> None:
    torch.manual_seed(0)
    model = randomised(ARCHITECTURES[name](side))
    path = exported(model, side, exporter, tmp_path / "model.onnx")
    backend.keras()
    start = time.perf_counter()
    found = converted(path)
    record_property("load_and_check_seconds", time.perf_counter() - start)
    record_property("resident_bytes", psutil.Process().memory_info().rss)
    x, y = RNG.random((2, side, side, 3), np.float32), np.array([1, 4])
    assert found.num_classes == CLASSES
    with torch.no_grad():
        expected = model(torch.tensor(np.moveaxis(x, -1, 1).copy())).numpy()
    close(found.logits(x), expected)
    close(double_gradient(path, x, y), gradient(model.double(), x.astype(np.float64), y))
    # In single precision, a few of the millions of ReLUs round to the other side of 0, in torch as well as here.
    mine, torchs = found.loss_gradient(x, y), gradient(model.float(), x, y)
    assert np.linalg.norm(mine - torchs) <= 2e-2 * np.linalg.norm(torchs)
