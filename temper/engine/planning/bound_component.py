"""A component with explicit references, and everything about its tasks that is the same at every point of the axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any

from temper.core.component import Part, Plain, Ref
from temper.core.dataset import Dataset
from temper.core.display_names import display_name
from temper.core.errors import StageError
from temper.core.families import Evaluation
from temper.core.run import prepared
from temper.core.stage import Preparation, Stage
from temper.engine.language.axis_points import Point
from temper.engine.language.build import plain
from temper.engine.storage.digests import Digests
from temper.system import backend

CELL = "#"
"""Separates a reference from the number of a cell it gathers; no name in a file may contain it."""


@dataclass(frozen=True, slots=True)
class Input:
    """What a reference of a task resolves to: an artefact, a part of a data set, or a component as it is declared.

    A reference to an evaluation resolves to one input per cell, with the cell's ``point``. For images, ``origin`` is
    the data set (or its part) they come from, and ``perturbed`` states whether they were generated; ``classes`` are the
    names of the classes of these images, or of those a model is built for.
    """

    fingerprint: str = ""
    part: Part | None = None
    definition: Mapping[str, Any] | None = None
    point: Point | None = None
    origin: str = ""
    perturbed: bool = False
    classes: Sequence[str] = ()


def is_cell_of(key: str, ref: Ref[Any]) -> bool:
    """Whether an input of a task is a cell of the evaluation that a reference gathers."""
    return key.startswith(f"{ref}{CELL}")


class BoundComponent:
    """A component whose references are explicit, as a stage (or a preparation of it, by ``name``) computes it.

    An experiment has few bound components and many tasks, so what does not depend on the point is computed here, once.
    ``given`` is the component as it was bound, ``component`` its equivalent that runs, on ``threads`` threads.
    """

    def __init__(
        self,
        given: Stage,
        stage: str,
        part: Part | None,
        against: str | None,
        digests: Digests,
        is_gathered: Callable[[Ref[Any]], bool],
        threads: int,
        name: str = "",
    ) -> None:
        self.given, self.component = given, given.equivalent()
        self.stage, self.part, self.against, self.name = stage, part, against, name
        self._digests, self._is_gathered, self.threads = digests, is_gathered, threads
        self.references = tuple(self.component.references())
        self.keys = tuple(map(str, self.references))
        self.stochastic = self.component.stochastic

    @cached_property
    def preparations(self) -> Mapping[str, BoundComponent]:
        """What must be fitted before the task runs, by name."""
        return self._preparations(self.component)

    @cached_property
    def given_preparations(self) -> Mapping[str, BoundComponent]:
        """What the component prepares as it was bound, by name."""
        return self.preparations if self.given is self.component else self._preparations(self.given)

    @cached_property
    def code(self) -> list[str]:
        """The digests of the modules that the component and those nested in it are written in."""
        return sorted({self._digests.code(type(part).__module__) for part in self.component.with_nested()})

    def ingredients(self, inputs: Mapping[str, Input], seed: int) -> dict[str, Any]:
        """Return what a task of the component depends on, as plain values."""
        # An evaluation's rows name their subjects, so the names are part of the result.
        is_named = isinstance(self.component, Evaluation)

        def identity(ref: Ref[Any]) -> dict[str, Any]:
            if self._is_gathered(ref):
                cells = [[cell.fingerprint, dict(cell.point or {})] for k, cell in inputs.items() if is_cell_of(k, ref)]
                return {"ref": str(ref), "is": cells}
            key = str(ref)
            found = inputs[key]
            return {"ref": key if is_named else None, "is": found.definition or [found.fingerprint, found.part]}

        # The content of a file counts, not its path, so that moving the file recomputes nothing.
        values = plain(self.component, identity, paths=False)
        sources = isinstance(self.component, Evaluation) and self.component.names_sources
        return {
            **({"sources": [inputs[key].origin for key in self.keys]} if sources else {}),
            "component": values,
            "code": self.code,
            "part": self.part,
            "seed": [seed, self._stream] if self.stochastic else None,
            "backend": None if isinstance(self.component, Dataset) else backend.name(),
            "threads": None if isinstance(self.component, Dataset) else self.threads,
            "files": self.files,
            "reads": [identity(ref) for ref in self.references if ref.clean],
            "prepared": {name: inputs[str(prepared(name))].fingerprint for name in self.preparations},
        }

    def label(self, point: Mapping[str, Plain]) -> str:
        """Return the label of the task at a point, as users see it."""
        return " ".join([self._stem, *(f"{axis}={show_value(value)}" for axis, value in point.items())])

    @cached_property
    def _stream(self) -> str:
        return self.component.stream(self.stage)

    @cached_property
    def files(self) -> list[str]:
        """The digests of the files that the component reads, in the order it names them."""
        return [self._digests.content(path) for path in self.component.files()]

    def changed_file(self) -> str:
        """Return which of these files has changed since its digest was taken; empty: none."""
        paths = list(self.component.files())
        for path, before in zip_longest(paths, self.files):
            try:
                now = self._digests.content(path) if path else None
            except (OSError, StageError):
                now = None
            if now is None or now != before:
                return str(path or paths)
        return ""

    @cached_property
    def _stem(self) -> str:
        what = self.name or self.part
        text = self.stage + (f".{what}" if what else "") + (f"@{self.against}" if self.against else "")
        if not isinstance(self.component, Evaluation | Preparation):
            return text
        nested = [part for part in self.component.with_nested() if part is not self.component]
        # A single nested component may be all that distinguishes a task from its neighbours.
        about = [
            *(ref.stage for ref in self.references if not ref.clean),
            *(display_name(p) for p in nested if len(nested) == 1),
        ]
        return f"{text}[{', '.join(dict.fromkeys(about))}]"

    def _preparations(self, component: Stage) -> Mapping[str, BoundComponent]:
        return {
            name: BoundComponent(
                made, self.stage, None, self.against, self._digests, self._is_gathered, self.threads, name
            )
            for name, made in component.preparations().items()
        }


def show_value(value: Plain) -> str:
    """Return the value of an axis as labels show it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
