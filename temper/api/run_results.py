"""The results of a run as Python objects: numbers, tables, failures and what the stages made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temper.api.artefact_choice import Made, choose, made_by_label
from temper.api.in_memory import catalogue
from temper.core.artefacts import Artefact, read_json
from temper.core.classifier import Classifier
from temper.core.display_names import label
from temper.core.errors import SpecError, did_you_mean
from temper.engine.language.axis_points import SEED
from temper.engine.running.session import FAILURE_COLUMNS
from temper.engine.storage.artefact_kinds import artefact_class
from temper.engine.storage.store import STORE, Damaged, Store
from temper.engine.syntax import document
from temper.system import csv_files, packages
from temper.system.csv_files import Column, CsvError

if TYPE_CHECKING:
    import pandas as pd

_NUMBER, _TEXT = Column("float", optional=True), Column()
_COLUMNS = {
    "stage": _TEXT, "model": _TEXT, "examples": _TEXT, "group": _TEXT, "metric": _TEXT, "value": _NUMBER,
    "n": Column("int"), "lower": _NUMBER, "upper": _NUMBER, "unit": _TEXT, "note": _TEXT,
    "higher_is_better": Column("bool", optional=True), SEED: Column("int", optional=True),
}  # fmt: skip
_AGAIN = "run the experiment again, which computes what is missing"


class RunResults:
    """The results folder of a run, and the store that holds what its stages made.

    Attributes:
        folder: where the results are.
    """

    def __init__(self, folder: Path, store: Path, components: Sequence[str | Path] = ()) -> None:
        self.folder = folder
        self._store, self._components = Store(store), components

    def __repr__(self) -> str:
        return f"<results in {self.folder}: tables {', '.join(self.tables) or 'none'}; {len(self.failures)} failures>"

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The tidy rows of ``results.csv``: a number each, with axes and ``seed`` as numbers where they are.

        Proportions are in [0, 1]; ``seed`` is empty (``<NA>``) where a number does not depend on it.

        Raises:
            SpecError: the file is missing or damaged, or pandas is not installed.
        """
        _require("results.frame", ["pandas"])
        import pandas as pd

        table = self._csv("results.csv", _COLUMNS)
        frame = pd.DataFrame(table.rows, columns=list(table.columns))
        for name in ("value", "lower", "upper"):
            frame[name] = frame[name].astype("float64")
        frame[SEED] = frame[SEED].astype("Int64")
        for name, values in self._axes.items():
            if name in frame.columns and name != SEED:
                known = {str(value): value for value in values}
                found = [known.get(text, _value(text)) for text in frame[name]]
                # What does not depend on an axis has no value there.
                frame[name] = pd.Series(
                    found, index=frame.index, dtype=None if any(map(_is_text, found)) else "float64"
                )
        return frame

    @property
    def tables(self) -> list[str]:
        """The names of the tables that ``table`` takes."""
        return list(self._resolved.get("tables") or {})

    def table(self, name: str, *, numbers: bool = False) -> pd.DataFrame:
        """Return a table as it is written, indexed by the levels of its rows and columns, with axes and seeds as numbers.

        Cells are texts such as ``98.14 ± 0.51``; with ``numbers`` their first numbers as printed (means; proportions in
        percent), nan where there is none. ``attrs["quantity"]`` says what they are: ``accuracy (%), transfer``.

        Raises:
            SpecError: there is no such table, its file is missing or damaged, or pandas is not installed.
        """
        _require("results.table", ["pandas"])
        import pandas as pd

        specs = self._resolved.get("tables") or {}
        if name not in specs:
            hint = did_you_mean(name, specs) or f"; there is {', '.join(specs) or 'none'}"
            raise SpecError.at(str(self.folder), 0, f"there is no table '{name}'{hint}")
        rows, columns = (list(specs[name][side]) for side in ("rows", "columns"))
        path = self._path(f"{name}.csv")
        with _damage_reported(path):
            records = csv_files.records(path, csv_files.OWN_LIMIT)
        heads, body = records[: len(columns)], records[len(columns) :]
        width = len(rows)
        if len(heads) < len(columns) or {len(record) for record in records} != {len(heads[0])}:
            raise SpecError.at(str(path), 0, f"expected {len(columns)} rows of headers and cells below; {_AGAIN}")
        across = [
            [self._level(level, text) for text in head[width:]] for level, head in zip(columns, heads, strict=True)
        ]
        down = [[self._level(level, record[i]) for record in body] for i, level in enumerate(rows)]
        cells: list[list[Any]] = [record[width:] for record in body]
        frame = pd.DataFrame(
            [[_first_number(cell) for cell in row] for row in cells] if numbers else cells,
            index=_index(down, rows),
            columns=_index(across, columns),
        )
        frame.attrs["quantity"] = heads[0][0]
        return frame

    @cached_property
    def failures(self) -> list[dict[str, Any]]:
        """The stages that failed, each with ``stage``, ``label``, ``cause``, ``host``, ``seconds``, ``peak_memory`` and ``log``."""
        if not (self.folder / "failures.csv").is_file():
            return []
        kinds = dict.fromkeys(FAILURE_COLUMNS, _TEXT) | {"seconds": _NUMBER, "peak_memory": _NUMBER}
        return self._csv("failures.csv", kinds).rows

    def load(self, stage: str, *, part: str | None = None, against: str | None = None, **axes: Any) -> Any:
        """Return what a stage made: ``load("mlp", seed=1)``, ``load("pgd", eps=0.1, seed=1)``.

        A model is a Keras model that ends in logits (n, classes); a generator gives ``Examples`` (``x`` float32 (n, height, width,
        channels), ``y``, ``index``) of its ``part`` (default: test), made ``against`` another model if one is named; a data set
        ``Data`` with ``train``, ``validation`` and ``test``, or the ``Examples`` of a ``part``; a localiser its ranking. ``axes`` are the
        seed and the values of axes; they may be left out where only one is there.

        Raises:
            SpecError: no artefact or more than one has this name, it is not in the store, or a package that it needs is not
                installed.
        """
        made = choose(str(self.folder), self._made, self._axes, stage, part, against, axes)
        try:
            kind = artefact_class(self._store, made.fingerprint, catalogue(self._components))
            if issubclass(kind, Classifier):
                _require(f"results.load({stage!r})", packages.for_models())
            artefact: Artefact = self._store.load(made.fingerprint, kind)
        except Damaged as damage:
            raise SpecError.at(str(self.folder), 0, self._missing(made, damage)) from None
        if made.part_of_data:
            return artefact.part(made.part_of_data)  # type: ignore[attr-defined]
        return artefact.model if isinstance(artefact, Classifier) else artefact

    def _missing(self, made: Made, damage: Damaged) -> str:
        root = self._store.root
        if not root.is_dir():
            return (
                f"{made.label} is not here: there is no store at {root}. A results folder that was moved leaves its store behind; "
                f"name it with temper.open(folder, store=...), or {_AGAIN}"
            )
        if not self._store.folder(made.fingerprint).exists():
            return f"{made.label} is not in {root}: it is unfinished, failed, or removed by --gc; {_AGAIN}"
        return f"{made.label} is damaged ({damage}); {_AGAIN}"

    def _level(self, level: str, text: str) -> Any:
        return {label(value): value for value in self._axes.get(level, ())}.get(text, text)

    @cached_property
    def _made(self) -> list[Made]:
        path = self._path("provenance.json")
        try:
            stored = read_json(path)["store"]
            return list(made_by_label(stored, self._resolved))
        except (ValueError, KeyError, TypeError, AttributeError):
            message = f"does not say where artefacts are, as those of Temper 0.2 do; {_AGAIN}"
            raise SpecError.at(str(path), 0, message) from None

    @cached_property
    def _axes(self) -> Mapping[str, list[Any]]:
        return {**(self._resolved.get("axes") or {}), SEED: self._resolved.get("seeds") or []}

    @cached_property
    def _resolved(self) -> dict[str, Any]:
        return dict(document.read(self._path("experiment.resolved.yaml")).data)

    def _csv(self, name: str, columns: Mapping[str, Column]) -> csv_files.Table:
        path = self._path(name)
        with _damage_reported(path):
            return csv_files.read(path, columns, csv_files.OWN_LIMIT)

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a folder cannot be entered
            raise SpecError.at(str(path), 0, f"there is no such file in the results folder; {_AGAIN}")
        return path


