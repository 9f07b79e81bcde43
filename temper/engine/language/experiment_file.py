"""Reads an experiment file into a checked experiment, or reports all its problems at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from temper.core.component import Component
from temper.core.errors import KeyPath, SpecError, SpecProblem, did_you_mean
from temper.core.stage import Stage
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.catalogue.json_schema import is_axis
from temper.engine.catalogue.schema_validation import Validator, show
from temper.engine.catalogue.sections import SECTIONS
from temper.engine.language import on_out_of_memory, reserved_names, result_columns, table_defaults, task_limit
from temper.engine.language.axis_points import SEED, axis_places
from temper.engine.language.experiment import Experiment, StageSpec
from temper.engine.language.reference_checks import reference_problems
from temper.engine.language.smoke_run import shrink
from temper.engine.language.stage_checks import stage_problems
from temper.engine.language.written_values import converted, fraction, located
from temper.engine.syntax import extends
from temper.engine.syntax.document import Document
from temper.engine.syntax.value_origin import Layered
from temper.system.threads import DEFAULT

RESERVED = ("experiment", "stage", "model", "examples", "group", "metric", "value", "n", "lower", "upper", "unit",
            "higher_is_better", "note", "reason")  # fmt: skip
"""Columns of results and of missing results; no axis may have such a name."""


def load(
    path: Path,
    catalogue: Catalogue,
    sets: Sequence[str] = (),
    seeds: Sequence[int] = (),
    smoke: bool = False,
    name: str = "",
    document: Document | None = None,
) -> Experiment:
    """Return the experiment a file describes, under another ``name`` if one is given; ``document`` is the file if it is read.

    Raises:
        SpecError: with every problem of the file.
    """
    layered = extends.load(path, sets, name, document)
    return _Reader(layered, path, catalogue).read(seeds, smoke)


class _Reader:
    def __init__(self, layered: Layered, path: Path, catalogue: Catalogue) -> None:
        self.layered, self.path, self.catalogue = layered, path, catalogue
        self.validator = Validator(catalogue)
        self.data: dict[str, Any] = {key: value for key, value in layered.data.items() if value is not None}
        self.problems: list[SpecProblem] = [problem for _, problem in layered.unread]
        self.broken = {str(path[1]) for path, _ in layered.unread if len(path) > 1 and path[0] in SECTIONS}
        self.unread = {path for path, _ in layered.unread}

    def report(self, path: KeyPath, message: str) -> None:
        if path not in self.unread:  # the placeholder of an unreadable value is not the user's
            self.problems.append(self.layered.problem(path, message))
        if len(path) > 1 and path[0] in SECTIONS:
            self.broken.add(str(path[1]))

    def read(self, seeds: Sequence[int], smoke: bool) -> Experiment:
        specs = dict(self._stages())
        for finding in self.validator.experiment(self.data):
            self.report(*finding)
        for finding in reserved_names.problems(self.data, self._name):
            self.report(*finding)
        axes = self._axes()
        if not specs and not self.problems:
            self.report((), f"the file declares no stage; declare some under {', '.join(SECTIONS)}")
        experiment = self._experiment(specs, axes, tuple(seeds) or tuple(self._seeds()))
        for name, spec in specs.items():
            if message := task_limit.own_problem(spec, axes, len(experiment.seeds)):
                self.report((spec.section, name), message)
                raise SpecError(self.problems)  # the following checks visit each point
        for name, place, message in stage_problems(experiment, self.validator, skip=frozenset(self.broken)):
            self.report((specs[name].section, name, *place), message)
        no_scalars = {
            axis for axis, values in axes.items() if any(isinstance(value, list | Mapping) for value in values)
        }
        intact = {n: spec for n, spec in specs.items() if n not in self.broken and not spec.own_axes & no_scalars}
        experiment = replace(experiment, stages=intact)
        for name, place, message in reference_problems(experiment, known=specs):
            self.report((specs[name].section, name, *place), message)
        if not self.problems:
            for place, message in (
                *result_columns.repeated(experiment),
                *result_columns.unsuited(experiment),
                *on_out_of_memory.problems(experiment, self.data),
                *table_defaults.problems(experiment, self.data),
            ):
                self.report(place, message)
        if self.problems:
            raise SpecError(self.problems)
        experiment = replace(
            experiment,
            tables=table_defaults.all_tables(experiment, self.data),
            expected=table_defaults.expected_values(self.data.get("expected", [])),
            on_out_of_memory=on_out_of_memory.divisors(self.data),
        )
        return shrink(experiment) if smoke else experiment

    def _stages(self) -> Iterator[tuple[str, StageSpec]]:
        """Yield every stage whose type is known, with fractions and paths resolved."""
        homes: dict[str, str] = {}
        for section, family in SECTIONS.items():
            stages = self.data.get(section, {})
            for name, raw in stages.items() if isinstance(stages, Mapping) else ():
                if name in homes:
                    self.report(
                        (section, name), f"the name is already taken in {homes[name]}:; names are unique in a file"
                    )
                    continue
                homes[name] = section
                cls = self.catalogue.of(family).get(str(raw.get("type"))) if isinstance(raw, Mapping) else None
                if cls is None or not issubclass(cls, Stage):
                    self.broken.add(name)
                    yield name, StageSpec(name, family, {}, self.catalogue)
                    continue
                raw = stages[name] = self._converted((section, name), cls, raw)
                yield name, StageSpec(name, cls, raw, self.catalogue)

    def _converted(self, place: KeyPath, cls: type[Component], raw: dict[str, Any]) -> dict[str, Any]:
        def settled(at: KeyPath, text: str) -> str:
            if is_axis(text):
                self.report((*place, *at), "a path cannot vary over an axis; declare a stage for each file")
                return text
            full, message = located(text, self.layered.folder_of((*place, *at)).resolve())
            if message:
                self.report((*place, *at), message)
            return full

        return converted(raw, cls, self.catalogue, settled)  # type: ignore[no-any-return]

    def _seeds(self) -> list[int]:
        seeds = self.data.get("seeds", [1])
        # A whole number may be written 1.0, as anywhere else.
        return [int(s) for s in seeds if isinstance(s, int | float)] if isinstance(seeds, list) else [1]

    def _threads(self) -> int:
        count = self.data.get("threads", DEFAULT)
        return int(count) if isinstance(count, int | float) else DEFAULT

    def _axes(self) -> dict[str, tuple[Any, ...]]:
        raw = self.data.get("axes", {})
        axes: dict[str, tuple[Any, ...]] = {}
        for name, values in raw.items() if isinstance(raw, Mapping) else ():
            for i, value in enumerate(values if isinstance(values, list) else ()):
                if is_axis(value):
                    self.report(("axes", name, i), f"'{value}' is an axis and no value; write values out")
                    continue
                if (twin := reserved_names.twin(value, values[:i])) is not None:
                    self.report(
                        ("axes", name, i), f"{show(value)} and {show(twin)} are the same value of an axis; keep one"
                    )
                axes[name] = (*axes.get(name, ()), fraction(value))
        used = set()
        for section in SECTIONS:
            for place, axis in axis_places(self.data.get(section)):
                used.add(axis)
                if axis not in axes and axis != SEED:
                    known = did_you_mean(axis, [*axes, SEED]) or "; declare it under axes:"
                    self.report((section, *place), f"there is no axis '{axis}'{known}")
        for name in axes:
            if name == SEED or name in RESERVED:
                self.report(("axes", name), f"'{name}' is a column of every result; choose another name")
            elif name not in used and is_axis(f"${name}"):
                self.report(("axes", name), f"no stage uses ${name}; use it, or take the axis out")
        return axes

    @property
    def _name(self) -> str:
        """The experiment's name: the file's own unless it states one."""
        stated = self.layered.origin_of(("name",))
        # A file that extends another does not inherit its name, which would mix their results.
        own_name = (stated.file == str(self.path) or not stated.line) and self.data.get("name")
        return str(own_name or self.path.stem)

    def _experiment(
        self, stages: Mapping[str, StageSpec], axes: Mapping[str, Any], seeds: tuple[int, ...]
    ) -> Experiment:
        return Experiment(
            name=self._name,
            description=str(self.data.get("description", "")),
            mode=self.data.get("mode", "both"),
            seeds=seeds,
            axes=axes,
            stages=stages,
            tables=(),
            expected=(),
            catalogue=self.catalogue,
            threads=self._threads(),
            problem=self.layered.problem,
        )
