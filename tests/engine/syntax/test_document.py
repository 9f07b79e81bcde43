import json
import os
import string
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from temper.core.errors import SpecError, SpecProblem
from temper.engine.syntax.document import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Document, parse, read
from temper.engine.syntax.yaml_syntax import LINE_BREAK


def problems(text: str, *, is_json: bool = False) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(text, "f", is_json=is_json)
    return [str(problem) for problem in caught.value.problems]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("010", 10),
        ("+7", 7),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("yes", "yes"),
        ("off", "off"),
        ("0x1f", "0x1f"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("2020-01-01", "2020-01-01"),
        ("8/255", "8/255"),
        ("$eps", "$eps"),
        ("<<", "<<"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
    ],
)
def test_scalars_are_those_of_the_core_schema(text, value):
    data = parse(f"a: {text}", "f").data
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


def test_every_key_and_item_knows_its_line():
    document = parse("# comment\na:\n  b: 1\n  c:\n    - x\n    - y: 2\n", "f")
    lines = {("a",): 2, ("a", "b"): 3, ("a", "c"): 4, ("a", "c", 0): 5, ("a", "c", 1): 6, ("a", "c", 1, "y"): 6}
    assert {path: document.line_of(path) for path in lines} == lines


def test_what_is_not_written_has_the_line_of_its_nearest_ancestor():
    document = parse("a: 1\nb:\n  c: 1\n", "f")
    assert document.line_of(("b", "c", "d", 0)) == 3
    assert document.line_of(("z",)) == 1


def test_json_values_know_their_lines_too():
    document = parse('{\n\t"a": [1,\n 2.5],\n "b" : {"c"\n:null}\n}', "f", is_json=True)
    assert document.data == {"a": [1, 2.5], "b": {"c": None}}
    assert [document.line_of(path) for path in [("a",), ("a", 1), ("b",), ("b", "c")]] == [2, 3, 4, 4]


def test_positions_and_source_lines_count_line_breaks_equally():
    document = parse('a: "x\u2028y"\r\nb: 1\r\n', "f")
    assert document.source_lines()[document.line_of(("b",)) - 1] == "b: 1"


def test_merge_keys_bring_values_with_the_line_they_were_written_in():
    document = parse("a: &a {x: 1, y: 2}\nb: &b\n  y: 3\nc:\n  <<: [*b, *a]\n  x: 9\n", "f")
    assert document.data["c"] == {"x": 9, "y": 3}
    assert [document.line_of(("c", key)) for key in ("x", "y")] == [6, 3]


def test_surrogate_pairs_of_json_come_out_right():
    assert parse('{"a": "\\ud83d\\ude00"}', "f", is_json=True).data == {"a": "\U0001f600"}


