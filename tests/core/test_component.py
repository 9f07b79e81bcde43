"""Component declarations: supported field types, what is read from them, and what is rejected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from temper.core.artefacts import Examples
from temper.core.component import Component, File, Plain, Range, Ref, empty_mapping, fields_of, kind_of, summary


class Part(Component):
    """A nested family."""


@dataclass(frozen=True, kw_only=True)
class Leaf(Part):
    """One line.

    More lines.
    """

    tag = "leaf"


@dataclass(frozen=True, kw_only=True)
class Whole(Component):
    """Every kind of field."""

    tag = "whole"

    flag: Annotated[bool, "a flag"]
    count: Annotated[int, "a count", Range(ge=1, lt=5)]
    size: Annotated[float, "a size", Range(gt=0, le=1)] = 0.5
    text: Annotated[str, "a text"] = "x"
    path: Annotated[str | None, "a file", File()] = None
    choice: Annotated[Literal["inf", 2], "a choice"] = 2
    several: Annotated[tuple[int, ...], "several"] = ()
    model: Annotated[Ref[Examples], "a reference"]
    models: Annotated[tuple[Ref[Examples], ...], "references"] = ()
    part: Part
    parts: Annotated[tuple[Part, ...], "nested ones"] = ()
    extra: Annotated[Mapping[str, Plain], "anything"] = empty_mapping()


FIELDS = {field.name: field for field in fields_of(Whole)}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("flag", "bool"),
        ("count", "int"),
        ("size", "float"),
        ("text", "str"),
        ("path", "str | null"),
        ("choice", "inf | 2"),
        ("several", "list of int"),
        ("model", "reference to Examples"),
        ("models", "list of reference to Examples"),
        ("part", "Part"),
        ("parts", "list of Part"),
        ("extra", "mapping of plain values"),
    ],
)
def test_every_supported_field_type_is_recognised(name: str, shown: str) -> None:
    assert str(FIELDS[name].kind) == shown


def test_fields_come_in_the_order_of_their_declaration() -> None:
    assert list(FIELDS) == [
        "flag", "count", "size", "text", "path", "choice", "several", "model", "models", "part", "parts", "extra",
    ]  # fmt: skip


def test_defaults_bounds_and_files_are_read_from_the_declaration() -> None:
    assert [name for name, field in FIELDS.items() if field.required] == ["flag", "count", "model", "part"]
    assert FIELDS["count"].bounds == Range(ge=1, lt=5)
    assert FIELDS["size"].default == 0.5
    assert FIELDS["extra"].default == {}
    assert [name for name, field in FIELDS.items() if field.is_file] == ["path"]
    assert FIELDS["part"].help == ""
    assert FIELDS["flag"].help == "a flag"


@pytest.mark.parametrize(
    "hint",
    [
        int | str,
        list[int],
        tuple[int, int],
        tuple[int],
        bytes,
        object,
        complex,
        Any,
        int | str | None,
        set[int],
    ],
)
def test_unsupported_types_are_rejected_by_name(hint: object) -> None:
    with pytest.raises(TypeError, match=r"here: unsupported field type .* expected bool, int"):
        kind_of(hint, "here")


def test_a_field_without_a_description_is_rejected() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Silent(Component):
        """Silent."""

        tag = "silent"
        count: Annotated[int, Range(ge=1)]

    with pytest.raises(TypeError, match=r"Silent\.count: expected Annotated\[type, 'one description', \.\.\.\]"):
        fields_of(_resolved(Silent, count=Annotated[int, Range(ge=1)]))


def _resolved(cls: type[Component], **hints: Any) -> type[Component]:
    cls.__annotations__.update(hints)  # names of the enclosing function are not visible in a class body
    return cls


REF = [
    "pgd",
    "pgd.test",
    "pgd@robust",
    "pgd.train@robust",
    "pgd!clean",
    "pgd.test@robust!clean",
    "pgd!definition",
]


@pytest.mark.parametrize("text", REF)
def test_references_survive_a_round_trip_through_text(text: str) -> None:
    assert str(Ref.parse(text)) == text


@pytest.mark.parametrize(("text", "label"), [("a", "a"), ("a.test", "a"), ("a.train", "a.train"), ("a@m", "a")])
def test_labels_name_the_part_unless_it_is_the_test_part(text: str, label: str) -> None:
    assert Ref.parse(text).label == label


def test_references_are_found_in_lists_and_nested_components() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Inner(Part):
        """Inner."""

        tag = "inner"
        like: Annotated[Ref[Examples], "images like these"]

    whole = Whole(
        flag=True, count=1, model=Ref("a"), models=(Ref("b"), Ref("c")), part=Leaf(), parts=(Inner(like=Ref("d")),)
    )
    assert [ref.stage for ref in whole.references()] == ["a", "b", "c", "d"]


def test_the_files_of_a_component_are_its_file_fields() -> None:
    whole = Whole(flag=True, count=1, model=Ref("a"), part=Leaf(), path="weights.h5")
    assert [str(path) for path in whole.files()] == ["weights.h5"]
    assert list(Whole(flag=True, count=1, model=Ref("a"), part=Leaf()).files()) == []


def test_the_summary_is_the_first_docstring_line() -> None:
    assert summary(Leaf) == "One line."
    assert summary(int) == int.__doc__.splitlines()[0]


def test_a_range_contains_values_within_all_its_bounds() -> None:
    inside = Range(gt=0, le=1)
    assert [inside.contains(value) for value in (0, 0.5, 1, 1.1, float("nan"))] == [False, True, True, False, False]
    assert not Range(ge=0, lt=1).contains(1)
    assert str(inside) == "more than 0 and at most 1"
    assert str(Range(ge=1)) == "at least 1"
