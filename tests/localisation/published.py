"""DeepFault's published networks and the images its logs of October 2018 are about."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.artefacts import DataInfo, Examples
from core.classifier import Classifier
from core.component import Ref
from core.run import Run
from targets.models.saved import Saved

NETWORKS = ("5_30", "6_25", "8_20")


def network(shared: Path, name: str) -> Classifier:
    """Return ``mnist_test_model_<name>_leaky_relu`` as published."""
    path = shared / "models" / "deepfault" / f"mnist_test_model_{name}_leaky_relu"
    target = Saved(
        dataset=Ref("mnist"),
        path=str(path.with_suffix(".h5")),
        architecture=str(path.with_suffix(".json")),
        channels_first=True,
    )
    data = SimpleNamespace(info=DataInfo((28, 28, 1), tuple("0123456789")))
    return target.produce(Run(name, 0, None, lambda ref: data, lambda ref: {}, lambda *_: None))


def held_out(shared: Path) -> Examples:
    """Return the 10,000 training images of MNIST that DeepFault held out: a split by scikit-learn with seed 7."""
    from sklearn.model_selection import train_test_split

    rows = train_test_split(np.arange(60000), test_size=1 / 6, random_state=7)[1].astype(np.int64)
    with np.load(shared / "data" / "mnist.npz") as file:
        x = (file["x_train"][rows, :, :, None] / np.float32(255)).astype(np.float32)
        return Examples(x=x, y=file["y_train"][rows].astype(np.int64), index=rows)


@cache
def logs(shared: Path) -> Any:
    """Return DeepFault's results of October 2018, a row each."""
    import pandas as pd

    path = shared / "specs" / "oracles" / "deepfault_oct2018_runs.csv"
    if not path.is_file():
        pytest.skip(f"DeepFault's logs are not at {path}")
    return pd.read_csv(path)
