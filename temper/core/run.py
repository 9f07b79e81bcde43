"""What a component is given while it works: its inputs, its random stream, and a way to report progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from temper.core.artefacts import Results, Row
from temper.core.checkpoint import Checkpoint
from temper.core.component import Component, Part, Plain, Ref

T = TypeVar("T")
Progress = Callable[[int, int, str], None]


def prepared(name: str) -> Ref[Any]:
    """Return what the inputs of a work call the artefact of one of its preparations."""
    return Ref("", prepared=name)


@dataclass(frozen=True)
class MeasuredValue:
    """A row of another evaluation, and where on the axes it was measured."""

    row: Row
    point: Mapping[str, Plain]

    def column(self, name: str) -> Plain:
        """Return what a tidy row says in a column: an axis, ``seed``, ``model``, ``examples``, ``group``; ``None`` if empty."""
        value: Plain = self.point[name] if name in self.point else getattr(self.row, name, None)
        return None if value == "" else value


@dataclass(frozen=True)
class DataOrigin:
    """Where images come from: ``source`` is the data set, or its part, and ``perturbed`` whether they were made of its images.

    ``classes`` are the names of the data set's classes; of a model, of those it was made for.

    Indices of images of different sources have nothing to do with each other.
    """

    source: str = ""
    perturbed: bool = False
    classes: Sequence[str] = ()


class Run:
    """The surroundings of one piece of work.

    Attributes:
        stage: the stage's name in the experiment file.
        stream: the name that the random stream derives from, the stage's own unless its component says otherwise.
        part: the part a generator is asked for; ``None`` for every other family.
        seed: the experiment's seed (0 for a deterministic component).
        images: how many images were processed, for the cost report; a component adds to it.
        remarks: sentences that the report shows among its warnings, each with whether a smoke run shows it.
        checkpoint: where a long work keeps its state, and finds it again after a kill.
    """

    def __init__(
        self,
        stage: str,
        seed: int,
        part: Part | None,
        load: Callable[[Ref[Any]], Any],
        cost: Callable[[Ref[Any]], Mapping[str, Any]],
        progress: Progress,
        gather: Callable[[Ref[Results]], Sequence[MeasuredValue]] = lambda ref: (),
        stream: str | None = None,
        checkpoint: Checkpoint | None = None,
        origin: Callable[[Ref[Any]], DataOrigin] = lambda ref: DataOrigin(),
    ) -> None:
        self.stage, self.seed, self.part = stage, seed, part
        self.stream = stage if stream is None else stream
        self.images = 0
        self.remarks: dict[str, bool] = {}
        self.checkpoint = Checkpoint() if checkpoint is None else checkpoint
        self._load, self._cost, self._progress, self._gather = load, cost, progress, gather
        self._origin = origin

    def __getitem__(self, ref: Ref[T]) -> T:
        """Return the artefact a reference of the running component stands for."""
        return self._load(ref)  # type: ignore[no-any-return]

    def prepared(self, name: str) -> Any:
        """Return the artefact of one of the running component's ``preparations``."""
        return self._load(prepared(name))

    def gather(self, ref: Ref[Results]) -> Sequence[MeasuredValue]:
        """Return the rows of all cells of another evaluation, in the order of the file, each with its place on the axes."""
        return self._gather(ref)

    def origin(self, ref: Ref[Any]) -> DataOrigin:
        """Return where the images behind a reference come from."""
        return self._origin(ref)

    def class_label(self, ref: Ref[Any], label: int) -> str:
        """Return what results call a class of images or of a model: ``class cat``; by its number where it has no name."""
        names = self._origin(ref).classes
        return f"class {names[label] if label < len(names) else label}"

    def definition(self, ref: Ref[Any]) -> Component:
        """Return the component behind a reference, without its artefact."""
        return self._load(ref)  # type: ignore[no-any-return]

    def cost(self, ref: Ref[Any]) -> Mapping[str, Any]:
        """Return what the artefact behind a reference cost to make: the fields of ``temper.engine.running.resource_usage.Cost``.

        A stage that had preparations adds ``preparation_seconds``.
        """
        return self._cost(ref)

    def progress(self, done: int, total: int, unit: str) -> None:
        """Report that ``done`` of ``total`` units (images, epochs, ...) are finished."""
        self._progress(done, total, unit)

    def remark(self, sentence: str, *, smoke: bool = True) -> None:
        """Have the report warn of something about this stage's artefact that its reader must know.

        ``smoke`` is whether smoke runs say it: not what only a model can do that has learnt.
        """
        self.remarks[sentence] = smoke

    def rng(self, purpose: str = "") -> np.random.Generator:
        """Return the stage's random stream, or a separate one for a ``purpose``.

        Derived from the seed and the stream's name alone, so that adding a stage changes no other's numbers.
        """
        return np.random.default_rng([self.seed, crc32(self.stream.encode()), crc32(purpose.encode())])

    def framework_seed(self) -> int:
        """Return a 31-bit seed for frameworks that take an integer."""
        return int(self.rng("framework").integers(2**31))
