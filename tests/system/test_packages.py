"""Packages that only some stages need: what is missing, and what to type."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from temper.core.component import Component
from temper.engine.catalogue.discovery import discover
from temper.engine.planning.missing_packages import needed
from temper.system import packages
from tests.conftest import ROOT

IMPORT_NAMES = {
    "adversarial-robustness-toolbox": "art", "pillow": "PIL", "scikit-learn": "sklearn", "scikit-image": "skimage",
    "dask-jobqueue": "dask_jobqueue",
}  # fmt: skip
"""Of the packages that are not imported under the name they are installed by."""


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let packages be looked for in vain."""
    find: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in names else find(name, *more))


def test_the_table_of_extras_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {
        extra: {re.split(r"[><=\[]", requirement)[0] for requirement in requirements}
        for extra, requirements in project["optional-dependencies"].items()
        if extra != "all"
    }
    assert {extra: {IMPORT_NAMES.get(name, name) for name in brought} for extra, brought in names.items()} == {
        extra: set(brought) for extra, brought in packages.EXTRAS.items()
    }
    (everything,) = project["optional-dependencies"]["all"]
    assert set(re.split(r"[\[\],]", everything)[1:-1]) == names.keys() - {"jax"}  # requirements.txt has no jax


def test_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "CHECKOUT", None)
    without(monkeypatch, "art", "sklearn", "diffusers", "no_such_package")
    assert packages.advice(["art", "numpy"]) == 'art is not installed: pip install "temper[attacks]"'
    assert packages.advice(["diffusers", "no_such_package"]) == (
        'diffusers is not installed: pip install "temper[diffusion]"; '
        "no_such_package is not installed: install the package no_such_package"
    )
    assert packages.advice(["numpy"]) == ""


@pytest.mark.parametrize(("backend", "extra"), [("tensorflow", "tensorflow"), ("torch", "torch"), ("jax", "jax")])
def test_what_every_backend_brings_comes_with_the_one_in_use(
    monkeypatch: pytest.MonkeyPatch, backend: str, extra: str
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    without(monkeypatch, "scipy", backend)
    assert packages.advice(packages.for_models()).endswith(f'[{extra}]"')
    assert packages.advice(packages.for_models()).startswith(f"{backend} and scipy are")


LEAVES = discover().leaves
OPTIONAL = {name for brought in packages.EXTRAS.values() for name in brought}


@cache
def imported(path: Path) -> frozenset[str]:
    """Return the packages that a module imports anywhere but for its annotations."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for child in ast.walk(node):
                if isinstance(child, ast.ImportFrom):
                    found.add((child.module or "").partition(".")[0])
                elif isinstance(child, ast.Import):
                    found.update(alias.name.partition(".")[0] for alias in child.names)
    return frozenset(found & OPTIONAL)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: f"{leaf.__module__}.{leaf.__name__}")
def test_a_component_declares_the_packages_that_its_module_imports(leaf: type[Component]) -> None:
    path = Path(__import__(leaf.__module__, fromlist=["_"]).__file__)
    framework = {"tensorflow", "torch", "keras", "h5py", "scipy"}  # nested components work for a stage with a model
    nested = not hasattr(leaf, "section")
    assert imported(path) - {*needed(leaf), *(framework if nested else ())} == set()
    assert set(leaf.requires) <= OPTIONAL
