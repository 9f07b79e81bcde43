"""Components: frozen dataclasses whose annotations define their schema, defaults, bounds and help."""

from __future__ import annotations

import dataclasses
import types
import typing
from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from temper.core.data_info import DataInfo

T_co = TypeVar("T_co", covariant=True)

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = typing.get_args(Part)
Plain = bool | int | float | str | None


@dataclass(frozen=True)
class Ref(Generic[T_co]):
    """A reference to the artefact of another stage.

    ``part`` selects the training, validation or test part of a data set or a generator; a bare reference gets its
    reader's default part (``Component.part_of``). The remaining fields are never written in a file: ``against`` runs a
    generator against another model than its own, ``clean`` requests the data a generator started from, ``prepared`` one
    of the stage's preparations by name, ``definition`` the component itself, without computing anything.
    """

    stage: str
    part: Part | None = None
    against: str | None = None
    clean: bool = False
    definition: bool = False
    prepared: str = ""

    def __str__(self) -> str:
        return (
            self.stage
            + (f".{self.part}" if self.part else "")
            + (f"@{self.against}" if self.against else "")
            + ("!clean" if self.clean else "")
            + ("!definition" if self.definition else "")
            + (f"!prepared:{self.prepared}" if self.prepared else "")
        )

    @property
    def label(self) -> str:
        """The name of the referenced artefact in results: the stage, with its part unless that is the test part."""
        return self.stage if self.part in (None, "test") else f"{self.stage}.{self.part}"

    @classmethod
    def parse(cls, text: str) -> Ref[Any]:
        """Parse the output of ``str``; experiment files may not use the suffixes after ``@`` and ``!``."""
        text, _, mark = text.partition("!")
        mark, _, prepared = mark.partition(":")
        text, _, against = text.partition("@")
        stage, _, part = text.partition(".")
        return cls(stage, part or None, against or None, mark == "clean", mark == "definition", prepared)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Range:
    """Bounds of a number; ``None`` means unbounded."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def contains(self, value: float) -> bool:
        """Return whether a number is within the bounds; nan is not."""
        return (
            value == value
            and (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def __str__(self) -> str:
        signs = (("more than", self.gt), ("at least", self.ge), ("less than", self.lt), ("at most", self.le))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in signs if bound is not None)


@dataclass(frozen=True)
class File:
    """Marks a ``str`` as the path of a file or folder, relative to the experiment file that names it."""


@dataclass(frozen=True)
class AtOnce:
    """Marks an ``int`` as a batch size that affects memory and time only, not the result."""


@dataclass(frozen=True)
class Kind:
    """The type of a field, as data, from which the schema, the builder and the help are derived."""

    name: Literal["bool", "int", "float", "str", "choice", "optional", "many", "mapping", "ref", "nested"]
    choices: tuple[Plain, ...] = ()
    item: Kind | None = None
    target: type | None = None

    @property
    def innermost(self) -> Kind:
        """The kind of a single value: that of a list's items, or of what is optional."""
        return self if self.item is None else self.item.innermost

    def __str__(self) -> str:
        match self.name:
            case "choice":
                return " | ".join(map(str, self.choices))
            case "optional":
                return f"{self.item} | null"
            case "many":
                return f"list of {self.item}"
            case "ref" | "nested":
                assert self.target is not None
                return f"reference to {self.target.__name__}" if self.name == "ref" else self.target.__name__
            case "mapping":
                return "mapping of plain values"
            case _:
                return self.name


@dataclass(frozen=True)
class Field:
    """One parameter of a component."""

    name: str
    kind: Kind
    help: str
    bounds: Range | None
    is_file: bool
    at_once: bool
    required: bool
    default: Any


