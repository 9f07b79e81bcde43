"""The tests do not depend on the environment in which they are started."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator

from temper.system.threads import _VARIABLES
from tests.conftest import ROOT
from tests.environment import NAMES, PREFIXES, isolate


def test_what_the_user_says_is_taken_out_and_the_rest_stays() -> None:
    environment = dict.fromkeys(
        ("TEMPER_DATA", "SLURM_JOB_ID", "KERAS_HOME", "COLUMNS", "NO_COLOR", "PATH", "HOME"), "1"
    )
    isolate(environment)
    assert environment == {"PATH": "1", "HOME": "1"}


def trees() -> Iterator[ast.Module]:
    for house in ("temper", "generators", "targets"):
        for path in sorted((ROOT / house).rglob("*.py")):
            yield ast.parse(path.read_text(encoding="utf-8"))


def read_by_the_program() -> set[str]:
    """Return the variables that modules ask ``os.environ`` for, by their names or by a constant that has one."""
    constants: dict[str, str] = {}
    asked: set[str] = set()
    for tree in trees():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.targets[0], ast.Name)
            ):
                constants[node.targets[0].id] = str(node.value.value)
            match node:
                case ast.Subscript(value=ast.Attribute(attr="environ"), slice=key):
                    asked.add(ast.unparse(key))
                case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="environ")), args=[key, *_]):
                    asked.add(ast.unparse(key))
                case ast.Call(func=ast.Attribute(attr="getenv"), args=[key, *_]):
                    asked.add(ast.unparse(key))
    named = {key.strip("'") for key in asked if key.startswith("'")}
    return named | {constants[key] for key in asked if key.isupper() and key in constants}


def test_each_variable_that_the_program_reads_is_taken_out() -> None:
    found = read_by_the_program()
    assert found >= {"TEMPER_DATA", "KERAS_BACKEND", "OMP_WAIT_POLICY", "PYTHONPATH"}
    left = {name for name in {*found, *_VARIABLES} if not name.startswith(PREFIXES) and name not in NAMES}
    assert left <= {"PYTHONPATH"}


def test_they_are_out_of_this_one() -> None:
    """But for what Temper itself sets as it loads a framework, and the test runner's choice of a backend."""
    ours = {"OMP_WAIT_POLICY", "KERAS_BACKEND", "TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_PREALLOCATE"}
    present = {
        name for name in os.environ if name.startswith(("TEMPER_", "SLURM_", "DRFUZZ_", "HF_")) or name == "COLUMNS"
    }
    assert present - ours == set()
