"""The context of a running component: its inputs, its random stream, and a way to report progress."""

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
    """Return the key of a preparation's artefact among the inputs of a task."""
    return Ref("", prepared=name)


@dataclass(frozen=True)
class MeasuredValue:
    """A row of another evaluation with its position on the axes."""

    row: Row
    point: Mapping[str, Plain]

    def column(self, name: str) -> Plain:
        """Return a tidy row's value of an axis, ``seed``, ``model``, ``examples`` or ``group``; ``None`` if empty."""
        value: Plain = self.point[name] if name in self.point else getattr(self.row, name, None)
        return None if value == "" else value


@dataclass(frozen=True)
class DataOrigin:
    """The origin of images: ``source`` is the data set or its part, ``perturbed`` whether its images were changed.

    ``classes`` are the class names of the data set; for a model, of the data set it was made for.
    Indices of images of different sources are unrelated.
    """

    source: str = ""
    perturbed: bool = False
    classes: Sequence[str] = ()


class Run:
    """The context of one task.

    Attributes:
        stage: the stage's name in the experiment file.
        stream: the name that the random stream derives from, the stage's own unless its component says otherwise.
        part: the part requested of a generator; ``None`` for every other family.
        seed: the experiment's seed (0 for a deterministic component).
        images: the number of images processed, for the cost report; a component adds to it.
        remarks: sentences that the report shows among its warnings, each with whether a smoke run shows it.
        checkpoint: where a long task saves its state and restores it after a kill.
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
        """Return the artefact that a reference of the running component denotes."""
        return self._load(ref)  # type: ignore[no-any-return]

    def prepared(self, name: str) -> Any:
        """Return the artefact of one of the running component's ``preparations``."""
        return self._load(prepared(name))

    def gather(self, ref: Ref[Results]) -> Sequence[MeasuredValue]:
        """Return the rows of all cells of another evaluation, in file order, each with its position on the axes."""
        return self._gather(ref)

    def origin(self, ref: Ref[Any]) -> DataOrigin:
        """Return the origin of the images behind a reference."""
        return self._origin(ref)

    def class_label(self, ref: Ref[Any], label: int) -> str:
        """Return the label of a class in results: ``class cat``, or its number if it has no name."""
        names = self._origin(ref).classes
        return f"class {names[label] if label < len(names) else label}"

    def definition(self, ref: Ref[Any]) -> Component:
        """Return the component behind a reference, without its artefact."""
        return self._load(ref)  # type: ignore[no-any-return]

    def cost(self, ref: Ref[Any]) -> Mapping[str, Any]:
        """Return the cost of a reference's artefact.

        Keys are the fields of ``temper.engine.running.resource_usage.ResourceUsage``. A stage with preparations adds ``preparation_seconds``.
        """
        return self._cost(ref)

    def progress(self, done: int, total: int, unit: str) -> None:
        """Report that ``done`` of ``total`` units (images, epochs, ...) are finished."""
        self._progress(done, total, unit)

    def remark(self, sentence: str, *, smoke: bool = True) -> None:
        """Add a warning about this stage's artefact to the report.

        ``smoke`` is whether smoke runs show it; false for a warning that only a trained model can avoid.
        """
        self.remarks[sentence] = smoke

    def rng(self, purpose: str = "") -> np.random.Generator:
        """Return the stage's random stream, or a separate one for a ``purpose``.

        Derived from the seed and the stream's name alone, so that adding a stage does not change the numbers of others.
        """
        # CRC-32 and not hash(), which Python salts in every process.
        return np.random.default_rng([self.seed, crc32(self.stream.encode()), crc32(purpose.encode())])

    def framework_seed(self) -> int:
        """Return a 31-bit seed for frameworks that take an integer."""
        return int(self.rng("framework").integers(2**31))
