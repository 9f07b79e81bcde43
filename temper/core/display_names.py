"""Display names of nested components (their type and non-default parameters) and of axis values."""

from __future__ import annotations

from typing import Any

from temper.core.component import Component, Plain, Ref, fields_of


def display_name(component: Component) -> str:
    """Return a component's type with its non-default parameters: ``dsa (self_match include)``."""
    values = [(field, getattr(component, field.name)) for field in fields_of(type(component))]
    given = [f"{field.name} {_text(value)}" for field, value in values if field.required or value != field.default]
    return component.tag + (f" ({', '.join(given)})" if given else "")


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case Component():
            return display_name(value)
        case Ref():
            return value.label
        case tuple():
            return "+".join(map(_text, value))
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def label(value: Plain) -> str:
    """Return an axis value as displayed: 0.1, 8/255, pgd."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    # Radii on 8-bit images are conventionally written as multiples of 1/255.
    if len(repr(value)) > 8 and abs(value * 255 - round(value * 255)) < 1e-9:
        return f"{round(value * 255)}/255"
    # Ten digits: 0.1 + 0.2 reads 0.3.
    return f"{value:.10g}"