class Component(ABC):
    """Base class of all components.

    Leaves are frozen keyword-only dataclasses with a ``tag`` (the ``type`` in a file); families are abstract
    and may declare fields shared by their leaves. No leaf inherits from a leaf.
    """

    tag: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    """Import names of packages that its code needs beyond Temper's own and those of the backend (``Stage.framework``)."""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every problem that is detectable before anything runs.

        Must not import a framework. The field is empty where no single field is the cause.
        """
        yield from ()

    def fits(self, info: DataInfo) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every reason this component cannot work on a data set; imports no framework.

        It is called on models, on generators, and on components nested in these.
        """
        yield from ()

    def for_smoke(self) -> Component:
        """Return the component that a smoke run uses instead: one that does not need a trained model."""
        return self

    def smoke_limits(self) -> Mapping[str, int]:
        """Return by name the largest value of parameters, and of keys in mapping parameters, in a smoke run."""
        return {}

    def references(self) -> Iterator[Ref[Any]]:
        """Yield every reference this component reads, those of nested components included."""
        for name in fields_holding(type(self), "ref", "nested"):
            value = getattr(self, name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, Ref):
                    yield item
                elif item is not None:
                    yield from item.references()

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        """Return the part that a bare reference in ``field_name`` denotes."""
        return "train"

    def files(self) -> Iterator[Path]:
        """Yield the files and folders outside the store whose content the artefact depends on.

        By default the fields marked ``File``; their content enters the fingerprint, their path does not.
        """
        for component in self.with_nested():
            for f in fields_of(type(component)):
                if f.is_file and (value := getattr(component, f.name)) is not None:
                    yield from map(Path, value if isinstance(value, tuple) else (value,))

    def with_nested(self) -> Iterator[Component]:
        """Yield the component itself and every component nested in it."""
        yield from (component for _, component in self.with_places())

    def with_places(self, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Component]]:
        """Yield the component itself and every component nested in it, each with its path below ``place``."""
        yield place, self
        for name in fields_holding(type(self), "nested"):
            value = getattr(self, name)
            if isinstance(value, tuple):
                for i, item in enumerate(value):
                    yield from item.with_places((*place, name, i))
            elif value is not None:
                yield from value.with_places((*place, name))

    def depends_on(self, name: str) -> bool:
        """Whether the artefact depends on a field marked ``AtOnce`` after all, by more than rounding."""
        return False

    @property
    def stochastic(self) -> bool:
        """Whether the artefact depends on the random stream, so that it varies over ``seeds``."""
        return True


@cache
def fields_holding(cls: type[Component], *kinds: str) -> tuple[str, ...]:
    """Return the names of the fields whose values, or the items of whose lists, are of some kinds."""
    return tuple(field.name for field in fields_of(cls) if field.kind.innermost.name in kinds)


@cache
def fields_of(cls: type[Component]) -> tuple[Field, ...]:
    """Return the parameters of a component class in declaration order.

    Raises:
        TypeError: a field has a type outside the closed set, or lacks its description.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(_field(cls, f, hints[f.name]) for f in dataclasses.fields(cls))  # type: ignore[arg-type]


def _field(cls: type, f: dataclasses.Field[Any], hint: object) -> Field:
    where = f"{cls.__module__}.{cls.__qualname__}.{f.name}"
    base, *extras = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    texts = [e for e in extras if isinstance(e, str)]
    kind = kind_of(base, where)
    if len(texts) != 1 and kind.name != "nested":
        raise TypeError(f"{where}: expected Annotated[type, 'one description', ...], received {hint!r}")
    required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    default = f.default_factory() if callable(f.default_factory) else None if required else f.default
    return Field(
        name=f.name,
        kind=kind,
        help=texts[0] if texts else "",
        bounds=next((e for e in extras if isinstance(e, Range)), None),
        is_file=any(isinstance(e, File) for e in extras),
        at_once=any(isinstance(e, AtOnce) for e in extras),
        required=required,
        default=default,
    )


_SCALARS: dict[object, Kind] = {t: Kind(t.__name__) for t in (bool, int, float, str)}  # type: ignore[arg-type]


def kind_of(hint: object, where: str) -> Kind:
    """Return the kind of a type hint from the closed set of field types."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if origin is Literal:
        return Kind("choice", choices=args)
    if origin in (types.UnionType, typing.Union) and len(args) == 2 and args[1] is type(None):
        return Kind("optional", item=kind_of(args[0], where))
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return Kind("many", item=kind_of(args[0], where))
    if origin is Ref:
        return Kind("ref", target=args[0])
    if origin in (Mapping, dict) or hint is Mapping:
        return Kind("mapping")
    if isinstance(hint, type) and issubclass(hint, Component):
        return Kind("nested", target=hint)
    raise TypeError(
        f"{where}: unsupported field type {hint!r}; expected bool, int, float, str, Literal[...], X | None, "
        "tuple[X, ...], Ref[X], Mapping[str, Plain] or a component family"
    )


def summary(cls: type) -> str:
    """Return the first line of a class's docstring."""
    return cls.__doc__.strip().splitlines()[0] if cls.__doc__ else ""


def empty_mapping() -> Any:
    """Return a dataclass field whose default is an empty mapping."""
    return field(default_factory=dict)
