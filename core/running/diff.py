"""``--diff``: how two runs differ, in their settings and in their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from core.faults import Fault, SpecError


def diff(before: Path, after: Path) -> Iterator[str]:
    """Yield what changed from one results folder to another: settings, then numbers outside each other's interval.

    Raises:
        SpecError: a folder holds no results.
    """
    settings = [dict(_flat(yaml.safe_load(_read(f / "experiment.resolved.yaml")))) for f in (before, after)]
    for key in dict.fromkeys((*settings[0], *settings[1])):
        old, new = (s.get(key, "not there") for s in settings)
        if old != new:
            yield f"{key}: {old} → {new}"
    yield from _numbers(before, after)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"cannot be read ({error.strerror}); name two folders under outputs/ that hold results"
        raise SpecError([Fault("--diff", 0, str(path), message)]) from error


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _numbers(before: Path, after: Path) -> Iterator[str]:
    import pandas as pd

    for folder in (before, after):
        _read(folder / "results.csv")
    frames = [pd.read_csv(folder / "results.csv", keep_default_na=True) for folder in (before, after)]
    fixed = {"experiment", "value", "n", "lower", "upper", "unit", "higher_is_better", "note"}
    keys = [c for c in frames[0].columns if c in frames[1].columns and c not in fixed]
    for frame in frames:
        frame[keys] = frame[keys].astype(str)
    both = frames[0].merge(frames[1], on=keys, how="outer", suffixes=("_old", "_new"), indicator=True, sort=False)
    for _, row in both.iterrows():
        name = " ".join(str(row[key]) for key in keys if str(row[key]) not in ("nan", ""))
        if row["_merge"] == "left_only":
            yield f"{name}: {row['value_old']:.4g} → not there"
        elif row["_merge"] == "right_only":
            yield f"{name}: not there → {row['value_new']:.4g}"
        elif row["value_old"] != row["value_new"]:
            apart = row["value_new"] < row["lower_old"] or row["value_new"] > row["upper_old"]
            mark = "  (outside the interval)" if apart else ""
            yield f"{name}: {row['value_old']:.4g} → {row['value_new']:.4g}{mark}"
