"""The pages say what the program does: nothing is left unnamed, links lead somewhere, examples load and run."""

from __future__ import annotations

import csv
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import temper
from temper.artefacts.class_generators import Batch, GeneratorLoss
from temper.core.augmenter import Augmenter
from temper.core.cluster import Cluster
from temper.core.component import Component, summary
from temper.core.dataset import Dataset
from temper.core.errors import SpecError
from temper.core.report_spec import ExpectedSpec
from temper.core.stage import Preparation
from temper.engine.catalogue import json_schema
from temper.engine.catalogue.discovery import Catalogue, discover
from temper.engine.command_line.main import DONE, main
from temper.engine.command_line.options import parser
from temper.engine.language import experiment_file
from temper.engine.language.build import build
from temper.system import backend
from temper.system.former_names import FORMER_PACKAGES
from tests.conftest import PLAIN, ROOT
from tests.generators.augmenter_contexts import context
from tests.generators.augmenter_contexts import seeds as seeds_of

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = set(re.findall(r"`([^`\n]+)`", FENCE.sub("", TEXT)))
AUTHOR_AND_YEAR = re.compile(r"([A-Z][\w-]+)(?:, [A-Z][\w-]+)*(?:,? and [A-Z][\w-]+| et al\.)? \((\d{4})\)")


@pytest.fixture(scope="module")
def built_in() -> Catalogue:
    return discover()


@pytest.fixture(scope="module")
def file_schema(built_in: Catalogue) -> json_schema.Schema:
    return json_schema.schemas(built_in)["experiment.schema.json"]


def blocks(page: Path, language: str) -> Iterator[str]:
    """Yield the code blocks of a page in a language."""
    for found, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if found == language:
            yield text


