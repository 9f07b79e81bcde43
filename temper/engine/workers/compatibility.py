"""Checks that a worker is compatible with the runner: store, versions, environment, code and data files."""

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

_THIS_MODULE = "temper.engine.workers.compatibility"
"""The module that imports everything of Temper that a worker runs, components aside."""
_CACHE = "digests.json"
_MAX_LISTED = 3
"""Maximum number of differences that a message lists."""
_OWN_DIGESTS: list[Digests] = []
"""The digests of this process; each module's first digest counts, since that is the code that was loaded."""
_LOCK = threading.Lock()
"""Several workers may share a process, and Python 3.11 cannot parse two sources at once."""


@dataclass(frozen=True)
class WorkerRequirements:
    """Everything that a run's results depend on apart from its tasks, as plain values.

    ``token`` names a marker file in the store, which the runner writes and a worker must see; ``environment`` holds the
    variables that change how libraries compute (``provenance.NUMERIC``); ``modules`` are the digests of all code of
    Temper and of the user that the run uses, and ``component_modules`` those of them that define components; ``files``
    are the components that read files, each with its section and the digests of these files.
    """

    root: str
    token: str
    versions: Mapping[str, str]
    backend: str
    environment: Mapping[str, str]
    threads: int
    folders: Sequence[str]
    modules: Mapping[str, str]
    component_modules: Sequence[str]
    files: Sequence[tuple[str, Mapping[str, Any], Sequence[str]]]

    @classmethod
    def of(cls, graph: TaskGraph, folders: Sequence[Path], root: Path) -> WorkerRequirements:
        """Return the requirements of a run whose store is at ``root``."""
        component_modules = {type(part).__module__ for bound in graph.bounds for part in bound.component.with_nested()}
        modules = graph.digests.closure(_THIS_MODULE, plumbing=True).union(
            *map(graph.digests.closure, component_modules)
        )
        return cls(
            root=str(root.resolve()),
            token=f"temper-{uuid.uuid4().hex}",
            versions=versions(),
            backend=backend.name(),
            environment=shared_environment(),
            threads=max((bound.threads for bound in graph.bounds), default=threads.DEFAULT),
            folders=tuple(str(folder.resolve()) for folder in folders),
            modules={name: graph.digests.module(name) for name in sorted(modules)},
            component_modules=sorted(component_modules),
            files=[
                (bound.component.section, plain(bound.component), bound.files) for bound in graph.bounds if bound.files
            ],
        )

    @property
    def store_marker(self) -> Path:
        """The marker file, which the runner writes and a worker must see."""
        return Path(self.root) / FOLDER / self.token

    def write_store_marker(self) -> None:
        """Write the marker file, by which a worker knows that it shares the runner's store."""
        self.store_marker.parent.mkdir(parents=True, exist_ok=True)
        self.store_marker.touch()

    def incompatibility(self) -> str:
        """Return why this process cannot compute for the run, and how to fix it; empty if it can."""
        try:
            with _LOCK:
                if not (why := next(self._incompatibilities(), "")):
                    code_drift.expect(self.modules)
                return why
        except Exception as error:  # noqa: BLE001 - a process in which the check fails is incompatible as well
            return f"the compatibility check failed: {type(error).__name__}: {error}"

    def _incompatibilities(self) -> Iterator[str]:
        if not self.store_marker.is_file():
            yield (
                f"it cannot access the runner's store {self.root}; "
                "set `--outputs` to a folder that the runner and all workers share"
            )
        if differing := _differing(_comparable(self.versions), _comparable(versions())):
            yield f"its versions differ from the runner's: {differing}; install the same ones"
        if (own := backend.name()) != self.backend:
            yield f"its Keras backend is {own}, the runner's is {self.backend}; set KERAS_BACKEND to the same value"
        own_environment = shared_environment()
        names = sorted({*self.environment, *own_environment})
        if other := [name for name in names if self.environment.get(name) != own_environment.get(name)]:
            yield (
                f"its environment variables {_listed(other)}, which change numerical results, differ from the "
                "runner's; set them to the same values"
            )
        if (fixed := threads.fixed()) not in (None, self.threads):
            yield f"its framework was started with {fixed} threads, but this experiment uses {self.threads}; restart it"
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
        # Components are discovered once per process: this one started before these modules existed.
        other += [name for name in self.component_modules if name not in sys.modules and name not in other]
        if other:
            yield f"its code differs from the runner's in {_listed(other)}; give it the runner's code and restart it"

    def _files(self) -> Iterator[str]:
        digests = _own_digests(Path(self.root))
        for section, values, wanted in self.files:
            component = component_of(section, values, tuple(self.folders))
            paths = list(component.files())
            missing = [str(path) for path in paths if not path.exists()]
            if missing:
                yield f"it lacks {_listed(missing)}, which '{values['type']}' reads"
            if [digests.content(path) for path in paths] != list(wanted):
                read = _listed(list(map(str, paths)))
                yield f"the files that '{values['type']}' reads differ from the runner's: {read}"


def _own_digests(root: Path) -> Digests:
    """Return the digests of this process, computed for all modules that are loaded."""
    if not _OWN_DIGESTS:
        _OWN_DIGESTS.append(Digests(root / _CACHE))
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").endswith(".py"):
            with suppress(OSError, SyntaxError):
                _OWN_DIGESTS[0].module(name)
    return _OWN_DIGESTS[0]


def _comparable(found: Mapping[str, str]) -> dict[str, str]:
    """Return versions without Python's patch number and without build tags, such as torch's CPU and GPU builds."""
    return {
        name: re.sub(r"\.\d+$", "", version) if name == "python" else version.partition("+")[0]
        for name, version in found.items()
    }


def _differing(wanted: Mapping[str, str], own: Mapping[str, str]) -> str:
    return _listed([
        f"{name} {own.get(name, 'missing')} instead of {version}" for name, version in wanted.items() if own.get(name) != version
    ])  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_LISTED]) + (
        f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    )
