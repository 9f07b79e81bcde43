"""What results call a component that stands inside another: its type, and how it differs from the type's defaults."""

from __future__ import annotations

from typing import Any

from core.component import Component, Ref, fields_of


def named(component: Component) -> str:
    """Return a component's type with the parameters that are not at their defaults: ``dsa (self_match include)``."""
    values = [(field, getattr(component, field.name)) for field in fields_of(type(component))]
    given = [f"{field.name} {_text(value)}" for field, value in values if field.required or value != field.default]
    return component.tag + (f" ({', '.join(given)})" if given else "")


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case Component():
            return named(value)
        case Ref():
            return value.label
        case tuple():
            return "+".join(map(_text, value))
        case float():
            return f"{value:g}"
        case _:
            return str(value)
