"""The schemas derived from the components: sound, closed, the same as the committed ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from temper.core.component import fields_of
from temper.engine.catalogue.discovery import Catalogue, discover
from temper.engine.catalogue.json_schema import FRACTION, file_name, render, schemas, write
from tests.conftest import PARTS, ROOT


@pytest.fixture(scope="module")
def built_in() -> dict[str, Any]:
    return schemas(discover())


def inside(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for item in value.values():
            yield from inside(item)
    elif isinstance(value, list):
        for item in value:
            yield from inside(item)


def valid(name: str, value: Any, documents: Mapping[str, Any]) -> bool:
    resources = ((n, Resource.from_contents(d, default_specification=DRAFT202012)) for n, d in documents.items())
    registry = Registry().with_resources(resources)
    return Draft202012Validator({"$ref": name}, registry=registry).is_valid(value)


def test_the_committed_schemas_are_those_of_the_components(built_in: dict[str, Any]) -> None:
    folder = ROOT / "schemas"
    committed = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.schema.json")}
    derived = {name: render(document) for name, document in built_in.items()}
    stale = sorted(name for name in {*committed, *derived} if committed.get(name) != derived.get(name))
    assert not stale, "schemas/ is older than the code; run: python runner.py --write-schemas"


def test_every_schema_is_a_schema(built_in: dict[str, Any]) -> None:
    for document in built_in.values():
        Draft202012Validator.check_schema(document)


def test_every_reference_leads_to_a_schema(built_in: dict[str, Any]) -> None:
    for document in built_in.values():
        for part in inside(document):
            name = part.get("$ref", "")
            if isinstance(name, str) and name.startswith("#/$defs/"):
                assert name.removeprefix("#/$defs/") in document["$defs"]
            elif name:
                assert name in built_in


def test_types_are_distinguished_by_an_if_chain_which_gives_exact_messages(built_in: dict[str, Any]) -> None:
    assert not [
        part for document in built_in.values() for part in inside(document) if "oneOf" in part or "anyOf" in part
    ]


def test_every_value_is_described(built_in: dict[str, Any]) -> None:
    for name, document in built_in.items():
        for tag, component in document.get("$defs", {}).items():
            assert component["additionalProperties"] is False
            for field, schema in component["properties"].items():
                assert field == "type" or schema.get("description"), f"{name}: {tag}.{field}"


def test_every_component_is_in_the_schema_of_its_family(catalogue: Catalogue) -> None:
    documents = schemas(catalogue)
    for family in catalogue.families():
        document = documents[file_name(family)]
        assert set(document["$defs"]) == set(catalogue.of(family)) == set(document["properties"]["type"]["enum"])
        for tag, leaf in catalogue.of(family).items():
            assert set(document["$defs"][tag]["properties"]) == {"type", *(f.name for f in fields_of(leaf))}


@pytest.mark.parametrize(
    ("value", "ok"),
    [
        ({"type": "fgsm", "model": "m", "eps": 0.1}, True),
        ({"type": "fgsm", "model": "m", "eps": "8/255"}, True),
        ({"type": "fgsm", "model": "$m", "eps": "$eps"}, True),
        ({"type": "fgsm", "model": "m", "eps": 0}, False),
        ({"type": "fgsm", "model": "m", "eps": "0.1"}, False),
        ({"type": "fgsm", "model": "m"}, False),
        ({"type": "fgsm", "model": "m", "eps": 0.1, "epsilon": 1}, False),
        ({"type": "fgsm", "model": "m.half", "eps": 0.1}, False),
        ({"type": "fgsm", "model": "m", "eps": 0.1, "norm": "inf"}, True),
        ({"type": "fgsm", "model": "m", "eps": 0.1, "norm": "$norm"}, True),
        ({"type": "fgsm", "model": "m", "eps": 0.1, "norm": 3}, False),
        ({"type": "fgsm", "model": "m", "eps": 0.1, "data": None}, True),
        ({"type": "shift", "data": "d", "noise": {"type": "fixed", "by": 0.5}}, True),
        ({"type": "shift", "data": "d", "noise": {"type": "fixed", "by": 2}}, False),
        ({"type": "shift", "data": "d", "noise": {"type": "fgsm", "by": 0.5}}, False),
        (
            {"type": "art", "model": "m", "attack": "A", "params": {"eps": 0.1, "norm": "inf", "x": [1], "y": None}},
            True,
        ),
        ({"type": "art", "model": "m", "attack": "A", "params": {"eps": {"a": 1}}}, False),
        ({}, False),
        ([], False),
        ("fgsm", False),
    ],
)
def test_what_a_generator_may_be(value: Any, ok: bool, catalogue: Catalogue) -> None:
    assert valid("generator.schema.json", value, schemas(catalogue)) is ok


@pytest.mark.parametrize(
    ("text", "ok"),
    [("8/255", True), (" 8 / 255 ", True), ("-1/2", True), ("1.5/2.5", True), ("0/5", True), ("1./2", True),
     ("1/0", False), ("1/0.0", False), ("1/", False), ("/2", False), ("1/2/3", False), ("a/b", False), ("1e3/2", False),
     ("9" * 19 + "/1", False), ("٣/٤", False), ("1/-2", False)],
)  # fmt: skip
def test_what_a_fraction_may_be(text: str, ok: bool) -> None:
    assert Draft202012Validator({"pattern": FRACTION}).is_valid(text) is ok


def test_writing_removes_the_schema_of_a_family_that_is_gone(tmp_path: Any) -> None:
    (tmp_path / "gone.schema.json").write_text("{}", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("kept", encoding="utf-8")
    paths = write(discover([PARTS]), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths} | {"notes.txt"}
    assert "noise.schema.json" in {path.name for path in paths}
    for path in paths:
        assert json.loads(path.read_text(encoding="utf-8"))["$id"] == path.name
