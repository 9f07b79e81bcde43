"""Performs stages on artefacts that are in memory: no experiment file, no store."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from temper.core.component import Component, Part, Ref, fields_of
from temper.core.errors import KeyPath, SpecError, SpecProblem, did_you_mean, dotted
from temper.core.run import Progress, Run
from temper.core.stage import Stage
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.catalogue.schema_validation import Validator
from temper.engine.language.build import build
from temper.engine.language.written_values import converted, located
from temper.engine.running.task import catalogue as catalogue_of

Given = tuple[dict[str, Any], dict[str, tuple[Any, Any]]]


def catalogue(components: Sequence[str | Path]) -> Catalogue:
    """Return the components there are, with those in the user's folders."""
    return catalogue_of(tuple(str(Path(folder).absolute()) for folder in components))


def component(where: str, family: type[Component], name: str, values: Mapping[str, Any], found: Catalogue) -> Any:
    """Return the component of a family with a type's name and parameters, checked as in an experiment file.

    Raises:
        SpecError: there is no such type, or parameters are unknown, missing or out of bounds.
    """
    leaf = _leaf(where, family, name, found)
    problems: list[SpecProblem] = []

    def settled(place: KeyPath, text: str) -> str:
        full, message = located(text, Path.cwd())
        if message:
            problems.append(SpecProblem(where, 0, dotted(place), message))
        return full

    raw = converted(plain({"type": name, **values}), leaf, found, settled)
    root = next(base for base in found.families() if issubclass(leaf, base))
    problems += [SpecProblem(where, 0, dotted(place), text) for place, text in Validator(found).component(root, raw)]
    if not problems:
        made = build(leaf, raw, found)
        problems += [
            SpecProblem(where, 0, dotted((*place, field)), text)
            for place, part in made.with_places()
            for field, text in part.check()
        ]
    if problems:
        raise SpecError(problems)
    return made


def references(where: str, family: type[Component], name: str, values: Mapping[str, Any], found: Catalogue) -> Given:
    """Return parameters with a name in place of each one that is arrays or an artefact, and these by name with their types.

    Raises:
        SpecError: there is no such type, or text is given where images or a model are meant.
    """
    kinds = {field.name: field.kind for field in fields_of(_leaf(where, family, name, found))}
    named, given = dict(values), dict[str, tuple[Any, Any]]()
    for key, value in values.items():
        kind = kinds.get(key)
        kind = kind.item if kind is not None and kind.name == "optional" else kind
        if kind is None or kind.name != "ref" or value is None:
            continue
        if isinstance(value, str):
            raise SpecError.at(where, 0, f"{key}: expected arrays, such as a pair (x, y), received the text {value!r}")
        named[key] = f"given_{key}"
        given[named[key]] = value, kind.target
    return named, given


def _leaf(where: str, family: type[Component], name: str, found: Catalogue) -> type[Component]:
    members = found.of(family)
    if name in members:
        return members[name]
    hint = did_you_mean(str(name), members) or f"; choose one of {', '.join(members)}"
    if others := [leaf for leaf in found.stage(name) if issubclass(leaf, Stage)]:
        hint = f", but a type of the section {others[0].section}: in an experiment file; describe it there and call temper.run"
    raise SpecError.at(where, 0, f"there is no {family.__name__.lower()} '{name}'{hint}")


def plain(value: Any) -> Any:
    """Return a Python value as an experiment file holds it: numpy's numbers, paths, tuples and infinity included."""
    match value:
        case np.generic():
            return plain(value.item())
        case float() if math.isinf(value):
            return "inf" if value > 0 else "-inf"  # a norm
        case Path():
            return str(value)
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case tuple() | list():
            return [plain(item) for item in value]
        case np.ndarray():
            return plain(value.tolist())
        case _:
            return value


class InMemory:
    """Performs stages that read ``artefacts`` by the names of their references; ``remarks`` are what they said.

    The random stream of a stage derives from ``seed`` and the name that ``stage`` has in an experiment file.
    """

    def __init__(self, artefacts: Mapping[str, Any], stage: str, seed: int, progress: Progress) -> None:
        self._artefacts, self._stage, self._seed, self._progress = artefacts, stage, seed, progress
        self._prepared: dict[Stage, Any] = {}
        self.remarks: dict[str, None] = {}

    def perform(self, given: Stage, part: Part | None = None) -> Any:
        """Return the artefact of a stage, after those of what it prepares."""
        stage = given.equivalent()
        preparations = stage.preparations()

        def load(ref: Ref[Any]) -> Any:
            return self._once(preparations[ref.prepared]) if ref.prepared else self._artefacts[ref.stage]

        run = Run(
            self._stage,
            self._seed if stage.stochastic else 0,
            part,
            load,
            lambda ref: {},
            self._progress,
            stream=stage.stream(self._stage),
        )
        made = stage.produce(run)
        stage.review(made, run)
        self.remarks |= dict.fromkeys(run.remarks)
        return made

    def _once(self, preparation: Stage) -> Any:
        if preparation not in self._prepared:
            self._prepared[preparation] = self.perform(preparation)
        return self._prepared[preparation]


def warn(remarks: Sequence[str], where: str) -> None:
    """Warn the caller of a function of this package of what is remarked on its result."""
    for text in filter(None, dict.fromkeys(remarks)):
        warnings.warn(f"{where}: {text}", UserWarning, stacklevel=3)


@contextmanager
def reported(where: str, shown: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Yield what takes progress, and shows it in a bar on the console if it is to be shown."""
    if not shown:
        yield lambda done, total, unit: None
        return
    from rich.progress import Progress as Bars

    with Bars() as bars:
        bar = bars.add_task(where)
        yield lambda done, total, unit: bars.update(bar, completed=done, total=total, description=f"{where}: {unit}")
