"""Checks plain values against the schemas and explains problems in the user's terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from temper.core.component import Component
from temper.core.errors import did_you_mean
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.catalogue.json_schema import file_name, is_axis, schemas

Path = tuple[str | int, ...]
Finding = tuple[Path, str]

_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}


class Validator:
    """The schemas of a catalogue, ready to check whole experiments or single components."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    @cache  # noqa: B019 - a validator lives as long as the program
    def _registry(self, tags: frozenset[str]) -> Any:
        resources = (
            (name, Resource.from_contents(document, default_specification=DRAFT202012))
            for name, document in schemas(self._catalogue, tags).items()
        )
        return Registry().with_resources(resources)

    def experiment(self, data: Any) -> Iterator[Finding]:
        """Yield every problem of a whole file as (path, message)."""
        yield from self._check("experiment.schema.json", data)

    def component(self, family: type[Component], data: Any) -> Iterator[Finding]:
        """Yield every problem of one component as (path within it, message)."""
        yield from self._check(file_name(family), data)

    def _check(self, name: str, data: Any) -> Iterator[Finding]:
        # Other types need not be imported.
        validator = Draft202012Validator({"$ref": name}, registry=self._registry(frozenset(_types(data))))
        seen = set()
        for error in validator.iter_errors(data):
            for finding in self._findings(error):
                if finding not in seen:
                    seen.add(finding)
                    yield finding

    def _findings(self, error: ValidationError) -> Iterator[Finding]:
        path = tuple(error.absolute_path)
        value: Any = error.instance
        expected: Any = error.validator_value
        rule: Any = error.schema
        match error.validator:
            case "additionalProperties":
                known = list(rule["properties"])
                for key in value:
                    if key not in known:
                        yield (*path, key), f"unknown key '{key}'{did_you_mean(key, known) or _known(known)}"
            case "required":
                for key in expected:
                    if key not in value:
                        yield path, f"'{key}' is missing{_meaning(rule['properties'][key], key)}"
            case "enum":
                yield path, self._not_among(path, value, expected)
            case "type":
                yield path, f"expected {_wanted(rule)}, received {show(value)}{_as_list(rule, value)}"
            case "pattern" if "propertyNames" in error.absolute_schema_path:
                yield (*path, value), f"{show(value)} is not {rule['x-expected']}"
            case "pattern":
                yield path, f"expected {rule['x-expected']}, received {show(value)}"
            case "minItems":
                yield path, "the list is empty; name at least one"
            case "uniqueItems":
                yield path, "the list names something twice; every item may stand once"
            case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
                yield path, _out_of_bounds(str(error.validator), value, expected)
            case _:
                yield path, error.message

    def _not_among(self, path: Path, value: Any, choices: list[Any]) -> str:
        if path and path[-1] == "type" and not isinstance(value, str):
            return f"expected text, received {show(value)}{_known(choices)}"
        if path and path[-1] == "type":
            if is_axis(value):
                return "a type cannot vary over an axis; declare a stage for each type"
            homes = [leaf.section for leaf in self._catalogue.stage(value)]
            if homes and len(path) > 1 and path[0] not in homes:
                return f"type '{value}' belongs in {' or '.join(homes)}:, not in {path[0]}:"
            return f"unknown type {show(value)}{did_you_mean(value, choices) or _known(choices)}"
        known = _known(choices) if str(value) in map(str, choices) else did_you_mean(str(value), map(str, choices))
        return f"{show(value)} is not allowed{known or _known(choices)}"


def _types(data: Any) -> Iterator[str]:
    """Yield the types that plain values name."""
    if isinstance(data, Mapping):
        if isinstance(data.get("type"), str):
            yield data["type"]
        data = data.values()
    elif not isinstance(data, list | tuple):
        return
    for item in data:
        yield from _types(item)


def show(value: Any) -> str:
    """Return a short form of a value for a message."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, Mapping):
        text = "a mapping"
    return text if len(text) <= 60 else text[:57] + "..."


def _wanted(rule: Mapping[str, Any]) -> str:
    types = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
    return str(rule.get("x-expected") or " or ".join(_TYPES[name] for name in types))


def _as_list(rule: Mapping[str, Any], value: Any) -> str:
    """Return the advice to write a list of one item, where the item alone was written."""
    item = rule.get("items", {}) if rule["type"] == "array" else {}
    if not item or item.get("type") == "object" or "x-expected" in rule or isinstance(value, Mapping | None):
        return ""
    return f"; write [{value}]"


def _meaning(rule: Mapping[str, Any], key: str) -> str:
    if key == "type":
        return _known(rule["enum"])
    return f"; add it: {rule['description']}" if "description" in rule else "; add it"


def _known(choices: list[Any]) -> str:
    return f"; choose one of {', '.join(map(str, choices))}" if choices else "; there are none yet"


def _out_of_bounds(rule: str, value: Any, bound: float) -> str:
    side = "less than" if "inimum" in rule else "greater than"
    if rule.startswith("exclusive"):
        return f"{value} must be {'greater' if side == 'less than' else 'less'} than {bound}"
    return f"{value} is {side} the {rule} of {bound}"
