"""The packages that only some stages need: whether they are installed, and what to type where they are not."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from temper.system import backend
from temper.system.installation import CHECKOUT

EXTRAS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "tensorflow": ("tensorflow", "keras", "h5py", "PIL", "scipy"),
    "torch": ("torch", "keras", "h5py", "PIL", "scipy"),
    "jax": ("jax", "keras", "h5py", "PIL", "scipy"),
    "images": ("skimage", "sklearn", "PIL", "scipy"),
    "attacks": ("art", "multiprocess", "sklearn"),
    "diffusion": ("diffusers", "transformers", "huggingface_hub", "torch"),
    "onnx": ("onnx", "onnxruntime"),
    "pytorch-models": ("torch", "onnx", "onnxscript", "onnxruntime", "safetensors", "torchvision", "timm"),
    "coco": ("pycocotools",),
    "cluster": ("dask", "distributed", "dask_jobqueue", "cryptography"),
    "report": ("matplotlib", "jinja2", "pandas"),
})  # fmt: skip
"""The import names that each extra of the distribution (``pip install "temper[attacks]"``) brings."""


def missing(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of some packages, by import name, that are not installed; imports none of them."""
    return tuple(name for name in dict.fromkeys(names) if importlib.util.find_spec(name) is None)


def for_models() -> tuple[str, ...]:
    """Return the packages that every stage with a model needs on the backend in use."""
    return (backend.name(), "keras", "h5py", "scipy")


def by_command(names: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what to do for packages that are missing, with those of them that each command brings."""
    # What the backend brings along needs no extra of its own.
    order = sorted(EXTRAS, key=lambda extra: extra != backend.name())
    commands: dict[str, list[str]] = {}
    for name in names:
        extra = next((extra for extra in order if name in EXTRAS[extra]), None)
        commands.setdefault(_command(extra) if extra else f"install the package {name}", []).append(name)
    yield from ((command, tuple(brought)) for command, brought in commands.items())


def advice(names: Iterable[str]) -> str:
    """Return which packages are not installed, with what to type; empty: all are."""
    return "; ".join(f"{listed(brought)} not installed: {command}" for command, brought in by_command(missing(names)))


def listed(names: Iterable[str]) -> str:
    """Return names as the subject of a sentence, with its verb."""
    *first, last = names
    return f"{', '.join(first)} and {last} are" if first else f"{last} is"


def _command(extra: str) -> str:
    return f'pip install "{"." if CHECKOUT else "temper"}[{extra}]"'
