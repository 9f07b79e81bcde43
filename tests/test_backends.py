"""All Keras backends agree: each of the others runs once, in a process of its own, for everything that depends on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from temper.system import backend
from tests import backend_numbers
from tests.conftest import ROOT

OTHERS = sorted({*backend.BACKENDS} - {backend.name()})
SUITES = (
    "tests/nn/inspection/test_activations.py",
    "tests/nn/training/test_fisher_information.py",
    "tests/nn/inspection/test_lrp.py",
    "tests/nn/training/test_training.py",
    "tests/generators/test_gradient.py",
    "tests/generators/test_synthesis.py",
    "tests/localisation/test_pixel_relevance.py",
    "tests/localisation/test_relevant_neurons.py",
    "tests/localisation/test_hit_spectrum.py",
    "tests/repair/continual/test_repairs.py",
)
"""Tests whose meaning depends on the backend."""


@pytest.fixture(scope="module")
def ours() -> Mapping[str, np.ndarray]:
    return backend_numbers.numbers()


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS)
def test_another_backend_gives_the_same_numbers(other: str, ours: Mapping[str, np.ndarray], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.backend_numbers", str(tmp_path / "numbers.npz")]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"KERAS_BACKEND": other}, check=True)
    with np.load(tmp_path / "numbers.npz") as file:
        theirs = dict(file)
    assert theirs.keys() == ours.keys()
    for name, expected in ours.items():
        # A gradient entry within rounding of zero may take either sign, which moves its pixel by two steps.
        close = np.isclose(theirs[name], expected, rtol=1e-4, atol=1e-4, equal_nan=True)
        assert close.mean() > 0.999, (name, close.mean())


@pytest.mark.long
@pytest.mark.parametrize("other", OTHERS)
def test_the_suites_of_networks_pass_on_another_backend(other: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
        "--backend",
        other,
        *SUITES,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
