"""Localisation, and the synthesis that rests on it, hold on every Keras backend, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from core import backend
from tests.conftest import ROOT

FILES = (
    "tests/core/networks/test_relevance.py",
    "tests/localisation/test_relevance.py",
    "tests/localisation/test_relevant_neurons.py",
    "tests/localisation/test_spectrum.py",
    "tests/generators/test_synthesis.py",
)


@pytest.mark.slow
@pytest.mark.parametrize("other", sorted({*backend.BACKENDS} - {backend.name()}))
def test_all_of_this_holds_on_the_other_backends(other: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *FILES]
    environment = os.environ | {"KERAS_BACKEND": other}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
