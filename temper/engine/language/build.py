"""Builds components from the plain values of an experiment file, and converts them back to plain values."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from temper.core.component import Component, Kind, Plain, Ref, fields_of
from temper.core.errors import KeyPath
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.catalogue.json_schema import AXIS, FRACTION
from temper.system.files import kind_of

C = TypeVar("C", bound=Component)
Raw = Mapping[str, Any]


def axes_in(value: Any) -> Iterator[str]:
    """Yield the names of the axes (``$name``) that plain values use."""
    if isinstance(value, str):
        if re.match(AXIS, value):
            yield value[1:]
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from axes_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from axes_in(item)


def substitute(value: Any, point: Mapping[str, Plain]) -> Any:
    """Return plain values with every ``$name`` replaced by the axis's value at a point; others are kept."""
    if isinstance(value, str):
        return point.get(value[1:], value) if re.match(AXIS, value) else value
    if isinstance(value, Mapping):
        return {key: substitute(item, point) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, point) for item in value]
    return value


def value_at(value: Any, place: KeyPath) -> Any:
    """Return the part of plain values at a path, or its nearest ancestor that exists."""
    for key in place:
        inside = key in value if isinstance(value, Mapping) else isinstance(value, list) and key in range(len(value))
        if not inside:
            break
        value = value[key]
    return value


def at(point: Mapping[str, Plain], value: Any = None) -> str:
    """Return the end of a message on a value: its point on the axes, limited to those it uses if it uses any."""
    used = set(axes_in(value)) or set(point)
    values = ", ".join(f"{axis} = {value}" for axis, value in point.items() if axis in used)
    return f" (at {values})" if values else ""


def number(text: str) -> float | None:
    """Return the value of a fraction such as ``8/255``, or ``None`` if the text is not a fraction."""
    if not re.match(FRACTION, text):
        return None
    above, below = (Fraction(part.strip().rstrip(".")) for part in text.split("/"))
    return float(above / below)


def normalise(raw: Any, cls: type[Component], catalogue: Catalogue) -> Any:
    """Return plain values with fractions converted to numbers wherever the component expects a number."""
    if not isinstance(raw, Mapping):
        return raw
    fields = {field.name: field for field in fields_of(cls)}
    return {
        key: _normalise(value, fields[key].kind, catalogue) if key in fields else value for key, value in raw.items()
    }


def _normalise(value: Any, kind: Kind, catalogue: Catalogue) -> Any:
    if kind.name == "float":
        return fraction(value)
    if kind.name == "mapping" and isinstance(value, Mapping):
        return {key: fraction(item) for key, item in value.items()}
    if kind.name == "nested" and isinstance(value, Mapping):
        assert kind.target is not None
        leaf = catalogue.of(kind.target).get(str(value.get("type")))
        return normalise(value, leaf, catalogue) if leaf else value
    if kind.item is not None:
        if kind.name == "many" and isinstance(value, list):
            return [_normalise(item, kind.item, catalogue) for item in value]
        if kind.name == "optional":
            return _normalise(value, kind.item, catalogue)
    return value


def map_files(raw: Any, cls: type[Component], catalogue: Catalogue, change: Callable[[KeyPath, str], str]) -> Any:
    """Return plain values with each path of a file replaced by ``change(place, path)``, in nested components too."""
    if not isinstance(raw, Mapping):
        return raw

    def mapped(value: Any, kind: Kind, is_file: bool, place: KeyPath) -> Any:
        if kind.name == "nested" and isinstance(value, Mapping):
            assert kind.target is not None
            leaf = catalogue.of(kind.target).get(str(value.get("type")))
            inner = (lambda at, text: change((*place, *at), text)) if leaf else None
            return map_files(value, leaf, catalogue, inner) if leaf and inner else value
        if kind.name == "many" and isinstance(value, list):
            assert kind.item is not None
            return [mapped(item, kind.item, is_file, (*place, i)) for i, item in enumerate(value)]
        if kind.name == "optional":
            assert kind.item is not None
            return mapped(value, kind.item, is_file, place)
        return change(place, value) if is_file and isinstance(value, str) else value

    fields = {field.name: field for field in fields_of(cls)}
    return {
        name: mapped(value, fields[name].kind, fields[name].is_file, (name,)) if name in fields else value
        for name, value in raw.items()
    }