def open_results(
    folder: str | Path, *, store: str | Path | None = None, components: Sequence[str | Path] = ()
) -> RunResults:
    """Return the results in a folder such as ``outputs/exp``, of a run in any process.

    ``store`` is where what stages made is kept, by default ``.store`` next to the folder, as a run leaves it; ``components`` are the folders of
    your own components, if these return artefacts of their own.

    Raises:
        SpecError: the folder holds no results.
    """
    path = Path(folder)
    if not os.path.isfile(path / "results.csv"):  # noqa: PTH113
        around = path if path.is_dir() else path.parent
        there = sorted(p.parent.name for p in around.glob("*/results.csv")) if around.is_dir() else []
        hint = f"; {around} holds those of {', '.join(there)}" if there else "; name the results folder of a run"
        what = "holds no results.csv" if path.is_dir() else "is no folder"
        raise SpecError.at(str(path), 0, f"{what}{hint}")
    return RunResults(path, path.absolute().parent / STORE if store is None else Path(store), components)


@contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    """Report the first fault of one of Temper's own CSV files, with its line and what to do."""
    try:
        yield
    except CsvError as fault:
        raise SpecError.at(str(path), fault.line, f"{fault.message}; {_AGAIN}") from None


def _require(where: str, names: Iterable[str]) -> None:
    if advice := packages.advice(names):
        raise SpecError.at(where, 0, advice)


def _index(labels: list[list[Any]], names: list[str]) -> pd.Index[Any]:
    import pandas as pd

    return pd.Index(labels[0], name=names[0]) if len(names) == 1 else pd.MultiIndex.from_arrays(labels, names=names)


def _value(text: str) -> Any:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bool)


def _first_number(cell: str) -> float:
    try:
        return float(cell.partition(" ")[0].replace("∞", "inf"))
    except ValueError:
        return float("nan")
