"""Lists the experiments that come with Temper, and copies them to the user's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from temper.core.errors import SpecError, SpecProblem, did_you_mean
from temper.engine.syntax import document
from temper.system.files import replace_file
from temper.system.installation import PACKAGE
from temper.system.traversal import reachable

FOLDER = PACKAGE / "experiments"
_SCHEMAS = "$schema=../schemas/"


def listing() -> Iterator[str]:
    """Yield a line for each experiment: its name for ``--experiments NAME``, and its description."""
    paths = _paths()
    width = max(map(len, paths))
    for name, path in paths.items():
        # Not parsed as YAML, which takes a hundred times as long.
        lines = path.read_text(encoding="utf-8").splitlines()
        about = next((line.partition(":")[2].strip(" '\"") for line in lines if line.startswith("description:")), "")
        yield f"{name:{width}}  {about}".rstrip()


def copy(name: str, folder: Path) -> Iterator[Path]:
    """Copy an experiment, and the files that it extends or reads, into a folder; yield each of them.

    An existing file with the same content is not rewritten.

    Raises:
        SpecError: there is no such experiment, or a file of that name has other content.
    """
    paths = _paths()
    path = paths.get(name.removesuffix(".yaml"))
    if path is None:
        hint = did_you_mean(name, paths) or "; --experiments lists all"
        raise SpecError([SpecProblem("--experiments", 0, "", f"unknown experiment '{name}'{hint}")])
    contents = {folder / file.relative_to(FOLDER): _content(file) for file in _with_needs(path)}
    existing = {path: path.read_bytes() for path in contents if path.exists()}
    if differing := [str(path) for path, content in existing.items() if content != contents[path]]:
        message = f"{', '.join(differing)} would be overwritten; move it, or change to another folder"
        raise SpecError([SpecProblem("--experiments", 0, "", message)])
    for path, content in contents.items():
        if path not in existing:
            replace_file(path, content)
        yield path


def _paths() -> dict[str, Path]:
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def _with_needs(path: Path) -> Iterator[Path]:
    """Yield an experiment's file and, recursively, each file next to it that it refers to."""

    def named(file: Path) -> Iterator[Path]:
        texts = _texts(document.read(file).data) if file.suffix == ".yaml" else ()
        yield from (FOLDER / text for text in texts if text.endswith((".yaml", ".csv")) and (FOLDER / text).is_file())

    return reachable([path], named)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(item)


def _content(file: Path) -> bytes:
    """Return the content of the copy, whose schema reference points to the installed Temper."""
    content = file.read_bytes()
    if file.suffix != ".yaml":
        return content
    return content.replace(_SCHEMAS.encode(), f"$schema={(PACKAGE / 'schemas').as_uri()}/".encode())
