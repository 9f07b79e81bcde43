"""Derives the JSON Schemas of experiment files from the components."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from temper.core.component import PARTS, Component, Field, Kind, fields_of, summary
from temper.core.report_spec import Best, CellFormat, TableFigure
from temper.engine.language.discovery import Catalogue
from temper.engine.language.sections import SECTIONS
from temper.system.threads import DEFAULT

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
NAME = r"^[A-Za-z_][A-Za-z0-9_-]*$"
FOLDER = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
AXIS = r"^\$[A-Za-z_][A-Za-z0-9_]*$"
# Not over 0, and of so few digits that the number is finite.
FRACTION = r"^\s*-?[0-9]{1,18}(\.[0-9]{0,18})?\s*/\s*(?=[0-9.]*[1-9])[0-9]{1,18}(\.[0-9]{0,18})?\s*$"
STAGE = "the name of a stage, with .train, .validation or .test behind it where a part is meant"
REFERENCE = rf"^[A-Za-z_][A-Za-z0-9_-]*(\.({'|'.join(PARTS)}))?$"


def schemas(catalogue: Catalogue, tags: frozenset[str] | None = None) -> dict[str, Schema]:
    """Return every schema by its file name: the experiment's, and one for each family.

    With ``tags``, those of families describe only members of these tags, and name the others.
    """
    families = {file_name(family): _family(family, catalogue, tags) for family in catalogue.families()}
    return {"experiment.schema.json": _experiment()} | families


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


def _closed(properties: Mapping[str, Schema], required: list[str], description: str) -> Schema:
    return {
        "description": description,
        "type": "object",
        "required": required,
        "properties": dict(properties),
        "additionalProperties": False,
    }


def _named(schema: Schema, description: str) -> Schema:
    return {
        "description": description,
        "type": "object",
        "propertyNames": {"pattern": NAME, "x-expected": "a name of letters, digits, _ and -"},
        "additionalProperties": schema,
    }


def _experiment() -> Schema:
    scalar = {"type": ["boolean", "number", "string"]}
    several = {"type": "array", "items": {"type": "string"}, "minItems": 1, "x-expected": "a column or a list of them"}
    labels = {"if": {"type": "string"}, "else": several}
    table = _closed(
        {
            "from": {"type": "string", "description": "The evaluation whose results the table shows."},
            "rows": labels | {"description": "What a row stands for: a column of results.csv, or a list of them."},
            "columns": labels | {"description": "What a column stands for: a column of results.csv, or a list."},
            "metric": {"type": "string", "description": "The metric shown; default: the evaluation's headline."},
            "where": _named(
                {"if": {"type": "array"}, "then": {"items": scalar, "minItems": 1}, "else": scalar},
                "Shows only results with these values, as in {eps: 0.1}.",
            ),
            "cell": {
                "enum": list(typing.get_args(CellFormat)),
                "default": "mean ± sd",
                "description": "What a cell shows; the mean is over the seeds.",
            },
            "best": {
                "enum": list(typing.get_args(Best)),
                "default": "none",
                "description": "Marks the best of each column.",
            },
            "figure": {
                "enum": list(typing.get_args(TableFigure)),
                "default": "heatmap",
                "description": "What the table is drawn as, if its numbers are of one metric (radar: of one unit).",
            },
            "caption": {"type": "string", "description": "The caption of the table."},
            "against": {
                "type": "string",
                "description": "A metric that places the points of curves instead of the axis: a number of inputs, say.",
            },
        },
        ["from", "rows", "columns"],
        "A table of the paper: a pivot of one evaluation's results.",
    )
    expected = _closed(
        {
            "table": {"type": "string", "description": "The table the cell is in."},
            "row": {
                "if": {"not": {"type": "object"}},
                "then": scalar,
                "else": {"additionalProperties": scalar},
                "description": "The row: its label, or a mapping if rows have several labels.",
            },
            "column": {
                "if": {"not": {"type": "object"}},
                "then": scalar,
                "else": {"additionalProperties": scalar},
                "description": "The column: its label, or a mapping such as {examples: pgd, eps: 0.1}.",
            },
            "value": {"type": "number", "description": "The published number, in the table's unit (percent)."},
            "tolerance": {"type": "number", "minimum": 0, "description": "How far ours may be from it."},
            "source": {"type": "string", "description": "Where it was published."},
        },
        ["table", "row", "column", "value", "tolerance"],
        "A published number that this experiment should reproduce.",
    )
    properties: dict[str, Schema] = {
        "name": {
            "type": "string",
            "pattern": FOLDER,
            "x-expected": "a folder name of letters, digits, _ . and -",
            "description": "Names the folder under outputs/; default: the file's own name.",
        },
        "description": {"type": "string", "description": "What the experiment is about, for the report."},
        "extends": {"type": "string", "description": "Another experiment file this one is merged on top of."},
        "mode": {
            "enum": ["both", "only_attack", "only_adv_training"],
            "default": "both",
            "description": "only_attack leaves out repairs; only_adv_training takes generated data from the store.",
        },
        "seeds": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "minItems": 1,
            "uniqueItems": True,
            "default": [1],
            "description": "Repetitions; tables give mean ± sd over them.",
        },
        "threads": {
            "type": "integer",
            "minimum": 1,
            "maximum": 1024,
            "default": DEFAULT,
            "description": "Threads that each stage computes on; numbers depend on it, so it does not change with --jobs.",
        },
        "axes": {
            "description": "Values to sweep over; a parameter takes them in turn where it says $name.",
            "type": "object",
            "propertyNames": {"pattern": r"^[A-Za-z_][A-Za-z0-9_]*$", "x-expected": "a name of letters, digits and _"},
            "additionalProperties": {"type": "array", "items": scalar, "minItems": 1, "uniqueItems": True},
        },
    }
    properties["on_out_of_memory"] = {
        "description": "What is tried again when memory runs out: a field divided, as batch_size: /2 where it is only how much is "
        "worked on at once, or stage.field: /2 whatever it means there.",
        "type": "object",
        "propertyNames": {
            "pattern": r"^([A-Za-z0-9_-]+\.)?[a-z_]+$",
            "x-expected": "a field, or a stage and a field such as mlp.batch_size",
        },
        "additionalProperties": {
            "type": "string",
            "pattern": r"^/([2-9]|[1-9][0-9]+)$",
            "x-expected": "a divisor such as /2",
        },
    }
    for section, family in SECTIONS.items():
        properties[section] = _named({"$ref": file_name(family)}, summary(family))
    properties["tables"] = _named(table, "The paper's tables.")
    properties["expected"] = {"type": "array", "items": expected, "description": "Published numbers to reproduce."}
    return {
        "$schema": DRAFT,
        "$id": "experiment.schema.json",
        "title": "A Temper experiment",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
