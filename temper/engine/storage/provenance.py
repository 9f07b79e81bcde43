"""The provenance of results: code, packages, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from typing import Any

from temper.system import backend, installation
from temper.system.installation import PACKAGE

PACKAGES = (
    "tensorflow", "keras", "jax", "torch", "numpy", "pandas", "scikit-learn", "adversarial-robustness-toolbox",
    "diffusers", "transformers", "distributed",
)  # fmt: skip

NUMERIC = (
    "CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_ENABLE_X64", "JAX_PLATFORMS",
    "NVIDIA_TF32_OVERRIDE", "OPENBLAS_CORETYPE", "TF_CUDNN_DETERMINISTIC", "TF_DETERMINISTIC_OPS", "TF_ENABLE_ONEDNN_OPTS",
    "TF_XLA_FLAGS", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "XLA_FLAGS",
)  # fmt: skip
"""Environment variables that change how libraries compute; part of the provenance, like the machine."""


@cache
def versions() -> dict[str, str]:
    """Return the versions of Temper, of Python and of the packages that results depend on."""
    found = {"temper": installation.version(), "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def code() -> dict[str, Any]:
    """Return the commit of the project and whether the working tree differs from it; empty without git."""

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(PACKAGE), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}


def machine() -> dict[str, Any]:
    """Return a description of this machine."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "backend": backend.name(),
    }


def environment() -> dict[str, str]:
    """Return the environment variables that are set and may affect results."""
    return {name: os.environ[name] for name in NUMERIC if name in os.environ}


def shared_environment() -> dict[str, str]:
    """Return the part of ``environment`` that all workers of a run share; GPUs differ from worker to worker."""
    return {name: value for name, value in environment().items() if name != "CUDA_VISIBLE_DEVICES"}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:  # noqa: PTH123 - a device file, read by line
            names = [line.partition(":")[2].strip() for line in stream if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def command() -> str:
    """Return the command line."""
    return " ".join([*installation.command(), *sys.argv[1:]])