def files(page: Path, folder: Path) -> list[Path]:
    """Write every code block that begins with a comment naming its file into a folder."""
    written = []
    for text in (*blocks(page, "yaml"), *blocks(page, "python")):
        if named := re.match(r"# ([\w/-]+\.(?:yaml|py))\n", text):
            path = folder / named[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def unnamed(names: Iterator[str] | list[str]) -> list[str]:
    """Return the names that no page mentions as code, alone or at the start (``--jobs N``)."""
    first = NAMED | {name.split()[0] for name in NAMED if name.strip()}
    return [name for name in names if name not in first]


def test_every_option_is_named() -> None:
    options = [o for action in parser()._actions for o in action.option_strings if o.startswith("--") and o != "--help"]
    assert "--jobs" in options
    assert unnamed(options) == []


def test_every_experiment_is_named_and_none_that_is_gone() -> None:
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = [
        name for row in rows for cell in (row.split("|")[1], row.split("|")[3]) for name in re.findall(r"`(\w+)`", cell)
    ]
    assert sorted(named) == sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml"))


def test_every_key_of_a_file_is_named(file_schema: json_schema.Schema) -> None:
    properties = file_schema["properties"]
    assert {"datasets", "seeds"} <= set(properties)
    assert unnamed(list(properties)) == []
    assert unnamed(list(properties["tables"]["additionalProperties"]["properties"])) == []
    assert unnamed(list(properties["expected"]["items"]["properties"])) == []


@pytest.mark.parametrize("name", ["mode", "cell", "best", "figure"])
def test_every_choice_of_a_file_is_named(file_schema: json_schema.Schema, name: str) -> None:
    tables = file_schema["properties"]["tables"]["additionalProperties"]["properties"]
    assert [choice for choice in (file_schema["properties"] | tables)[name]["enum"] if choice not in NAMED] == []


def offered(catalogue: Catalogue) -> list[type[Component]]:
    """Return what an experiment can name: all but what stages prepare, and where workers live."""
    return [leaf for leaf in catalogue.leaves if not issubclass(leaf, Preparation | Cluster)]


def test_every_type_is_listed_with_its_source(built_in: Catalogue) -> None:
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8").splitlines()
    missing = []
    for leaf in offered(built_in):
        row = f"| `{leaf.tag}` | {summary(leaf)} | "
        found = next((line for line in page if line.startswith(row)), None)
        if found is None:
            missing.append(f"{row}{source(leaf)} |")
        elif lost := [f"{name} ({year})" for name, year in citations(leaf) if not cites(found, name, year)]:
            missing.append(f"{leaf.tag}: {', '.join(lost)}")
    assert not missing, "docs/sources.md lacks:\n" + "\n".join(missing)


def test_no_type_is_listed_that_is_gone(built_in: Catalogue) -> None:
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert set(listed) == {leaf.tag for leaf in offered(built_in)}


def source(leaf: type[Component]) -> str:
    """Return what a component's docstring says under ``Source:``, on one line."""
    return " ".join(inspect.cleandoc(leaf.__doc__ or "").partition("Source:")[2].split())


def citations(leaf: type[Component]) -> list[tuple[str, str]]:
    """Return the first author and year of every work a component cites."""
    return AUTHOR_AND_YEAR.findall(source(leaf))


def cites(text: str, name: str, year: str) -> bool:
    """Return whether a text cites a work by its first author and year."""
    return (name, year) in AUTHOR_AND_YEAR.findall(text)


def test_citations_are_found() -> None:
    text = "gf: Goodfellow, Shlens and Szegedy (2015), x. Madry et al. (2018); Carlini and Wagner (2017); Krizhevsky (2009)"
    found = [("Goodfellow", "2015"), ("Madry", "2018"), ("Carlini", "2017"), ("Krizhevsky", "2009")]
    assert AUTHOR_AND_YEAR.findall(text) == found


def test_every_column_and_file_of_a_run_is_named(
    run: Callable[..., tuple[int, str]], write: Callable[..., Path], tmp_path: Path
) -> None:
    code, said = run(write(PLAIN))
    assert code == DONE, said
    folder = tmp_path / "outputs" / "plain"
    with (folder / "results.csv").open(encoding="utf-8-sig") as stream:
        columns = next(csv.reader(stream))
    assert unnamed([column for column in columns if column != "by"]) == []  # `by` is this experiment's own axis
    own = {"shade.csv", "shade.tex"}
    found = {path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")} - own
    assert unnamed(sorted(found)) == []


def test_what_is_expected_is_what_the_report_reads(file_schema: json_schema.Schema) -> None:
    assert set(file_schema["properties"]["expected"]["items"]["properties"]) == set(ExpectedSpec.__dataclass_fields__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert "://" not in target, f"{page.name}: {target} leads out of the project"
        place, _, heading = target.partition("#")
        path = (page.parent / place).resolve() if place else page
        assert path.is_relative_to(ROOT), target
        assert path.exists(), f"{page.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, target


HISTORY = {"CHANGELOG.md", "0016-rooms-of-core.md"}
"""Pages that name what was once, and say so."""
TEXTS = [
    path
    for path in [*PAGES, ROOT / "benchmarks" / "README.md", *sorted((ROOT / "experiments").glob("*.yaml"))]
    if path.name not in HISTORY
]
CODE = [
    path
    for place in ("temper", "generators", "targets", "tests", "benchmarks")
    for path in sorted((ROOT / place).rglob("*.py"))
]
PATH = re.compile(r"`+(\w[\w-]*(?:/[\w.-]+)*/|(?:\w[\w-]*/)*[\w-]+\.(?:py|css|j2|toml)|(?:\w[\w-]*/)+\w+)`+")
OURS = {path.name for path in [*ROOT.iterdir(), *(ROOT / "temper").iterdir()]} | set(FORMER_PACKAGES)
"""What a path of ours begins with, or would have begun with before all was one package."""


def gone(text: str, folder: Path) -> list[str]:
    """Return the paths of ours that a text names in backticks and that neither the checkout nor a folder has."""
    named = [path for path in PATH.findall(text) if path.partition("/")[0] in OURS or path.endswith(".py")]
    invented = re.compile(r"outputs/|my_components/")
    return [path for path in named if not invented.match(path) and not any((p / path).exists() for p in (ROOT, folder))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`temper/core/run.py`, `generators/`, `runner.py`", []),
        ("see `core/attack.py` and `evaluation/`", ["core/attack.py", "evaluation/"]),
        ("``temper/core/threat.py``; `dgn.py`", ["temper/core/threat.py", "dgn.py"]),
        ("`tests/core/language/faults`", ["tests/core/language/faults"]),
        ("`8/255`, `K/N`, `outputs/mine/`", []),
    ],
)
def test_paths_that_are_gone_are_found(text: str, found: list[str]) -> None:
    assert gone(text, ROOT / "docs") == found


def test_every_path_that_is_named_exists() -> None:
    lost = {
        str(path.relative_to(ROOT)): found
        for path in [*TEXTS, *CODE]
        if path != Path(__file__) and (found := gone(path.read_text(encoding="utf-8"), path.parent))
    }
    assert lost == {}


def defines(name: str) -> bool:
    """Return whether a full name is a module or package of ours, or a name that stands in one; nothing is imported."""
    if name.removeprefix("temper.") in temper.__all__:
        return True
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:end])
        if (place / "__init__.py").exists():
            return end == len(parts)
        if place.with_suffix(".py").exists():
            source = place.with_suffix(".py").read_text(encoding="utf-8")
            return end == len(parts) or re.search(rf"\b{parts[end]}\b", source) is not None
    return False


