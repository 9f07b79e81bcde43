"""The experiments that come with Temper: listed, and copied to where they can be changed."""

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
    """Yield a line for each experiment: its name for ``--experiments NAME``, and what it is about."""
    paths = _paths()
    width = max(map(len, paths))
    for name, path in paths.items():
        # Of the lines as they are: a file in YAML takes a hundred times as long.
        lines = path.read_text(encoding="utf-8").splitlines()
        about = next((line.partition(":")[2].strip(" '\"") for line in lines if line.startswith("description:")), "")
        yield f"{name:{width}}  {about}".rstrip()


def copy(name: str, folder: Path) -> Iterator[Path]:
    """Copy an experiment, and the files that it extends or reads, into a folder; yield each of them.

    A file that is there already with the same content stays as it is.

    Raises:
        SpecError: there is no such experiment, or a file of that name holds something else.
    """
    paths = _paths()
    path = paths.get(name.removesuffix(".yaml"))
    if path is None:
        hint = did_you_mean(name, paths) or "; --experiments lists them all"
        raise SpecError([SpecProblem("--experiments", 0, "", f"there is no experiment '{name}'{hint}")])
    contents = {folder / file.relative_to(FOLDER): _content(file) for file in _with_needs(path)}
    present = {place: place.read_bytes() for place in contents if place.exists()}
    if differing := [str(place) for place, content in present.items() if content != contents[place]]:
        message = f"{', '.join(differing)} would be overwritten; move it away, or go to another folder"
        raise SpecError([SpecProblem("--experiments", 0, "", message)])
    for place, content in contents.items():
        if place not in present:
            replace_file(place, content)
        yield place


def _paths() -> dict[str, Path]:
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def _with_needs(path: Path) -> Iterator[Path]:
    """Yield an experiment's file, and each file next to it that it names, and so on."""

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
    """Return a file as it is to be copied: an editor finds the schema where Temper is installed."""
    content = file.read_bytes()
    if file.suffix != ".yaml":
        return content
    return content.replace(_SCHEMAS.encode(), f"$schema={(PACKAGE / 'schemas').as_uri()}/".encode())
