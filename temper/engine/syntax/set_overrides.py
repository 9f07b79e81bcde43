"""Parses ``--set`` arguments, such as ``generate.pgd.eps=0.2``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from temper.core.errors import SpecError
from temper.engine.syntax.document import parse
from temper.engine.syntax.value_origin import LocatedValue, ValueOrigin

_SET = "--set"


def override(text: str, root: LocatedValue) -> LocatedValue:
    """Return an argument ``KEY=VALUE`` as a layer over ``root``; the key is dotted, the value is written as in a file.

    Raises:
        SpecError: the argument is malformed, or its key leads through a list or a single value.
    """
    name, equals, written = text.partition("=")
    keys = name.strip().split(".")
    origin = ValueOrigin(_SET, 0, text, Path())

    def error(message: str) -> SpecError:
        return SpecError.at(str(origin), 0, message)

    if not equals or not all(keys):
        raise error("expected KEY=VALUE with a dotted key, such as generate.pgd.eps=0.2")
    if keys == ["extends"]:
        raise error("'extends' cannot be set; state it in a file")
    value: LocatedValue | None = root
    for depth, key in enumerate(keys):
        if value and not isinstance(value.content, dict):
            kind = "list" if isinstance(value.content, list) else "single value"
            raise error(f"'{'.'.join(keys[:depth])}' is a {kind}, not a mapping; set it as a whole")
        value = value and value.child(key)
    try:
        # An empty value is null, as it is in a file.
        document = parse(written if written.strip() else "null", _SET)
    except SpecError as wrong:
        raise SpecError([replace(problem, file=str(origin), line=0) for problem in wrong.problems]) from None
    layer = _stamped(document.data, origin)
    for key in reversed(keys):
        layer = LocatedValue({key: layer}, origin)
    return layer


def _stamped(content: Any, origin: ValueOrigin) -> LocatedValue:
    if isinstance(content, dict):
        content = {key: _stamped(item, origin) for key, item in content.items()}
    elif isinstance(content, list):
        content = [_stamped(item, origin) for item in content]
    return LocatedValue(content, origin)