def completed(raw: Raw, cls: type[Component], catalogue: Catalogue) -> dict[str, Any]:
    """Return plain values with every default filled in, inside nested components too; ``$name`` stays."""
    values: dict[str, Any] = {"type": cls.tag}
    for field in fields_of(cls):
        if field.name in raw:
            values[field.name] = _completed(raw[field.name], field.kind, catalogue)
        elif not field.required:
            values[field.name] = _plain(field.default, str, paths=True)
    return values


def _completed(value: Any, kind: Kind, catalogue: Catalogue) -> Any:
    if kind.name == "nested" and isinstance(value, Mapping):
        assert kind.target is not None
        return completed(value, catalogue.of(kind.target)[value["type"]], catalogue)
    if kind.item is not None:
        if kind.name == "many" and isinstance(value, list):
            return [_completed(item, kind.item, catalogue) for item in value]
        return _completed(value, kind.item, catalogue)
    return value


def fraction(value: Any) -> Any:
    """Return a plain value, or its number if it is the text of a fraction."""
    found = number(value) if isinstance(value, str) else None
    return value if found is None else found


def build(cls: type[C], raw: Raw, catalogue: Catalogue) -> C:
    """Return the component that valid plain values describe; the inverse of ``plain``."""
    values = {}
    for field in fields_of(cls):
        if field.name in raw:
            values[field.name] = _value(raw[field.name], field.kind, catalogue)
    return cls(**values)


def _value(value: Any, kind: Kind, catalogue: Catalogue) -> Any:
    match kind.name:
        case "int":
            return int(value)
        case "float":
            return float(value)
        case "choice":
            return next(choice for choice in kind.choices if choice == value)  # 2.0 is the choice 2
        case "optional":
            assert kind.item is not None
            return None if value is None else _value(value, kind.item, catalogue)
        case "many":
            assert kind.item is not None
            return tuple(_value(item, kind.item, catalogue) for item in value)
        case "ref":
            return Ref.parse(value)
        case "nested":
            assert kind.target is not None
            return build(catalogue.of(kind.target)[value["type"]], value, catalogue)
        case _:
            return value


def plain(component: Component, show: Callable[[Ref[Any]], Any] = str, paths: bool = True) -> dict[str, Any]:
    """Return a component as plain JSON values with every default filled in, and references as ``show`` returns them.

    Without ``paths``, the paths of files are omitted.
    """
    values: dict[str, Any] = {"type": component.tag}
    for field in fields_of(type(component)):
        value = getattr(component, field.name)
        values[field.name] = None if field.is_file and not paths else _plain(value, show, paths)
    return values


def _plain(value: Any, show: Callable[[Ref[Any]], Any], paths: bool) -> Any:
    if isinstance(value, Component):
        return plain(value, show, paths)
    if isinstance(value, Ref):
        return show(value)
    if isinstance(value, tuple):
        return [_plain(item, show, paths) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item, show, paths) for key, item in value.items()}
    return value


def map_references(value: Any, change: Any, field_name: str = "") -> Any:
    """Return a component (or a field's value) with every reference replaced by ``change(field_name, ref)``."""
    if isinstance(value, Ref):
        return change(field_name, value)
    if isinstance(value, tuple):
        return tuple(map_references(item, change, field_name) for item in value)
    if isinstance(value, Component):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}  # type: ignore[arg-type]
        mapped = {name: map_references(item, change, name) for name, item in fields.items()}
        return changed(value, **{name: item for name, item in mapped.items() if item is not fields[name]})
    return value


def changed(component: C, **values: Any) -> C:
    """Return a component with some fields replaced."""
    return dataclasses.replace(component, **values) if values else component  # type: ignore[type-var]


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
