from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.core.errors import SpecError
from temper.engine.syntax.document import parse
from temper.engine.syntax.extends import load
from temper.engine.syntax.value_origin import Layered


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(**contents: str) -> None:
        for name, content in contents.items():
            path = Path(name.replace("__", "/") + ".yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")

    return write


def compose(*sets: str) -> Layered:
    return load(Path("e.yaml"), sets)


def problems(*sets: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        compose(*sets)
    return [str(problem) for problem in caught.value.problems]


BASE = "name: base\ngenerate:\n  pgd: {type: pgd, eps: 0.1, norm: 2}\naxes: {eps: [1, 2, 3]}\n"


def test_a_file_alone_is_its_data(files):
    files(e="name: e\na: [1, {b: 2}]\n")
    assert compose().data == {"name": "e", "a": [1, {"b": 2}]}


def test_mappings_merge_and_the_rest_replaces(files):
    files(
        base=BASE, e="extends: base.yaml\nname: e\ngenerate:\n  pgd:\n    eps: 0.2\n    norm: null\naxes: {eps: [9]}\n"
    )
    expected = {"name": "e", "generate": {"pgd": {"type": "pgd", "eps": 0.2, "norm": None}}, "axes": {"eps": [9]}}
    assert compose().data == expected


def test_null_removes_a_stage(files):
    files(base=BASE, e="extends: base.yaml\ngenerate: {pgd: null, new: null}\naxes: {eps: null}\n")
    assert compose().data == {"name": "base", "generate": {"new": None}, "axes": {"eps": None}}
    files(e="extends: base.yaml\n")
    assert compose("generate.pgd=null").data["generate"] == {}


def test_every_value_knows_the_file_line_text_and_folder_that_stated_it(files):
    files(base__b=BASE, e="extends: base/b.yaml\ngenerate:\n  pgd:\n    eps: 0.2 # smaller\n")
    layered = compose("generate.pgd.norm=inf")
    eps, kind = (layered.origin_of(("generate", "pgd", key)) for key in ("eps", "type"))
    assert (str(eps), eps.text, eps.folder) == ("e.yaml:4", "eps: 0.2 # smaller", Path())
    assert (str(kind), kind.folder) == ("base/b.yaml:3", Path("base"))
    assert layered.folder_of(("axes", "eps", 1)) == Path("base")
    assert str(layered.origin_of(("generate", "pgd", "norm"))) == "--set generate.pgd.norm=inf"
    assert layered.folder_of(("generate", "pgd", "norm")) == Path()


def test_the_origin_of_a_default_is_that_of_its_nearest_ancestor(files):
    files(e="a:\n  b: 1\nc: [1]\n")
    layered = compose()
    assert layered.origin_of(("a", "z")).line == 1
    assert layered.origin_of(("c", 7)).line == 3
    assert layered.origin_of(("a", "b", "c")).line == 2


def test_bases_extend_bases_each_relative_to_its_own_file(files):
    files(e="extends: one/b.yaml\nx: e\n", one__b="extends: ../two/c.yaml\ny: b\nx: b\n", two__c="x: c\ny: c\nz: c\n")
    assert compose().data == {"x": "e", "y": "b", "z": "c"}


def test_json_extends_yaml(files, tmp_path):
    files(base=BASE)
    Path("e.json").write_text('{"extends": "base.yaml", "name": "j"}', encoding="utf-8")
    assert load(Path("e.json")).data["name"] == "j"


def test_another_type_replaces_the_whole_mapping(files):
    files(base=BASE, e="extends: base.yaml\ngenerate: {pgd: {type: fgsm, eps: 0.3}}\n")
    assert compose().data["generate"] == {"pgd": {"type": "fgsm", "eps": 0.3}}


def test_the_same_type_merges(files):
    files(base=BASE, e="extends: base.yaml\ngenerate: {pgd: {type: pgd, eps: 0.3}}\n")
    assert compose().data["generate"] == {"pgd": {"type": "pgd", "eps": 0.3, "norm": 2}}


@pytest.mark.parametrize(
    ("written", "value"),
    [("0.2", 0.2), ("1e-4", 1e-4), ("8/255", "8/255"), ("$axis", "$axis"), ("[1, 2]", [1, 2]), ("{a: 1}", {"a": 1}),
     ("", None), ("null", None), ("a=b", "a=b"), ("'1'", "1"), (" x ", "x")],
)  # fmt: skip
def test_overrides_are_written_as_in_a_file(files, written, value):
    files(e="name: e\n")
    assert compose(f"a.b={written}").data["a"] == {"b": value}


def test_overrides_apply_in_their_order_and_keep_the_rest(files):
    files(e=BASE)
    assert compose("generate.pgd.eps=1", "generate.pgd.eps=2").data["generate"]["pgd"] == {
        "type": "pgd",
        "eps": 2,
        "norm": 2,
    }
    assert compose("generate.pgd.type=fgsm", "generate.pgd.eps=2").data["generate"]["pgd"] == {"type": "fgsm", "eps": 2}


def test_problems_of_overrides_name_the_argument(files):
    files(e=BASE)
    layered = compose("generate.pgd.eps=x", "generate.fgsm={eps: x}")
    assert str(layered.problem(("generate", "pgd", "eps"), "bad")) == "--set generate.pgd.eps=x: bad"
    nested = layered.problem(("generate", "fgsm", "eps"), "bad")
    assert str(nested) == "--set generate.fgsm={eps: x}: generate.fgsm.eps: bad"
    assert str(layered.problem(("generate", "pgd", "norm"), "bad")) == "e.yaml:3: generate.pgd.norm: bad"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a", "expected KEY=VALUE with a dotted key, such as generate.pgd.eps=0.2"),
        ("=1", "expected KEY=VALUE with a dotted key, such as generate.pgd.eps=0.2"),
        ("a..b=1", "expected KEY=VALUE with a dotted key, such as generate.pgd.eps=0.2"),
        ("extends=b.yaml", "'extends' cannot be set; state it in a file"),
        ("axes.eps.0=1", "'axes.eps' is a list, not a mapping; set it as a whole"),
        ("name.x=1", "'name' is a single value, not a mapping; set it as a whole"),
        ("a=!x 1", "the tag !x is not allowed here; write a plain value"),
        ("a=1e999", "the number 1e999 is too large; expected at most 1.8e308"),
        ("a={b: 1, b: 2}", "b: repeated key; first written in line 1, keep one of them"),
        ("a=[1", "not valid YAML (while parsing a flow sequence): expected ',' or ']', but got '<stream end>'"),
    ],
)
def test_malformed_overrides(files, override, expected):
    files(e=BASE)
    assert problems(override) == [f"--set {override}: {expected}"]


