"""Published numbers next to those of another evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from temper.core.artefacts import Results, Row
from temper.core.component import File, Plain, Ref, empty_mapping
from temper.core.errors import StageError, did_you_mean
from temper.core.families import Evaluation
from temper.core.run import MeasuredValue, Run
from temper.system import csv_files

_LABELS = ("metric", "model", "examples")
_COLUMNS = {"metric": csv_files.Column(), "value": csv_files.Column("float")}
Line = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Published(Evaluation):
    """Numbers of another evaluation next to the published ones, read from a .csv file.

    A line of the file has a metric and its value, in the unit of the evaluation (a share, not percent), and label
    columns: ``model``, ``examples``, axes, and any others, by which ``where`` selects lines; ``source`` becomes a note.
    Lines whose labels match no measured number are skipped, and so are numbers with a group or of a metric that is not
    in the file. ``group`` is the metric; ``ratio`` is measured over published. For an axis value without lines, only
    the measured numbers are reported.

    Source: none; the numbers say theirs.
    """

    tag = "published"
    metrics = ("measured", "published", "ratio")
    framework = False
    rows = ("model", "examples", "group")
    columns = ("metric",)

    of: Annotated[Ref[Results], "the evaluation to compare with published numbers"]
    file: Annotated[str, ".csv file with the columns metric, value, and labels", File()]
    where: Annotated[Mapping[str, Plain], "columns of the file and the values they must have"] = empty_mapping()
    names: Annotated[Mapping[str, Plain], "labels of the experiment mapped to their spelling in the file"] = (
        empty_mapping()
    )

    def check(self) -> Iterator[tuple[str, str]]:
        try:
            columns, lines = _read(self.file)
        except StageError as error:
            yield "file", str(error)
            return
        for column in self.where:
            if column not in columns:
                known = did_you_mean(column, columns) or f"; it has {', '.join(columns)}"
                yield "where", f"the file has no column '{column}'{known}"
        if set(self.where) <= set(columns) and not any(map(self._wanted, lines)):
            yield "where", f"none of the {len(lines)} lines of the file has these values"

    def gathers(self, column: str) -> bool:
        return False

    def measure(self, run: Run) -> Iterable[Row]:
        columns, lines = _read(self.file)
        wanted = [line for line in lines if self._wanted(line)]
        metrics, found = {line["metric"] for line in wanted}, False
        for ours in run.gather(self.of):
            if ours.row.group or ours.row.metric not in metrics:
                continue
            theirs = [line for line in wanted if self._same(line, columns, ours)]
            if len(theirs) > 1:
                raise StageError(
                    f"{self.file}: {len(theirs)} lines match '{ours.row.metric}' of '{ours.row.model or ours.row.examples}'; "
                    "select one with `where`"
                )
            found |= bool(theirs) or self._unknown(wanted, columns, ours)
            yield from self._rows(ours.row, theirs)
        if not found:
            raise StageError(
                f"{self.file}: no line has the labels of a number of '{self.of}'; set their spelling in the file with `names`"
            )

    def _wanted(self, line: Line) -> bool:
        return all(str(line[column]) == str(value) for column, value in self.where.items())

    def _same(self, line: Line, columns: tuple[str, ...], ours: MeasuredValue) -> bool:
        own = {**dict.fromkeys(_LABELS, ""), **{name: ours.column(name) for name in (*_LABELS, *ours.point)}}
        return all(line[name] == self._name(own[name]) for name in columns if name in own)

    def _unknown(self, wanted: Sequence[Line], columns: tuple[str, ...], ours: MeasuredValue) -> bool:
        """Whether nothing was published for the axis values of a measured number, such as int8."""
        axes = [name for name in ours.point if name in columns]
        return any(all(line[name] != self._name(ours.column(name)) for line in wanted) for name in axes)

    def _name(self, label: Plain) -> str:
        return "" if label is None else str(self.names.get(str(label), label))

    def _rows(self, ours: Row, theirs: list[Line]) -> Iterator[Row]:
        about: dict[str, Any] = {"model": ours.model, "examples": ours.examples, "group": ours.metric}
        yield Row(
            metric="measured", value=ours.value, n=ours.n, unit=ours.unit, lower=ours.lower, upper=ours.upper,
            higher_is_better=ours.higher_is_better, note=ours.note, **about,
        )  # fmt: skip
        for line in theirs:
            value = line["value"]
            if ours.unit == "proportion" and not 0 <= value <= 1:
                raise StageError(
                    f"{self.file}: expected a share in [0, 1] as value of '{ours.metric}', received {value:g}; "
                    "write 0.975 for 97.5 %"
                )
            yield Row(
                metric="published", value=value, n=0, unit=ours.unit, higher_is_better=ours.higher_is_better,
                note=line.get("source", ""), **about,
            )  # fmt: skip
            if value and ours.unit != "percentage points":  # the ratio of differences is meaningless
                ratio = ours.value / value
                yield Row(metric="ratio", value=ratio, n=ours.n, unit="ratio", higher_is_better=None, **about)


def _read(path: str) -> tuple[tuple[str, ...], Sequence[Line]]:
    """Return the columns and the lines of a file.

    Raises:
        StageError: it is not such a file.
    """
    table = csv_files.read(Path(path), _COLUMNS)
    for row, line in zip(table.rows, table.lines, strict=True):
        if not math.isfinite(row["value"]):
            raise csv_files.CsvError(Path(path), line, f"expected a finite number as value, received {row['value']}")
    return table.columns, table.rows
