"""Checks the folder of a pipeline before anything runs and without a framework."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temper.core.errors import StageError
from temper.system.files import read_bytes

INDEX = "model_index.json"
_MAX_BYTES = 2**20
_LIBRARIES = ("diffusers", "transformers", "stable_diffusion", "deepfloyd_if")
"""Packages that a pipeline's parts may come from; diffusers would import any package that the index names."""
_WEIGHTS = re.compile(r"(?:model|diffusion_pytorch_model)(?:\.(?P<variant>[^.]+?))?(?:-\d+-of-\d+)?\.safetensors\Z")
_UNSAFE = (".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5")


@dataclass(frozen=True)
class ModelFolder:
    """A folder as ``save_pretrained`` writes it: an index, and a folder for each part of the pipeline."""

    path: Path
    variant: str | None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every reason the pipeline cannot be loaded."""
        if not self.path.is_dir():
            yield (
                "folder",
                f"expected a folder as save_pretrained writes it, received the file {self.path}; diffusers converts a "
                "single file of weights into one with from_single_file and save_pretrained",
            )
            return
        try:
            parts = list(self._parts())
        except StageError as error:
            yield "folder", str(error)
            return
        for part in parts:
            if problem := self._problem(self.path / part):
                yield problem
                return

    def _parts(self) -> Iterator[str]:
        """Yield the names of the pipeline's parts.

        Raises:
            StageError: the index is missing, corrupted, or names code of other packages.
        """
        path = self.path / INDEX
        if not path.exists():
            raise StageError(
                f"{self.path} has no {INDEX}; expected the folder of a whole pipeline as save_pretrained writes it"
            )
        for name in parts_of(path):
            if not (self.path / name).is_dir():
                raise StageError(f"{self.path} has no folder {name}, which {INDEX} names; download the model again")
            yield name

    def _problem(self, part: Path) -> tuple[str, str] | None:
        """Return why the weights of a part cannot be loaded; ``None`` if they can, or it has none."""
        names = [entry.name for entry in part.iterdir()]
        found = {match["variant"] for name in names if (match := _WEIGHTS.match(name))}
        # If a part has no weights of a variant, diffusers uses the plain ones.
        if None in found or self.variant in found:
            return None
        if found:
            there = " or ".join(sorted(filter(None, found)))
            wanted = f"no weights of variant {self.variant}" if self.variant else "no plain weights"
            return (
                "variant",
                f"{part} has {wanted}, only those of {there}; set variant: {sorted(filter(None, found))[0]}",
            )
        if unsafe := [name for name in names if name.endswith(_UNSAFE)]:
            return "folder", (
                f"{part} has no weights in the safetensors format, the only one supported, but {unsafe[0]}; load it "
                "with "
                "diffusers where you trust it and save it with save_pretrained"
            )
        return None


def parts_of(path: Path) -> Iterator[str]:
    """Yield the names of a pipeline's parts in an index.

    Raises:
        StageError: the index is corrupted, or names code of other packages.
    """
    try:
        index = json.loads(read_bytes(path, _MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise StageError(f"{path}: expected JSON, received something else ({error})") from None
    kind = index.get("_class_name") if isinstance(index, Mapping) else None
    if not isinstance(kind, str):
        raise StageError(f"{path}: expected the name of a pipeline of diffusers as _class_name, received {kind!r:.60}")
    for name, part in index.items():
        if name.startswith("_") or not isinstance(part, list):
            continue
        if not _is_part(name, part):
            raise StageError(f"{path}: {name}: expected a package and a class, received {part!r:.60}")
        if part[0] is None:
            continue
        if part[0] not in _LIBRARIES:
            raise StageError(
                f"{path}: {name} is code of {part[0]}, which is never loaded; expected {', '.join(_LIBRARIES)}"
            )
        yield name


def _is_part(name: str, part: list[Any]) -> bool:
    """Return whether an entry of the index is a part with its own folder."""
    plain = len(part) == 2 and all(item is None or isinstance(item, str) for item in part)
    return plain and bool(re.fullmatch(r"[A-Za-z0-9_]+", name))
