"""The names and parameters of ART's evasion attacks, read from ART's source without importing it."""

from __future__ import annotations

import ast
import importlib.util
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from temper.core.component import Plain
from temper.core.errors import StageError, did_you_mean
from temper.generators.art_traits import TRAITS, UNSUITABLE
from temper.system import packages


@dataclass(frozen=True)
class Parameter:
    """One parameter of an attack: its annotation in ART's source, and its default where that is a plain value."""

    annotation: str
    default: Plain

    def accepts(self, value: Plain) -> bool:
        """Return whether the annotation allows the value; a parameter without annotation allows any."""
        words = set(re.findall(r"\w+", self.annotation))
        match value:
            case None:
                return not words or bool(words & {"None", "Optional"})
            case bool():
                return not words or "bool" in words
            case int():
                return not words or bool(words & {"int", "float"})
            case _:
                return not words or type(value).__name__ in words


@cache
def attacks() -> dict[str, Path]:
    """Return the source file of every evasion attack of ART, by class name.

    Raises:
        StageError: ART is not installed.
    """
    spec = importlib.util.find_spec("art")
    if spec is None or not spec.submodule_search_locations:
        raise StageError(packages.advice(["art"]))
    package = Path(spec.submodule_search_locations[0])
    tree = ast.parse((package / "attacks/evasion/__init__.py").read_text(encoding="utf-8"))
    return {
        alias.name: package.parent.joinpath(*node.module.split(".")).with_suffix(".py")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


@cache
def parameters(attack: str) -> dict[str, Parameter]:
    """Return the parameters of an attack, except the model, by name.

    Raises:
        StageError: ART has no such attack, or it does not attack image classifiers.
    """
    if attack in UNSUITABLE:
        raise StageError(f"{attack} {UNSUITABLE[attack]}; {_listed()}")
    if attack not in attacks():
        raise StageError(f"ART has no evasion attack {attack}{did_you_mean(attack, TRAITS)}; {_listed()}")
    if attack not in TRAITS:
        raise StageError(f"{attack} is not supported, since its use of labels is unknown; {_listed()}")
    for node in ast.parse(attacks()[attack].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == attack:
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                    return _parameters(member.args)
    raise StageError(
        f"{attacks()[attack]}: expected a class {attack} with a constructor; this version of ART is too new"
    )


def _listed() -> str:
    return f"supported: {', '.join(sorted(TRAITS))}"


def _parameters(arguments: ast.arguments) -> dict[str, Parameter]:
    given = arguments.args[2:]  # after self and the model
    missing = len(given) - len(arguments.defaults)
    defaults = [None] * missing + [_plain(node) for node in arguments.defaults[-len(given) :]]
    return {
        argument.arg: Parameter(ast.unparse(argument.annotation) if argument.annotation else "", default)
        for argument, default in zip(given, defaults, strict=True)
    }


def _plain(node: ast.expr) -> Any:
    if ast.unparse(node) == "np.inf":
        return math.inf
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, bool | int | float | str) else None
