"""Builds components from plain values, and converts them back to plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from temper.core.component import Component, Kind, Ref, fields_holding, fields_of
from temper.engine.catalogue.discovery import Catalogue

C = TypeVar("C", bound=Component)
Show = Callable[[Ref[Any]], Any]
_SCALARS = (bool, int, float, str)


def build(cls: type[C], raw: Mapping[str, Any], catalogue: Catalogue) -> C:
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


def plain(component: Component, show: Show = str, paths: bool = True) -> dict[str, Any]:
    """Return a component as plain JSON values with every default filled in, and references as ``show`` returns them.

    Without ``paths``, the paths of files are omitted.
    """
    values: dict[str, Any] = {"type": component.tag}
    for field in fields_of(type(component)):
        value = getattr(component, field.name)
        values[field.name] = None if field.is_path(value) and not paths else plain_value(value, show, paths)
    return values


def plain_value(value: Any, show: Show = str, paths: bool = True) -> Any:
    """Return the value of a field as ``plain`` does."""
    if value is None or isinstance(value, _SCALARS):
        return value
    if isinstance(value, Ref):
        return show(value)
    if isinstance(value, tuple | list):
        return [plain_value(item, show, paths) for item in value]
    if isinstance(value, Mapping):
        return {key: plain_value(item, show, paths) for key, item in value.items()}
    return plain(value, show, paths)


def map_references(component: C, change: Callable[[str, Ref[Any]], Ref[Any]], **given: Any) -> C:
    """Return a component with every reference replaced by ``change(field_name, ref)``, after the references ``given``.

    References in lists and in nested components are replaced, too. A component without a difference is returned itself.
    """

    def mapped(value: Any, name: str) -> Any:
        if isinstance(value, Ref):
            return change(name, value)
        if isinstance(value, tuple):
            return tuple(mapped(item, name) for item in value)
        return map_references(value, change) if isinstance(value, Component) else value

    values = {}
    for name in fields_holding(type(component), "ref", "nested"):
        before = getattr(component, name)
        after = mapped(given.get(name, before), name)
        if after is not before and after != before:
            values[name] = after
    return dataclasses.replace(component, **values) if values else component  # type: ignore[type-var]
