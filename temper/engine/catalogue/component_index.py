"""The index of Temper's own components: where each is declared, cached so that a plan imports only what it names."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from pathlib import Path

from temper.core.component import Component, fields_of
from temper.core.errors import SpecError, StageError
from temper.core.stage import Stage
from temper.system.files import read_bytes, replace_file
from temper.system.user_directories import cache_directory

_FORMAT = 1
_LARGEST = 2**24


@dataclass(frozen=True)
class Entry:
    """Where a component is declared; classes are written ``module:name``.

    ``bases`` are the component classes that it inherits from, ``family`` the one whose members share tags; ``nested``
    are the families of its fields. ``loaded`` is the class itself, if it was imported for this entry.
    """

    module: str
    name: str
    tag: str
    family: str
    bases: Sequence[str]
    nested: Sequence[str]
    loaded: type[Component] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, leaf: type[Component]) -> Entry:
        """Return the entry of a component that is declared correctly."""
        parents = [base for base in leaf.__mro__[1:] if issubclass(base, Component)]
        family = next(base for base in parents if base.__mro__[1] in (Stage, Component))
        return cls(
            module=leaf.__module__,
            name=leaf.__name__,
            tag=leaf.tag,
            family=qualified(family),
            bases=tuple(map(qualified, parents)),
            nested=tuple(dict.fromkeys(map(qualified, _nested(leaf)))),
            loaded=leaf,
        )

    def load(self) -> type[Component]:
        """Return the class, imported if it is not yet.

        Raises:
            SpecError: its module has changed since this process read the index.
        """
        return self.loaded or imported(f"{self.module}:{self.name}")


def qualified(cls: type) -> str:
    """Return the name that ``imported`` finds a class by."""
    return f"{cls.__module__}:{cls.__qualname__}"


def imported(name: str) -> type[Component]:
    """Return the component class of a qualified name.

    Raises:
        SpecError: it is no longer there.
    """
    module, _, attribute = name.partition(":")
    try:
        found: type[Component] = attrgetter(attribute)(importlib.import_module(module))
    except (AttributeError, ModuleNotFoundError) as error:
        message = f"{name} is no longer there ({error}): Temper's code changed after this process started; restart it"
        raise SpecError.at("temper", 0, message) from error
    return found


def stamp(package: Path) -> str:
    """Return a digest of the state of a package's modules, by path, size and time of change, and of this Python."""
    state = hashlib.sha256(f"{_FORMAT} {sys.version} {sys.implementation.cache_tag}\n".encode())
    for name, status in sorted(_modules(str(package))):
        # The time of the inode's last change sees a replacement that keeps the file's own time.
        state.update(f"{name} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode())
    return state.hexdigest()


def cached(package: Path, state: str) -> tuple[Entry, ...] | None:
    """Return the entries cached for a package in a state; ``None``: there are none, or they are unreadable."""
    try:
        document = json.loads(read_bytes(_file(package), _LARGEST))
        if document["stamp"] != state or document["digest"] != _digest(document["components"]):
            return None
        return tuple(Entry(**one) for one in document["components"])
    except (OSError, RuntimeError, StageError, ValueError, KeyError, TypeError):  # RuntimeError: no home folder
        return None


def cache(package: Path, state: str, entries: Iterable[Entry]) -> None:
    """Cache the entries of a package in a state; a cache that cannot be written is none."""
    components = [{key: value for key, value in asdict(entry).items() if key != "loaded"} for entry in entries]
    document = {"stamp": state, "digest": _digest(components), "components": components}
    with suppress(OSError, RuntimeError):
        replace_file(_file(package), json.dumps(document))


def _file(package: Path) -> Path:
    """Return the file of a package's index; each installation and each Python has its own."""
    key = hashlib.sha256(f"{package} {sys.implementation.cache_tag}".encode()).hexdigest()[:16]
    return cache_directory() / f"components-{key}.json"


def _digest(components: object) -> str:
    return hashlib.sha256(json.dumps(components, sort_keys=True).encode()).hexdigest()


def _modules(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the path and status of every module below a folder, links followed."""
    with os.scandir(folder) as found:
        for item in found:
            if item.name.endswith(".py"):
                yield item.path, item.stat()
            elif item.name != "__pycache__" and item.is_dir():
                yield from _modules(item.path)


def _nested(leaf: type[Component]) -> Iterator[type[Component]]:
    for parameter in fields_of(leaf):
        kind = parameter.kind
        while kind.item is not None:
            kind = kind.item
        if kind.name == "nested":
            assert kind.target is not None
            yield kind.target
