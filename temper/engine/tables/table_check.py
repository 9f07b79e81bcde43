"""Problems of a table or an expected value, found before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from math import prod

from temper.core.component import Plain
from temper.core.report_spec import LEVELS, ExpectedSpec, Labels, TableSpec
from temper.engine.report.radar import LEAST_SPOKES

Varies = Mapping[str, Sequence[Plain]]


def table_faults(spec: TableSpec, varies: Varies) -> list[str]:
    """Return the problems that prevent a table, one sentence each.

    ``varies`` maps each column of the evaluation's rows that is known to take values (``model``, ``examples``,
    ``metric``, ``group``, every axis it depends on) to those values in order.
    """
    known = tuple(dict.fromkeys((*varies, *LEVELS)))
    faults = [
        *_unknown_levels(spec, known),
        *(f"{side}: empty; name at least one of {', '.join(known)}" for side in _empty_sides(spec)),
        *_repeated_levels(spec),
        *(fault for level in known for fault in _unknown_values(spec, level, varies.get(level, ()))),
        *_unknown_against(spec, varies.get("metric", ())),
        *filter(None, [_too_few_spokes(spec, varies)]),
    ]
    # A misspelt or missing side would make its levels appear unplaced as well.
    if set(spec.levels) - set(known) or _empty_sides(spec):
        return faults
    return faults + [fault for level in known if (fault := _unplaced(spec, level, varies.get(level, ())))]


def _unknown_levels(spec: TableSpec, known: Sequence[str]) -> Iterator[str]:
    for side, names in (("rows", spec.rows), ("columns", spec.columns), ("where", tuple(spec.where))):
        for name in names:
            if name not in known:
                yield f"{side}: '{name}' is not a column of the results of '{spec.source}'{_nearest(name, known)}"


def _repeated_levels(spec: TableSpec) -> Iterator[str]:
    for name in dict.fromkeys(spec.levels):
        if (times := spec.levels.count(name)) > 1:
            yield f"rows and columns: '{name}' stands there {times} times; keep one"


def _unknown_values(spec: TableSpec, level: str, values: Sequence[Plain]) -> Iterator[str]:
    field = "metric" if level == "metric" and spec.metric else f"where.{level}"
    for value in spec.allowed(level) or ():
        if values and not _is_among(value, values):
            listed = f"{_listed(values)}){_nearest(value, values)}"
            yield f"{field}: '{value}' is not one of the values of '{spec.source}' ({listed}"


def _unknown_against(spec: TableSpec, metrics: Sequence[Plain]) -> Iterator[str]:
    if spec.against is not None and spec.against not in metrics:
        yield f"against: '{spec.against}' is no metric of '{spec.source}'{_nearest(spec.against, metrics)}"


def _too_few_spokes(spec: TableSpec, varies: Varies) -> str:
    """Return the problem of a radar that is known to have no polygon."""
    counts = [
        len(allowed) if (allowed := spec.allowed(level)) else len(varies.get(level, ())) for level in spec.columns
    ]
    if spec.figure != "radar" or 0 in counts or prod(counts) >= LEAST_SPOKES:
        return ""
    return f"figure: a radar has a spoke for each column and takes {LEAST_SPOKES}, received {prod(counts)}; take bars"


def _empty_sides(spec: TableSpec) -> list[str]:
    return [side for side, names in (("rows", spec.rows), ("columns", spec.columns)) if not names]


def _unplaced(spec: TableSpec, level: str, values: Sequence[Plain]) -> str | None:
    """Return the problem of a level in which several numbers of one cell would differ."""
    # Seeds are averaged, and without `group` the table shows the ungrouped numbers.
    if level in spec.levels or level in ("seed", "group"):
        return None
    allowed = spec.allowed(level)
    if level == "metric" and allowed is None and not values:
        return "metric: missing; name one, or put metric in rows or columns"
    left = [value for value in values if allowed is None or value in allowed]
    if len(left) < 2:
        return None
    fix = "name one under metric:" if level == "metric" else f"fix it with where: {{{level}: {left[0]}}}"
    return (
        f"{level}: '{spec.source}' varies over {level} ({_listed(left)}), which is in neither rows nor columns; "
        f"put {level} in one of them, or {fix}"
    )


def expected_faults(spec: ExpectedSpec, tables: Mapping[str, TableSpec], varies: Varies) -> list[str]:
    """Return the problems of an expected value; ``varies`` as for the table it names."""
    if spec.table not in tables:
        return [f"table: there is no table '{spec.table}'{_nearest(spec.table, tuple(tables))}"]
    table = tables[spec.table]
    faults = []
    for side, labels, levels in (("row", spec.row, table.rows), ("column", spec.column, table.columns)):
        for level, value in by_level(labels, levels).items():
            if level not in levels:
                faults.append(f"{side}: '{level}' is not a level of table '{spec.table}'{_nearest(level, levels)}")
            elif varies.get(level) and not _is_among(value, varies[level]):
                faults.append(
                    f"{side}.{level}: '{value}' is not one of {_listed(varies[level])}{_nearest(value, varies[level])}"
                )
    if spec.tolerance < 0:
        faults.append(f"tolerance: expected a number of at least 0, received {spec.tolerance:g}")
    return faults


def by_level(labels: Labels | Plain, levels: Sequence[str]) -> Labels:
    """Return labels by level; a plain label belongs to the outermost level."""
    return labels if isinstance(labels, Mapping) else {levels[0]: labels}


def _is_among(value: Plain, values: Sequence[Plain]) -> bool:
    """Whether a label is among others, or equals one of these with a suffix in brackets, known only once measured."""
    return value in values or (isinstance(value, str) and value.partition(" (")[0] in values)


def _listed(values: Sequence[Plain]) -> str:
    shown = ", ".join(map(str, values[:6]))
    return shown + (f", … {len(values)} in all" if len(values) > 6 else "")


def _nearest(name: Plain, known: Sequence[Plain]) -> str:
    near = get_close_matches(str(name), [str(k) for k in known], n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {_listed(known)}"
