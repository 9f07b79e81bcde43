"""What the tests of targets share: a run without an engine, data, and models in the layouts of old Keras versions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from temper.core.artefacts import Data, Examples
from temper.core.component import Ref
from temper.core.data_info import DataInfo
from temper.core.run import Run
from temper.system import backend

SHARED = Path(__file__).resolve().parents[4] / "shared"
DATASET: Ref[Data] = Ref("data")


def examples(x: np.ndarray, y: np.ndarray) -> Examples:
    return Examples(x=x, y=y, index=np.arange(len(x)))


def data(train: Examples, test: Examples | None = None, classes: int | None = None) -> Data:
    count = classes or int(train.y.max()) + 1
    info = DataInfo(train.shape, tuple(map(str, range(count))))
    empty = examples(train.x[:0], train.y[:0])
    return Data(info, train, empty, test or empty)


def blank(shape: tuple[int, int, int], classes: int) -> Data:
    return data(examples(np.zeros((1, *shape), np.float32), np.zeros(1, np.int64)), classes=classes)


def run(artefacts: Mapping[Ref[Any], Any], seed: int = 0) -> Run:
    return Run("stage", seed, None, artefacts.__getitem__, lambda _: {}, lambda *_: None)


def given(model: Any, x: np.ndarray) -> np.ndarray:
    """Return what a Keras model gives, as NumPy has it on every backend."""
    return np.array(backend.keras().ops.convert_to_numpy(model(x)))


def write_legacy(
    path: Path,
    layers: Sequence[tuple[str, Sequence[np.ndarray]]],
    config: Mapping[str, Any] | None = None,
    saved_on: str | None = None,
) -> Path:
    """Write an HDF5 file as Keras 1 and 2 did: weights only, or a whole model where a configuration is given.

    ``saved_on`` is the backend that Keras 2 notes beside the weights.
    """
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if config else file
        if config:
            file.attrs["model_config"] = json.dumps(config).encode()
        if saved_on:
            root.attrs["backend"] = saved_on.encode()
        root.attrs["layer_names"] = [name.encode() for name, _ in layers]
        for name, arrays in layers:
            group = root.create_group(name)
            names = [f"{name}/w{i}:0" for i in range(len(arrays))]
            group.attrs["weight_names"] = [n.encode() for n in names]
            for weight_name, array in zip(names, arrays, strict=True):
                group[weight_name] = array
    return path


def shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip("the real data and models beside the repository are absent")
    return path
