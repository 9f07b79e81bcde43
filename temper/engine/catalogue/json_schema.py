"""Derives the JSON Schemas of experiment files from the components."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from temper.core.component import PARTS, Component, Field, Kind, fields_of, summary
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.catalogue.experiment_schema import DRAFT, Schema, experiment_schema
from temper.engine.catalogue.sections import SECTIONS

AXIS = r"^\$[A-Za-z_][A-Za-z0-9_]*$"
# Not over 0, and of so few digits that the number is finite.
FRACTION = r"^\s*-?[0-9]{1,18}(\.[0-9]{0,18})?\s*/\s*(?=[0-9.]*[1-9])[0-9]{1,18}(\.[0-9]{0,18})?\s*$"
STAGE = "the name of a stage, with .train, .validation or .test behind it where a part is meant"
REFERENCE = rf"^[A-Za-z_][A-Za-z0-9_-]*(\.({'|'.join(PARTS)}))?$"


def is_axis(value: Any) -> bool:
    """Return whether a plain value names an axis."""
    return isinstance(value, str) and value.startswith("$") and re.match(AXIS, value) is not None


def schemas(catalogue: Catalogue, tags: frozenset[str] | None = None) -> dict[str, Schema]:
    """Return every schema by its file name: the experiment's, and one for each family.

    With ``tags``, those of families describe only members of these tags, and name the others.
    """
    families = {family: _family(family, catalogue, tags) for family in catalogue.families()}
    whole = experiment_schema({name: families[family] for name, family in SECTIONS.items()})
    return {schema["$id"]: schema for schema in (whole, *families.values())}


def write(catalogue: Catalogue, folder: Path) -> list[Path]:
    """Write the schemas into a folder, remove those of families that no longer exist, and return the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = schemas(catalogue)
    for stale in folder.glob("*.schema.json"):
        if stale.name not in documents:
            stale.unlink()
    for name, document in documents.items():
        (folder / name).write_text(render(document), encoding="utf-8")
    return [folder / name for name in documents]


def render(document: Schema) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def file_name(family: type[Component]) -> str:
    """Return the file name of a family's schema."""
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", family.__name__).lower()
    return f"{snake}.schema.json"


def _family(family: type[Component], catalogue: Catalogue, tags: frozenset[str] | None) -> Schema:
    # An if/then chain on `type`, never oneOf: oneOf answers a typo with "not valid under any of the given schemas".
    members = catalogue.of(family)
    described = [tag for tag in members if tags is None or tag in tags]
    chain = [
        {"if": {"properties": {"type": {"const": tag}}, "required": ["type"]}, "then": {"$ref": f"#/$defs/{tag}"}}
        for tag in described
    ]
    return {
        "$schema": DRAFT,
        "$id": file_name(family),
        "title": summary(family),
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(members), "description": f"Kind of {family.__name__.lower()}."}},
        **({"allOf": chain} if chain else {}),  # a family may have no member yet
        "$defs": {tag: _component(members[tag]) for tag in described},
    }


def _component(leaf: type[Component]) -> Schema:
    fields = fields_of(leaf)
    return {
        "title": summary(leaf),
        "type": "object",
        "required": [f.name for f in fields if f.required],
        "properties": {"type": {"const": leaf.tag}} | {f.name: field_schema(f) for f in fields},
        "additionalProperties": False,
    }


def field_schema(field: Field) -> Schema:
    """Return the schema of one parameter."""
    schema = _kind(field.kind, field)
    target = field.kind.target
    description = field.help or (summary(target) if target else "")
    if description:
        schema = {"description": description} | schema
    if not field.required and isinstance(field.default, bool | int | float | str):
        schema["default"] = field.default
    return schema


def _kind(kind: Kind, field: Field) -> Schema:
    match kind.name:
        case "bool":
            return _or_text({"type": "boolean"}, AXIS, "true or false")
        case "int":
            return _or_text({"type": "integer"} | _bounds(field), AXIS, "a whole number")
        case "float":
            return _or_text({"type": "number"} | _bounds(field), f"({AXIS})|({FRACTION})", "a number")
        case "str":
            return {"type": "string"}
        case "choice":
            return {"if": {"type": "string", "pattern": AXIS}, "else": {"enum": list(kind.choices)}}
        case "optional":
            assert kind.item is not None
            return {"if": {"not": {"type": "null"}}, "then": _kind(kind.item, field)}
        case "many":
            assert kind.item is not None
            least = {"minItems": 1} if field.required else {}
            return {"type": "array", "items": _kind(kind.item, field)} | least
        case "mapping":
            plain = {"type": ["boolean", "number", "string", "null", "array"]}
            return {"type": "object", "additionalProperties": plain}
        case "ref":
            return {"type": "string", "pattern": f"({AXIS})|({REFERENCE})", "x-expected": STAGE}
        case "nested":
            assert kind.target is not None
            return {"$ref": file_name(kind.target)}


def _or_text(schema: Schema, pattern: str, expected: str) -> Schema:
    return {"if": {"type": "string"}, "then": {"pattern": pattern, "x-expected": expected}, "else": schema}


def _bounds(field: Field) -> Schema:
    if field.bounds is None:
        return {}
    keys = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    return {key: value for name, key in keys.items() if (value := getattr(field.bounds, name)) is not None}
