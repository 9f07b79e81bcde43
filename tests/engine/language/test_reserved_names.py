"""Names that no file or folder can have, or that would make results overwrite each other, are refused at their line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from temper.core.errors import SpecError
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.language.experiment_file import load

Write = Callable[..., Path]
BODY = """
datasets: {grey: {type: plain}}
evaluate:
  shade: {type: shade, examples: [grey]}
"""


def problems(path: Path, catalogue: Catalogue, **options: str) -> list[str]:
    try:
        load(path, catalogue, **options)  # type: ignore[arg-type]
    except SpecError as wrong:
        return [str(problem).removeprefix(str(path)) for problem in wrong.problems]
    return []


@pytest.mark.parametrize(
    "name",
    [
        "..yaml",
        "...yaml",
        ".store.yaml",
        "-x.yaml",
        "a b.yaml",
        "[red]x.yaml",
        "größe.yaml",
        "a\n.yaml",
        "con.yaml",
        "x..yaml",
    ],
)
def test_the_name_of_a_file_must_be_that_of_a_folder(name: str, write: Write, catalogue: Catalogue) -> None:
    (problem,) = problems(write(BODY, name), catalogue)
    assert problem.startswith(":1: name: ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../up", "expected a folder name"), (".hidden", "expected a folder name"), ("a/b", "expected a folder name"),
        ("plain.smoke", "is where --smoke keeps its results"), ("x" * 101, "the name has 101 letters; at most 100"),
        ("nul", "is a device on Windows"), ("COM1.x", "is a device on Windows"), ("x.", "ends in '.'"), ('"plain\\n"', "ends in a line break"),
    ],
)  # fmt: skip
def test_a_stated_name_that_no_folder_can_have_is_a_problem_at_its_line(
    name: str, message: str, write: Write, catalogue: Catalogue
) -> None:
    (problem,) = problems(write(f"description: it\nname: {name}\n{BODY}"), catalogue)
    assert problem.startswith(":2: name: ")
    assert message in problem


@pytest.mark.parametrize("name", ["../up", ".store", "x" * 300, "a b"])
def test_a_name_of_the_command_line_is_checked_as_well(name: str, write: Write, catalogue: Catalogue) -> None:
    (problem,) = problems(write(BODY), catalogue, name=name)
    assert problem.startswith(f"--name {name}")


def test_a_name_of_the_command_line_is_text(write: Write, catalogue: Catalogue) -> None:
    assert load(write(f"name: plain\n{BODY}"), catalogue, name="1.0").name == "1.0"


LONG = "x" * 300


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"name: a\ndatasets:\n  {LONG}: {{type: plain}}\n", 3),
        (f"name: a\n{BODY}tables:\n  {LONG}: {{from: shade}}\n", 7),
        (f"name: a\ndatasets: {{grey: {{type: plain}}}}\nevaluate:\n  {LONG}: {{type: shade, examples: [grey]}}\n", 4),
        (f"name: a\naxes:\n  {LONG}: [1]\n{BODY}", 3),
        ("name: a\ndatasets:\n  aux: {type: plain}\n", 3),
        (f'name: a\n{BODY}tables:\n  "t\\n": {{from: shade}}\n', 7),
    ],
)
def test_names_that_no_file_can_have_are_problems_at_their_line(
    text: str, line: int, write: Write, catalogue: Catalogue
) -> None:
    found = problems(write(text), catalogue)
    assert any(
        "letters; at most 100" in problem or "is a device" in problem or "line break" in problem for problem in found
    )
    assert {problem.split(":")[1] for problem in found} == {str(line)}


def test_names_that_differ_in_capital_letters_only_are_refused(write: Write, catalogue: Catalogue) -> None:
    text = f"name: a\n{BODY}tables:\n  one: {{from: shade}}\n  ONE: {{from: shade}}\n  Shade: {{from: shade}}\n"
    message = [
        ":8: tables.ONE: tables.one differs in capital letters only, and so would their files; rename one",
        ":9: tables.Shade: evaluate.shade differs in capital letters only, and so would their files; rename one",
    ]
    assert [problem for problem in problems(write(text), catalogue) if "capital" in problem] == message


@pytest.mark.parametrize("entry", ["Results", "EXPECTED", "failures", "classes"])
def test_files_of_the_results_are_taken_however_they_are_written(
    entry: str, write: Write, catalogue: Catalogue
) -> None:
    found = problems(write(f"name: a\n{BODY}tables:\n  {entry}: {{from: shade}}\n"), catalogue)
    assert f":7: tables.{entry}: the results have a file {entry.lower()}.csv; choose another name" in found