@pytest.mark.parametrize("is_json", [False, True])
def test_repeated_keys_are_reported_at_once_and_name_the_first(is_json):
    text = '{"a": 1,\n"a": 2, "b": {"c": 1,\n"c": 2},\n"a": 3}'
    message = "repeated key; first written in line {}, keep one of them"
    expected = [f"f:2: a: {message.format(1)}", f"f:3: b.c: {message.format(2)}", f"f:4: a: {message.format(1)}"]
    assert problems(text, is_json=is_json) == expected


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 30, "9" * 5000, "-" + "9" * 5000 + "e5000"])
def test_numbers_no_computer_holds_are_problems(number, is_json):
    (problem,) = problems(f'{{"a":\n {number}}}', is_json=is_json)
    assert "is too large" in problem


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_json_numbers_are_finite(number):
    assert problems(f'{{"a":\n{number}}}', is_json=True) == [
        f"f:2: a: {number} is not a finite float; write it plainly"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\n\tb: 2", "f:2: a tab indents this line; YAML wants spaces"),
        ("a:\n\tb: 2", "f:2: a tab indents this line; YAML wants spaces"),
        ("1: x", "f:1: the key '1' is not text; put it in quotes"),
        ("a:\n  true: x", "f:2: a: the key 'true' is not text; put it in quotes"),
        ("? \n: x", "f:1: the key '' is not text; put it in quotes"),
        ("? [a]\n: x", "f:1: a list or mapping is used as a key; expected text"),
        ("a: !foo x", "f:1: a: the tag !foo is not allowed here; write a plain value"),
        (
            "a: !!python/object/apply:os.system [ls]",
            "f:1: a: the tag !!python/object/apply:os.system is not allowed here; write a plain value",
        ),
        ("a: !!set {b}", "f:1: a: the tag !!set is not allowed here; write a plain value"),
        ("a: !!int x", "f:1: a: x is not a finite int; write it plainly"),
        ("a: 1\n---\nb: 2", "f:2: a second document starts here; expected one per file, without '---' between"),
        ("", "f: the file is empty; expected a mapping such as 'name: my-experiment'"),
        ("# only\n", "f: the file is empty; expected a mapping such as 'name: my-experiment'"),
        ("a: &a [*a]", "f:1: a[0]: an alias refers to the value it stands in; write the value out"),
        (
            "a: &a\n  <<: *a",
            "f:2: a: '<<' merges something else; expected an alias of another mapping, or a list",
        ),
        ("<<: 3", "f:1: '<<' merges something else; expected an alias of another mapping, or a list"),
        ("a: b: c", "f:1: unexpected ':'; put a text with ': ' in quotes, or check the indentation"),
        ("a: @b", "f:1: found character '@' that cannot start any token; put the value in quotes"),
        ("a: 1\nb: \x07", "f:2: character U+0007 is not allowed; delete it"),
        ('a: "\\UFFFFFFFF"', "f:1: a number in an escape or directive is out of range"),
        ('a: "\\ud800"', "f:1: a: the escaped character U+D800 is no text; write the character itself"),
        ('a: "\\0"', "f:1: a: the escaped character U+0000 is no text; write the character itself"),
        ("a: *b", "f:1: not valid YAML: found undefined alias 'b'"),
    ],
)
def test_what_is_wrong_is_reported_with_its_line(text, expected):
    assert problems(text) == [expected]


def test_json_syntax_is_reported_with_line_and_column():
    assert problems('{"a": 1,\n "b": }', is_json=True) == ["f:2: not valid JSON: Expecting value (column 7)"]


def test_all_problems_of_a_file_are_reported_at_once():
    assert len(problems("a: 1\na: 2\n3: x\nb: !foo y\nc: 1e999\n")) == 4


def test_a_problem_behind_an_alias_is_reported_once():
    assert len(problems("a: &a {x: !foo 1}\nb: *a\nc: {<<: *a}\n")) == 1


def test_alias_bombs_are_stopped():
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    assert f"more than {MAX_VALUES} values" in problems(bomb)[0]


def test_bombs_of_merge_keys_are_stopped():
    bomb = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60))
    assert f"more than {MAX_VALUES} values" in problems(bomb)[0]


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100_000])
def test_deep_nesting_is_a_problem(depth, is_json):
    (problem,) = problems("[" * depth + "]" * depth, is_json=is_json)
    assert problem.startswith(("f:1: [0]: values are nested", "f: values are nested"))


def test_deep_nesting_by_aliases_is_a_problem():
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 2 * MAX_DEPTH))
    assert "levels deep" in problems(chain)[0]


def test_the_deepest_allowed_nesting_is_read():
    value = parse("[" * MAX_DEPTH + "]" * MAX_DEPTH, "f").data
    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert value == []


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.yaml", b"a: 1\nb: \xff", ":2: byte 0xff is not UTF-8; save as UTF-8"),
        ("a.toml", "a: 1", ": unknown kind of file '.toml'; expected .yaml, .yml or .json"),
        ("a.yml", "[1]", ":1: the file holds a list; expected a mapping such as 'name: my-experiment'"),
        ("a.json", "null", ":1: the file holds a single value; expected a mapping such as 'name: my-experiment'"),
        ("a.json", " \n", ": the file is empty; expected a mapping such as 'name: my-experiment'"),
    ],
)
def test_files_that_are_no_experiment(tmp_path, name, content, expected):
    path = written(tmp_path, name, content)
    with pytest.raises(SpecError) as caught:
        read(path)
    assert str(caught.value) == f"{path}{expected}"


@pytest.mark.parametrize("name", ["missing.yaml", "folder.yaml", "nul\0.yaml"])
def test_what_cannot_be_opened_is_a_problem(tmp_path, name):
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(SpecError, match=r"cannot be read: |received a folder"):
        read(tmp_path / name)


def test_a_byte_order_mark_is_no_content(tmp_path):
    assert read(written(tmp_path, "a.json", b'\xef\xbb\xbf{"a": 1}')).data == {"a": 1}


# Fuzzing: whatever the text, the answer is a value or a SpecError.

