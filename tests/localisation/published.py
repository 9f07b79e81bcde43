"""DeepFault's published networks, and the images of its logs of October 2018."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.targets.models.saved import Saved
from tests.targets.models.support import blank

NETWORKS = ("8_20", *(pytest.param(name, marks=pytest.mark.long) for name in ("5_30", "6_25")))
SYNTHESISED: dict[str, dict[str, list[float]]] = {
    "5_30": {
        "tarantula": [0.304, 0.255, 0.198, 0.194, 0.171],
        "ochiai": [0.228, 0.186, 0.190, 0.182, 0.154],
        "dstar": [0.215, 0.215, 0.204, 0.248, 0.312],
    },
    "6_25": {
        "tarantula": [0.296, 0.249, 0.170, 0.145, 0.145],
        "ochiai": [0.139, 0.100, 0.111, 0.082, 0.096],
        "dstar": [0.186, 0.097, 0.117, 0.098, 0.183],
    },
    "8_20": {
        "tarantula": [0.265, 0.240, 0.180, 0.205, 0.186],
        "ochiai": [0.156, 0.140, 0.138, 0.136, 0.113],
        "dstar": [0.196, 0.183, 0.166, 0.128, 0.120],
    },
}
"""Accuracy on rms_mean's perturbations of all test images that are classified correctly, with step 1 and eps 0.1.

By network and measure, for k = 1, 2, 3, 5, 10: the mean over the classes. Measured with another program than this one.
"""


def network(shared: Path, name: str) -> Classifier:
    """Return ``mnist_test_model_<name>_leaky_relu`` as published."""
    path = shared / "models" / "deepfault" / f"mnist_test_model_{name}_leaky_relu"
    target = Saved(
        dataset=Ref("mnist"),
        path=str(path.with_suffix(".h5")),
        architecture=str(path.with_suffix(".json")),
        channels_first=True,
    )
    data = blank((28, 28, 1), 10)
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
