"""The files that say which packages to install agree with each other."""

from __future__ import annotations

import re
import tomllib

from tests.conftest import ROOT


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith(("#", "-r ")))
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in pairs}


def test_the_lock_holds_the_pins_and_what_they_bring() -> None:
    wanted, locked = pins("requirements.txt"), pins("requirements.lock")
    assert {name: locked.get(name) for name in wanted} == wanted
    assert locked.keys() >= {"markupsafe", "tqdm", "typing-extensions"}, "not only the pins"
    assert not locked.keys() & (pins("requirements-dev.txt").keys() - wanted.keys()), "nothing of the tests"


def test_what_the_distribution_needs_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [
        *project["dependencies"],
        *(one for brought in project["optional-dependencies"].values() for one in brought),
    ]
    wanted = {re.sub(r"[-_.]+", "-", re.split(r"[><=\[]", one)[0]).lower() for one in needed} - {"temper", "jax"}
    # torchvision's wheel must be of the build of torch, CPU or CUDA, that is installed; timm needs it.
    unpinned = {"referencing", "torchvision", "timm"}
    assert wanted - unpinned <= pins("requirements.txt").keys()
    assert "referencing" in pins("requirements.lock")  # jsonschema's own
