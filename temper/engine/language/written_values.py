"""What users write for a value: fractions and paths, converted to numbers and absolute paths."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from temper.core.component import Component, Field, Kind, fields_of
from temper.core.errors import KeyPath
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.catalogue.json_schema import FRACTION
from temper.system.files import kind_of

Change = Callable[[KeyPath, Field, Kind, Any], Any]


def converted(raw: Any, cls: type[Component], catalogue: Catalogue, path: Callable[[KeyPath, str], str]) -> Any:
    """Return the plain values of a component with fractions as numbers and every file's path as ``path(place, text)``."""

    def convert(place: KeyPath, field: Field, kind: Kind, value: Any) -> Any:
        if field.is_path(value) and isinstance(value, str):
            return path(place, value)
        if kind.name == "mapping" and isinstance(value, Mapping):
            return {key: fraction(item) for key, item in value.items()}
        return fraction(value) if kind.name == "float" else value

    return map_values(raw, cls, catalogue, convert)


def map_values(raw: Any, cls: type[Component], catalogue: Catalogue, change: Change, place: KeyPath = ()) -> Any:
    """Return plain values with each single value replaced by ``change(path, field, kind, value)``.

    Lists and nested components are entered. Unknown keys, unknown types and what is no mapping stay as they are.
    """
    if not isinstance(raw, Mapping):
        return raw

    def mapped(value: Any, field: Field, kind: Kind, place: KeyPath) -> Any:
        if kind.name == "nested" and isinstance(value, Mapping):
            assert kind.target is not None
            leaf = catalogue.of(kind.target).get(str(value.get("type")))
            return map_values(value, leaf, catalogue, change, place) if leaf else value
        if kind.name == "many" and isinstance(value, list):
            assert kind.item is not None
            return [mapped(item, field, kind.item, (*place, i)) for i, item in enumerate(value)]
        if kind.name == "optional":
            assert kind.item is not None
            return mapped(value, field, kind.item, place)
        return change(place, field, kind, value)

    fields = {field.name: field for field in fields_of(cls)}
    return {
        name: mapped(value, fields[name], fields[name].kind, (*place, name)) if name in fields else value
        for name, value in raw.items()
    }


def number(text: str) -> float | None:
    """Return the value of a fraction such as ``8/255``, or ``None`` if the text is not a fraction."""
    if not re.match(FRACTION, text):
        return None
    above, below = (Fraction(part.strip().rstrip(".")) for part in text.split("/"))
    return float(above / below)


def fraction(value: Any) -> Any:
    """Return a plain value, or its number if it is the text of a fraction."""
    found = number(value) if isinstance(value, str) else None
    return value if found is None else found


def expand_path(text: str, folder: Path) -> tuple[str, str]:
    """Return an absolute path, and the name of an environment variable that is not set (or "").

    ``~`` and ``${NAME}`` are expanded; a relative path starts at the folder of the file that contains it.
    """
    expanded = os.path.expandvars(os.path.expanduser(text))  # noqa: PTH111 - together with expandvars
    unset = re.search(r"\$\{(\w+)\}", expanded)
    return os.path.normpath(folder / expanded), unset.group(1) if unset else ""


def located(text: str, folder: Path) -> tuple[str, str]:
    """Return the absolute path of a file or folder named in a file, and what is wrong with it (or "")."""
    full, unset = expand_path(text, folder)
    if unset:
        return full, f"the environment variable {unset} is not set; set it, or write the path out"
    if not os.path.exists(full):  # noqa: PTH110 - Path.exists raises where the name is too long
        return full, f"there is no file or folder {full}; relative paths start at the experiment file's folder"
    if kind := kind_of(Path(full)):
        return full, f"expected a file or folder, received {kind}"
    return full, ""
