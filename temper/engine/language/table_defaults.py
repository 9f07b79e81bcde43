"""The tables of an experiment: those its file declares, and one for each evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from temper.core.errors import KeyPath, did_you_mean
from temper.core.families import Evaluation
from temper.core.report_spec import ExpectedSpec, TableSpec
from temper.engine.language.experiment import Experiment
from temper.engine.language.result_columns import LABELS, varies
from temper.engine.language.written_values import fraction
from temper.engine.tables.table_check import expected_faults, table_faults


def default_tables(experiment: Experiment) -> dict[str, TableSpec]:
    """Return the table of every evaluation, named after it."""
    return {name: _default(experiment, name) for name in _evaluations(experiment)}


def all_tables(experiment: Experiment, data: Mapping[str, Any]) -> tuple[TableSpec, ...]:
    """Return the tables of the evaluations and those a file declares, given its valid plain values.

    An evaluation's own table is omitted where a declared one repeats it and no expected value names it.
    """
    declared = {name: _declared(experiment, name, raw) for name, raw in data.get("tables", {}).items()}
    repeated = {_layout(table) for table in declared.values()}
    named = {entry["table"] for entry in data.get("expected", [])}
    default = default_tables(experiment)
    own = {name: table for name, table in default.items() if name in named or _layout(table) not in repeated}
    return tuple((own | declared).values())


def _layout(table: TableSpec) -> tuple[Any, ...]:
    return table.source, table.rows, table.columns, table.metric, tuple(table.where.items())


def expected_values(raw: list[Mapping[str, Any]]) -> tuple[ExpectedSpec, ...]:
    """Return the published numbers a file lists under ``expected:``."""
    return tuple(
        ExpectedSpec(**{**entry, "row": _label(entry["row"]), "column": _label(entry["column"])}) for entry in raw
    )


def problems(experiment: Experiment, data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield (path, message) for every problem of ``tables:`` and ``expected:`` that no schema can find."""
    evaluations = _evaluations(experiment)
    valid = default_tables(experiment)
    for name, raw in (data.get("tables") or {}).items():
        source = raw["from"]
        if source not in evaluations:
            yield (
                ("tables", name, "from"),
                f"no evaluation is called '{source}'{did_you_mean(source, evaluations) or _known(evaluations)}",
            )
            continue
        table = _declared(experiment, name, raw)
        found = table_faults(table, varies(experiment, source))
        yield from ((("tables", name), message) for message in found)
        if not found:
            valid[name] = table
    for i, expected in enumerate(expected_values(data.get("expected") or [])):
        if expected.table in valid or expected.table not in (data.get("tables") or {}):
            column = varies(experiment, valid[expected.table].source) if expected.table in valid else {}
            yield from ((("expected", i), message) for message in expected_faults(expected, valid, column))


def _default(experiment: Experiment, name: str) -> TableSpec:
    cls = experiment.stages[name].cls
    assert issubclass(cls, Evaluation)
    known = varies(experiment, name)
    axes = tuple(column for column in known if column in experiment.axes)
    # A level that is empty everywhere needs no place, unless it is the only one.
    labels = tuple(level for level in cls.rows if level in known or level not in LABELS) or cls.rows
    # Axes go with the examples, since these are swept most often; failing that, to the rows.
    rows, columns = (labels, cls.columns + axes) if "examples" in cls.columns else (labels + axes, cls.columns)
    metric = None if "metric" in rows + columns else cls.metrics[0]
    return TableSpec(name=name, source=name, rows=rows, columns=columns, metric=metric, figure=cls.figure)


def _declared(experiment: Experiment, name: str, raw: Mapping[str, Any]) -> TableSpec:
    cls = experiment.stages[raw["from"]].cls
    assert issubclass(cls, Evaluation)
    rows, columns = _many(raw["rows"]), _many(raw["columns"])
    options = {key: raw[key] for key in ("cell", "best", "caption", "against", "figure") if key in raw}
    metric = raw.get("metric", None if "metric" in rows + columns else cls.metrics[0])
    where = {
        key: tuple(map(_label, value)) if isinstance(value, list) else _label(value)
        for key, value in raw.get("where", {}).items()
    }
    return TableSpec(name=name, source=raw["from"], rows=rows, columns=columns, metric=metric, where=where, **options)


def _evaluations(experiment: Experiment) -> list[str]:
    return [name for name, spec in experiment.stages.items() if issubclass(spec.cls, Evaluation)]


def _many(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _label(value: Any) -> Any:
    """Return a label with a fraction converted to the number it represents on an axis."""
    if isinstance(value, Mapping):
        return {key: _label(item) for key, item in value.items()}
    return fraction(value)


def _known(names: list[str]) -> str:
    return f"; there is {', '.join(names)}" if names else "; declare one under evaluate:"
