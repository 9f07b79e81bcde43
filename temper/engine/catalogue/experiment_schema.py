"""The JSON Schema of a whole experiment file; those of its components are in ``json_schema``."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from temper.core.report_spec import Best, CellFormat, TableFigure
from temper.system.threads import DEFAULT

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
NAME = r"^[A-Za-z_][A-Za-z0-9_-]*$"
FOLDER = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
_SCALAR: Schema = {"type": ["boolean", "number", "string"]}


def experiment_schema(sections: Mapping[str, Schema]) -> Schema:
    """Return the schema of an experiment file; ``sections`` hold the schema of the components of each section."""
    properties = {
        **_HEAD,
        "axes": _AXES,
        "on_out_of_memory": _ON_OUT_OF_MEMORY,
        **{name: _named({"$ref": schema["$id"]}, schema["title"]) for name, schema in sections.items()},
        "tables": _named(_table(), "The paper's tables."),
        "expected": {"type": "array", "items": _expected(), "description": "Published numbers to reproduce."},
    }
    return {
        "$schema": DRAFT,
        "$id": "experiment.schema.json",
        "title": "A Temper experiment",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


_HEAD: Mapping[str, Schema] = {
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
        "description": "only_attack omits repairs; only_adv_training takes generated data from the store.",
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
}
_AXES: Schema = {
    "description": "Values to sweep over; a parameter takes them in turn where it says $name.",
    "type": "object",
    "propertyNames": {"pattern": r"^[A-Za-z_][A-Za-z0-9_]*$", "x-expected": "a name of letters, digits and _"},
    "additionalProperties": {"type": "array", "items": _SCALAR, "minItems": 1, "uniqueItems": True},
}
_ON_OUT_OF_MEMORY: Schema = {
    "description": "Reduced settings for a retry after out of memory: a field divided, as batch_size: /2 where it is only a chunk "
    "size, or stage.field: /2 whatever it means there.",
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


def _table() -> Schema:
    several = {"type": "array", "items": {"type": "string"}, "minItems": 1, "x-expected": "a column or a list of them"}
    labels = {"if": {"type": "string"}, "else": several}
    where = {"if": {"type": "array"}, "then": {"items": _SCALAR, "minItems": 1}, "else": _SCALAR}
    return _closed(
        {
            "from": {"type": "string", "description": "The evaluation whose results the table shows."},
            "rows": labels | {"description": "What a row represents: a column of results.csv, or a list of them."},
            "columns": labels | {"description": "What a column represents: a column of results.csv, or a list."},
            "metric": {"type": "string", "description": "The metric shown; default: the evaluation's headline."},
            "where": _named(where, "Shows only results with these values, as in {eps: 0.1}."),
            "cell": _choice(CellFormat, "mean ± sd", "What a cell shows; the mean is over the seeds."),
            "best": _choice(Best, "none", "Marks the best of each column."),
            "figure": _choice(
                TableFigure,
                "heatmap",
                "What the table is drawn as, if its numbers are of one metric (radar: of one unit).",
            ),
            "caption": {"type": "string", "description": "The caption of the table."},
            "against": {
                "type": "string",
                "description": "A metric that places the points of curves instead of the axis: a number of inputs, say.",
            },
        },
        ["from", "rows", "columns"],
        "A table of the paper: a pivot of one evaluation's results.",
    )


def _expected() -> Schema:
    label = {"if": {"not": {"type": "object"}}, "then": _SCALAR, "else": {"additionalProperties": _SCALAR}}
    return _closed(
        {
            "table": {"type": "string", "description": "The table the cell is in."},
            "row": label | {"description": "The row: its label, or a mapping if rows have several labels."},
            "column": label | {"description": "The column: its label, or a mapping such as {examples: pgd, eps: 0.1}."},
            "value": {"type": "number", "description": "The published number, in the table's unit (percent)."},
            "tolerance": {"type": "number", "minimum": 0, "description": "How far ours may be from it."},
            "source": {"type": "string", "description": "Where it was published."},
        },
        ["table", "row", "column", "value", "tolerance"],
        "A published number that this experiment should reproduce.",
    )


def _choice(choices: Any, default: str, description: str) -> Schema:
    return {"enum": list(typing.get_args(choices)), "default": default, "description": description}


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