def test_every_full_name_that_is_written_exists() -> None:
    written = re.compile(r"(?<![\w.])temper(?:\.[A-Za-z_]\w*)+")
    places: dict[str, Path] = {}
    for path in [*TEXTS, *CODE]:
        if not path.is_relative_to(ROOT / "tests"):
            places |= dict.fromkeys(written.findall(path.read_text(encoding="utf-8")), path)
    assert len(places) > 100
    assert {name: path for name, path in places.items() if not defines(name)} == {}
    assert not defines("temper.core.threat")
    assert not defines("temper.core.attack.Attacks")


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert listed == sorted(path.name for path in folder.glob("0*.md"))


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", TEXT, re.MULTILINE))
    assert {"quickstart", "test"} <= named
    assert named <= targets
    assert targets <= named, "a target no page names"


@pytest.mark.parametrize("page", [p for p in PAGES if any(blocks(p, "yaml"))], ids=lambda page: page.stem)
def test_yaml_blocks_are_yaml_and_whole_experiments_load(page: Path, tmp_path: Path) -> None:
    from temper.engine.syntax.document import parse

    for text in blocks(page, "yaml"):
        parse(text, page.name)
    written = files(page, tmp_path)
    whole = [text for text in blocks(page, "yaml") if re.search(r"^(name|extends):", text, re.MULTILINE)]
    experiments = [path for path in written if path.suffix == ".yaml"]
    assert len(experiments) == len(whole), "a whole experiment begins with a comment that names its file"
    catalogue = discover(sorted({path.parent for path in written if path.suffix == ".py"}))
    for path in experiments:
        assert experiment_file.load(path, catalogue).stages


def test_a_variant_is_what_its_page_says(built_in: Catalogue, tmp_path: Path) -> None:
    files(ROOT / "docs" / "experiment-file.md", tmp_path)
    small = experiment_file.load(tmp_path / "small.yaml", built_in)
    assert (small.name, small.seeds) == ("small", (1,))
    assert small.stages["mlp"].raw["units"] == 16
    assert small.stages["mlp"].raw["layers"] == 2
    assert small.axes["eps"] == (8 / 255, 16 / 255, 32 / 255)