ALPHABET = st.sampled_from(
    [*"{}[]:,-?&*!|>'\"%@`#~<\\ \n\t\r0129aeE.+$", "<<: ", "&a ", "*a", "!!", "\\u", "---\n", "\u2028", "\ud800"]
)
YAMLISH = st.lists(ALPHABET, max_size=60).map("".join)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def reads_or_problems(text: str, is_json: bool) -> None:
    document, problems = outcome(lambda: parse(text, "f", is_json=is_json))
    if document is None:
        assert problems
        assert all(problem.message and 0 <= problem.line <= len(LINE_BREAK.findall(text)) + 1 for problem in problems)
    else:
        json.dumps(document.data, allow_nan=False).encode()
        assert all(1 <= line <= len(document.source_lines()) for line in document.lines.values())


def outcome(reading: Callable[[], Document]) -> tuple[Document | None, tuple[SpecProblem, ...]]:
    try:
        return reading(), ()
    except SpecError as error:
        return None, error.problems


@given(st.text() | YAMLISH, st.booleans())
@example("%YAML 1." + "9" * 5000 + "\n---\na: 1", False)
@example('"\\U7FFFFFFF"', False)
@example("a: !<!> b", False)
@example("a: ! 5", False)
@example("!", False)
def test_any_text_is_read_or_is_a_problem(text, is_json):
    reads_or_problems(text, is_json)


@given(content=st.binary())
def test_any_bytes_are_read_or_are_a_problem(tmp_path_factory, content):
    path = written(tmp_path_factory.mktemp("fuzz"), "a.yaml", content)
    document, problems = outcome(lambda: read(path))
    assert problems if document is None else isinstance(document.data, dict)


@given(VALUES, st.data())
def test_damaged_files_are_read_or_are_a_problem(value, data):
    is_json = data.draw(st.booleans())
    text = json.dumps(value, indent=1) if is_json else yaml.safe_dump(value, allow_unicode=True)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 4)))
    reads_or_problems(text[:start] + data.draw(YAMLISH.filter(lambda t: len(t) < 8)) + text[stop:], is_json)


@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_is_read_as_the_standard_library_reads_it(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert parse(text, "f", is_json=True).data == json.loads(text)


@given(st.dictionaries(st.text(string.ascii_lowercase, min_size=1), st.integers(0, 9), min_size=1))
def test_each_line_of_a_flat_file_belongs_to_its_key(values):
    text = "".join(f"'{key}': {value}\n" for key, value in values.items())
    document = parse(text, "f")
    assert document.data == values
    assert [document.line_of((key,)) for key in values] == list(range(1, len(values) + 1))


@given(VALUES.map(lambda value: map_texts(value)), st.sampled_from([None, False, True]))
def test_yaml_is_read_as_it_was_dumped(value, flow_style):
    text = yaml.safe_dump(value, default_flow_style=flow_style, allow_unicode=True)
    assert parse(text, "f").data == value


def map_texts(value):
    """Texts as PyYAML can write them: it leaves '1e5' unquoted, and some line breaks in quotes come back as blanks."""
    if isinstance(value, dict):
        return {map_texts(key): map_texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [map_texts(item) for item in value]
    return f"s{value!a}" if isinstance(value, str) else value


@pytest.mark.parametrize("name", ["large.yaml", "large.json"])
def test_a_file_that_is_too_large_is_not_read(tmp_path, name):
    (tmp_path / name).write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(SpecError, match="1,048,577 bytes; expected at most 1,048,576"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        ("a: [" + "[]," * 100 + "]", False),
        ("a:\n" + "  - x: y\n" * 100, False),
        ('{"a": [' + ", ".join(["[]"] * 100) + "]}", True),
    ],
)
def test_values_are_counted_while_they_are_composed(monkeypatch, text, is_json):
    """Nodes take two hundred times the memory of their text."""
    monkeypatch.setattr("temper.engine.syntax.yaml_syntax.MAX_VALUES", 50)
    monkeypatch.setattr("temper.engine.syntax.document._Builder.build", lambda *_: pytest.fail("all was composed"))
    with pytest.raises(SpecError, match="more than 50 values"):
        parse(text, "f", is_json=is_json)


def test_a_pipe_is_no_experiment_file(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(SpecError, match=r"a.yaml: expected a regular file, received a named pipe"):
        read(tmp_path / "a.yaml")