def test_a_missing_base_is_reported_where_it_is_named(files):
    files(e="name: e\nextends: none.yaml\n")
    message = "there is no file none.yaml; expected a path relative to the file that extends it"
    assert problems() == [f"e.yaml:2: extends: {message}"]


def test_a_base_that_is_no_path_is_reported(files):
    files(e="extends: [a.yaml]\n")
    assert problems() == ["e.yaml:1: extends: expected the path of one experiment file, as text"]


def test_circles_are_reported_with_their_files(files):
    files(e="extends: b.yaml\n", b="x: 1\nextends: c.yaml\n", c="extends: ./b.yaml\n")
    circle = "files extend each other in a circle (b.yaml -> c.yaml -> b.yaml); remove one 'extends'"
    assert problems() == [f"c.yaml:1: extends: {circle}"]


def test_a_file_that_extends_itself_is_a_circle(files):
    files(e="extends: e.yaml\n")
    assert "in a circle (e.yaml -> e.yaml)" in problems()[0]


def test_problems_of_a_base_are_its_own(files):
    files(e="extends: b.yaml\n", b="x: 1\nx: 2\n")
    assert [str(problem) for _, problem in compose().unread] == [
        "b.yaml:2: x: repeated key; first written in line 1, keep one of them"
    ]


def test_problems_of_values_and_of_what_is_extended_are_reported_together(files):
    files(e="x: 1\nx: 2\nextends: b.yaml\n")
    assert problems() == [
        "e.yaml:2: x: repeated key; first written in line 1, keep one of them",
        "e.yaml:3: extends: there is no file b.yaml; expected a path relative to the file that extends it",
    ]


@given(st.text(max_size=30) | st.text(st.sampled_from("ab.=[]{}:,$1'&*! "), max_size=20))
def test_any_override_is_taken_or_is_a_problem(tmp_path_factory, override):
    path = tmp_path_factory.mktemp("fuzz") / "e.yaml"
    path.write_text("a: {b: [1]}\n", encoding="utf-8")
    try:
        stated_by = load(path, [override]).origin_of(tuple(override.partition("=")[0].strip().split(".")))
    except SpecError as error:
        places = {problem.file for problem in error.problems}
    else:
        places = {str(stated_by)}
    assert places == {f"--set {override}"}


def test_an_override_equals_the_same_value_in_a_file(files):
    files(e=BASE)
    in_file = parse("eps: [0.1, $x, 8/255]", "f").data["eps"]
    assert compose("axes.eps=[0.1, $x, 8/255]").data["axes"]["eps"] == in_file