def test_messages_are_those_that_the_page_shows(
    built_in: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ROOT / "docs" / "experiment-file.md"
    (shown,) = blocks(page, "")
    files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    path = Path("digits.yaml")
    path.write_text(path.read_text(encoding="utf-8").replace("eps_step", "eps_stp"), encoding="utf-8")
    with pytest.raises(SpecError) as wrong:
        experiment_file.load(path, built_in)
    assert str(wrong.value) == shown.strip()


def test_the_readme_fits_on_a_page_or_two() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_blocks_of_the_page_on_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "docs" / "python.md"
    files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    backend.keras()  # before the page imports Keras, so that the threads are those of all tests
    names: dict[str, object] = {}
    for text in blocks(page, "python"):
        exec(compile(text, page.name, "exec"), names)
    assert capsys.readouterr().out.count("never run") == 17
    assert np.abs(names["x_adv"] - names["x"]).max() == pytest.approx(8 / 255, abs=1e-6)
    assert 0 < names["share"] < 1
    assert list(names["table"].index) == [0.1, 0.2]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder with the files of the page on components."""
    files(ROOT / "docs" / "adding-a-component.md", tmp_path)
    return tmp_path


def test_the_components_of_the_page_are_planned_and_described(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = ["--components", str(own / "my_components"), "--outputs", str(own / "outputs")]
    assert main([*mine, "--describe", "momentum"]) == DONE
    assert "weight of the gradients so far" in capsys.readouterr().out
    assert main([str(own / "mine.yaml"), *mine, "--plan"]) == DONE
    assert "momentum.test seed=1" in capsys.readouterr().out


def test_the_data_set_of_the_page_has_two_kinds_of_stripes(own: Path) -> None:
    catalogue = discover([own / "my_components"])
    stripes = build(catalogue.of(Dataset)["stripes"], {"noise": 0}, catalogue)
    assert isinstance(stripes, Dataset)
    (x, y), _ = stripes.load()
    assert (x[y == 0] == x[y == 0][:, :, :1]).all()  # lying: the rows are of one shade
    assert (x[y == 1] == x[y == 1][:, :1]).all()


def test_the_loss_of_the_page_rewards_dark_images_and_a_wrong_target(own: Path) -> None:
    catalogue = discover([own / "my_components"])
    loss = build(catalogue.of(GeneratorLoss)["darker"], {"weight": 0.5}, catalogue)
    assert isinstance(loss, GeneratorLoss)
    logits = backend.keras().ops.convert_to_tensor([[0.0, 3.0]])
    made = backend.keras().ops.full((1, 2, 2, 1), 0.25)
    labels = backend.keras().ops.convert_to_tensor([0])
    value = loss.of(Batch(x=made, generated=made, y=labels, eps=0.1, target=lambda _: logits, constants={}))
    assert float(value) == pytest.approx(0.25 - 0.5 * 3)


def test_the_augmenter_of_the_page_darkens_what_is_masked(own: Path) -> None:
    catalogue = discover([own / "my_components"])
    shade = build(catalogue.of(Augmenter)["shade"], {"mask": {"type": "centre"}, "most": 0.5}, catalogue)
    assert isinstance(shade, Augmenter)
    seeds = seeds_of(np.full((3, 8, 8, 1), 0.6))
    made = shade.augment(seeds, context())
    assert made.masks is not None
    assert (made.x[~made.masks] == seeds.x[~made.masks]).all()
    assert made.x[made.masks].min() >= np.float32(0.3)
    assert made.x[made.masks].max() < np.float32(0.6)


@pytest.mark.slow
def test_the_components_of_the_page_run(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([str(own / "mine.yaml"), "--components", str(own / "my_components"), "--outputs", str(own / "outputs")])
    assert code == DONE, capsys.readouterr()
    with (own / "outputs" / "mine" / "results.csv").open(encoding="utf-8-sig") as stream:
        found = {(r["metric"], r["examples"]): float(r["value"]) for r in csv.DictReader(stream)}
    assert found["accuracy", "stripes"] > 0.95
    assert found["accuracy", "momentum"] < 0.5
    assert 0.5 <= found["confidence", "stripes"] <= 1
