"""What a worker must share with the runner before it computes anything for it."""

from __future__ import annotations

import re
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temper.core.errors import SpecError
from temper.engine.language.build import plain
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.running import code_drift
from temper.engine.running.task import catalogue, component_of
from temper.engine.storage.digests import Digests
from temper.engine.storage.provenance import shared_environment, versions
from temper.engine.workers.worker_env import FOLDER
from temper.system import backend, threads

_SELF = "temper.engine.workers.compatibility"
"""The module that imports everything of Temper that a worker runs, components aside."""
_MEMORY = "digests.json"
_NAMED = 3
"""Differences that a message names."""
_OWN: list[Digests] = []
"""The digests of this process. A module counts as of its first digest, since that is the code that was loaded."""
_ONE_BY_ONE = threading.Lock()
"""Several workers may live in one process, and Python 3.11 cannot parse two sources at once."""


@dataclass(frozen=True)
class WorkerRequirements:
    """What a run's results depend on apart from its tasks, as plain values.

    ``token`` names a file in the store that the runner writes and a worker must see; ``environment`` holds the variables
    that change how libraries compute (``provenance.NUMERIC``); ``modules`` are the digests of all code of Temper and of
    the users that the run uses, ``homes`` the modules among them that hold components; ``files`` are the components that
    read files, each with its section and the digests of these files.
    """

    root: str
    token: str
    versions: Mapping[str, str]
    backend: str
    environment: Mapping[str, str]
    threads: int
    folders: Sequence[str]
    modules: Mapping[str, str]
    homes: Sequence[str]
    files: Sequence[tuple[str, Mapping[str, Any], Sequence[str]]]

    @classmethod
    def of(cls, graph: TaskGraph, folders: Sequence[Path], root: Path) -> WorkerRequirements:
        """Return the requirements of a run whose store is at ``root``."""
        homes = {type(part).__module__ for bound in graph.bounds for part in bound.component.with_nested()}
        modules = graph.digests.closure(_SELF, plumbing=True).union(*map(graph.digests.closure, homes))
        return cls(
            root=str(root.resolve()),
            token=f"temper-{uuid.uuid4().hex}",
            versions=versions(),
            backend=backend.name(),
            environment=shared_environment(),
            threads=max((bound.threads for bound in graph.bounds), default=threads.DEFAULT),
            folders=tuple(str(folder.resolve()) for folder in folders),
            modules={name: graph.digests.module(name) for name in sorted(modules)},
            homes=sorted(homes),
            files=[
                (bound.component.section, plain(bound.component), bound.files) for bound in graph.bounds if bound.files
            ],
        )

    @property
    def proof(self) -> Path:
        """The file that the runner writes and a worker must see."""
        return Path(self.root) / FOLDER / self.token

    def prove(self) -> None:
        """Write the file that shows workers that they share the runner's store."""
        self.proof.parent.mkdir(parents=True, exist_ok=True)
        self.proof.touch()

    def objection(self) -> str:
        """Return why this process must not compute for the run, with what to do about it; empty if it may."""
        try:
            with _ONE_BY_ONE:
                if not (why := next(self._objections(), "")):
                    code_drift.expect(self.modules)
                return why
        except Exception as error:  # noqa: BLE001 - a process in which the check itself fails is unfit as well
            return f"it could not be checked: {type(error).__name__}: {error}"

    def _objections(self) -> Iterator[str]:
        if not self.proof.is_file():
            yield f"it does not see the runner's store {self.root}; put `--outputs` where the runner and all workers see it"
        if differing := _differing(_compared(self.versions), _compared(versions())):
            yield f"it has other versions than the runner: {differing}; install the same"
        if (own := backend.name()) != self.backend:
            yield f"its Keras backend is {own}, the runner's {self.backend}; set KERAS_BACKEND alike"
        own_environment = shared_environment()
        names = sorted({*self.environment, *own_environment})
        if other := [name for name in names if self.environment.get(name) != own_environment.get(name)]:
            yield f"its libraries compute differently from the runner's by {_few(other)}; set these environment variables alike"
        if (fixed := threads.fixed()) not in (None, self.threads):
            yield f"its framework was started with {fixed} threads, and this experiment computes on {self.threads}; restart it"
        yield from self._code()
        yield from self._files()

    def _code(self) -> Iterator[str]:
        try:
            # Imported now, so that the digests below are those of the code that will run.
            _ = catalogue(tuple(self.folders)).leaves
        except SpecError as wrong:
            yield f"it cannot load the components of this run: {wrong}"
        own = _own_digests(Path(self.root))
        other = [name for name, digest in self.modules.items() if own.module(name) != digest]
        other += [
            name for name in self.homes if name not in sys.modules and name not in other
        ]  # newer than this process
        if other:
            yield f"it has other code than the runner in {_few(other)}; give it the runner's code and restart it"

    def _files(self) -> Iterator[str]:
        digests = _own_digests(Path(self.root))
        for section, values, wanted in self.files:
            component = component_of(section, values, tuple(self.folders))
            paths = list(component.files())
            lacking = [str(path) for path in paths if not path.exists()]
            if lacking:
                yield f"it does not have {_few(lacking)}, which '{values['type']}' reads"
            if [digests.content(path) for path in paths] != list(wanted):
                yield f"what '{values['type']}' reads differs from what the runner has: {_few(list(map(str, paths)))}"


def _own_digests(root: Path) -> Digests:
    """Return the digests of this process, computed for all modules that are loaded."""
    if not _OWN:
        _OWN.append(Digests(root / _MEMORY))
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").endswith(".py"):
            with suppress(OSError, SyntaxError):
                _OWN[0].module(name)
    return _OWN[0]


def _compared(found: Mapping[str, str]) -> dict[str, str]:
    """Return versions without what distinguishes builds: Python's patch number, CPU and GPU builds of torch."""
    return {
        name: re.sub(r"\.\d+$", "", version) if name == "python" else version.partition("+")[0]
        for name, version in found.items()
    }


def _differing(wanted: Mapping[str, str], own: Mapping[str, str]) -> str:
    return _few([
        f"{name} {own.get(name, 'missing')} instead of {version}" for name, version in wanted.items() if own.get(name) != version
    ])  # fmt: skip


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
