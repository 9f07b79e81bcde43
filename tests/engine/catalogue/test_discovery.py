"""Finding components: in folders, by being there; what is declared wrongly is refused by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from temper.core.component import Component
from temper.core.errors import SpecError
from temper.core.families import Generator
from temper.engine.catalogue import discovery
from temper.engine.catalogue.discovery import Catalogue, discover
from temper.engine.catalogue.sections import SECTIONS
from temper.engine.storage import code_digest
from tests.conftest import ROOT

HEAD = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated
from temper.core.data_info import DataInfo
from temper.core.dataset import Dataset
"""
BODY = """
@dataclass(frozen=True, kw_only=True)
class Mine(Dataset):
    '''Mine.

    Source: made up.
    '''

    tag = "mine"

    def source_info(self):
        return DataInfo((1, 1, 1), ("a", "b"))

    def load(self):
        raise NotImplementedError
"""

Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Folder]:
    """Write a folder of a user's modules, forgotten after the test."""
    names: list[str] = []
    path, before = list(sys.path), set(sys.modules)
    sys.path[:] = [place for place in path if Path(place) != ROOT / "tests"]  # has folders of these names, too

    def folder(name: str = "", **files: str) -> Path:
        place = tmp_path / (name or f"mine_{abs(hash(request.node.nodeid))}")
        names.append(place.name)
        for file, text in files.items():
            target = place / (file.replace("__", "/") + ".py")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return place

    yield folder
    sys.path[:] = path
    for name in [m for m in set(sys.modules) - before if m.partition(".")[0] in names]:
        del sys.modules[name]


def problems(*folders: Path) -> str:
    with pytest.raises(SpecError) as caught:
        discover(folders)
    return str(caught.value)


def test_every_section_has_components(catalogue: Catalogue) -> None:
    for section in ("datasets", "targets", "generate", "repair", "evaluate"):
        assert catalogue.of(SECTIONS[section]), section
    tags = list(catalogue.of(Generator))
    assert tags == sorted(tags)
    assert {"fgsm", "pgd"} <= set(tags)


def test_the_components_of_a_folder_are_found_by_being_there(folder: Folder) -> None:
    place = folder(a=HEAD + BODY, sub__deeper="one = 1", sub____init__="")
    found = discover([place])
    assert found.of(SECTIONS["datasets"])["mine"].__name__ == "Mine"
    assert found.folders == (place.resolve(),)
    assert "mine" not in discover().of(SECTIONS["datasets"])


def test_finding_them_again_gives_the_same_classes(folder: Folder) -> None:
    place = folder(a=HEAD + BODY)
    assert discover([place]).leaves == discover([place]).leaves


def test_modules_of_a_folder_may_import_each_other(folder: Folder) -> None:
    place = folder("mine_pair", a="from mine_pair.b import Mine", b=HEAD + BODY)
    assert "mine" in discover([place]).of(SECTIONS["datasets"])


def test_nested_families_are_found_through_the_fields_that_hold_them(catalogue: Catalogue) -> None:
    names = [family.__name__ for family in catalogue.families()]
    assert names[: len(SECTIONS)] == [family.__name__ for family in SECTIONS.values()]
    assert "Noise" in names
    noise = next(family for family in catalogue.families() if family.__name__ == "Noise")
    assert set(catalogue.of(noise)) == {"drawn", "fixed", "written"}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("import no_such_package", 1, "cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        ("one = 1\ntwo = (", 2, "cannot be imported: SyntaxError: '(' was never closed"),
        ("one = 1\n\none.two", 3, "cannot be imported: AttributeError: 'int' object has no attribute 'two'"),
    ],
)
def test_a_file_that_cannot_be_imported_is_a_problem_at_its_line(
    folder: Folder, text: str, line: int, said: str
) -> None:
    place = folder(broken=text)
    message = problems(place)
    assert message.startswith(f"{place}/broken.py:{line}: ")
    assert said in message
    assert f"{place.name}.broken" not in sys.modules


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (
            "from core.attack import Attack",
            1,
            "core.attack is now part of temper; write from temper.core.attack import Attack",
        ),
        (
            "one = 1\nfrom core.threat import ThreatModel as T",
            2,
            "write from temper.core.threat_model import ThreatModel as T",
        ),
        (
            "from core.faults import Fault, StageError, nearest",
            1,
            "write from temper.core.errors import SpecProblem, StageError, did_you_mean",
        ),
        ("from core import backend", 1, "write from temper.system import backend"),
        (
            "def f():\n    import core.batchwise",
            2,
            "core.batchwise is now part of temper; write import temper.core.resumable_batches",
        ),
        # In a checkout this one could be imported, a second time.
        ("from generators.gradient import PGD", 1, "write from temper.generators.fgsm_bim_pgd import PGD"),
        ("from targets.datasets.mnist import MNIST", 1, "write from temper.targets.datasets.mnist import MNIST"),
        ("from evaluation.surprise.lsa import LSA", 1, "write from temper.evaluation.surprise.lsa import LSA"),
        (
            "from core.naming import no_such",
            1,
            "what has replaced no_such is in the table of folders in CONTRIBUTING.md",
        ),
    ],
)
def test_an_import_by_a_former_name_is_a_problem_that_states_what_to_write(
    folder: Folder, text: str, line: int, said: str
) -> None:
    message = problems(folder(old=text))
    assert f"/old.py:{line}: " in message
    assert said in message


def test_all_imports_by_former_names_are_named_at_once(folder: Folder) -> None:
    message = problems(folder(old="from core.run import Run\nfrom core.families import Evaluation\n"))
    assert "/old.py:1: " in message
    assert "/old.py:2: " in message


def test_an_import_that_is_tried_may_have_a_former_name(folder: Folder) -> None:
    tried = "try:\n    from temper.core.run import Run\nexcept ImportError:\n    from core.run import Run\n"
    assert discover([folder(both=tried)])


@pytest.mark.parametrize("name", ["generators", "targets", "core", "benchmarks"])
def test_a_folder_may_have_the_name_of_one_of_the_checkout(folder: Folder, name: str) -> None:
    place = folder(name, a=f"from {name}.b import Mine\nfrom .sub.c import ONE", b=HEAD + BODY, sub__c="ONE = 1")
    found = discover([place])
    mine = found.of(SECTIONS["datasets"])["mine"]
    assert Path(sys.modules[mine.__module__].__file__ or "") == place.resolve() / "b.py"
    assert code_digest.file_of(f"{name}.sub.c") == place.resolve() / "sub" / "c.py"
    assert code_digest.file_of(name) is None  # not the checkout's


def test_another_folder_of_the_same_name_takes_nothing_from_the_first(folder: Folder) -> None:
    text = HEAD + "from mine.b import ONE\n" + BODY.replace('"mine"', "ONE")
    one = folder("one/mine", a=text, b='ONE = "first"')
    two = folder("two/mine", a=text, b='ONE = "second"')
    assert "first" in discover([one]).of(SECTIONS["datasets"])
    assert "second" in discover([two]).of(SECTIONS["datasets"])


def test_the_package_of_a_folder_is_run_first(folder: Folder) -> None:
    place = folder("packaged", a=HEAD + "import packaged\n" + BODY.replace('"mine"', "packaged.NAME"))
    (place / "__init__.py").write_text("NAME = 'mine'", encoding="utf-8")
    assert "mine" in discover([place]).of(SECTIONS["datasets"])


def test_links_that_git_wrote_as_text_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "targets").write_text("../targets", encoding="utf-8")
    monkeypatch.setattr(discovery, "PACKAGE", tmp_path)
    message = problems()
    assert message.startswith(f"{tmp_path}/targets: expected a link to a folder, received a file")
    assert "git config core.symlinks true" in message


def test_a_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path / "none") == (
        f"--components: {tmp_path}/none: no such folder; name one that holds component files"
    )


def test_two_components_of_a_family_cannot_share_a_tag(folder: Folder) -> None:
    place = folder(a=HEAD + BODY, b=HEAD + BODY.replace("Mine", "Yours"))
    message = problems(place)
    assert message.startswith(f"{place}/b.py:")
    assert f"type 'mine' is already taken by {place.name}.a.Mine; choose another tag" in message


def test_a_built_in_tag_is_taken(folder: Folder) -> None:
    message = problems(folder(a=HEAD + BODY.replace('"mine"', '"mnist"')))
    assert "type 'mnist' is already taken by temper.targets.datasets.mnist." in message


@pytest.mark.parametrize("name", ["json", "numpy", "temper"])
def test_a_folder_cannot_hide_a_package(folder: Folder, name: str) -> None:
    message = problems(folder(name, gradient=HEAD + BODY))
    assert "is the name of an installed Python package; rename yours" in message


def test_two_folders_cannot_have_one_name(folder: Folder) -> None:
    one, two = folder("one/mine", a=HEAD + BODY), folder("two/mine", a=HEAD + BODY.replace('"mine"', '"other"'))
    assert "two folders are called mine; rename one" in problems(one, two)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("@dataclass(frozen=True, kw_only=True)\n", "", "Mine: must be decorated with @dataclass(frozen=True, kw_only=True)"),
        ("frozen=True, ", "", "cannot be imported: TypeError: cannot inherit non-frozen dataclass from a frozen one"),
        ("    def load(self):\n        raise NotImplementedError\n", "", "Mine: has a tag but does not implement load"),
        ('    tag = "mine"\n', '    tag = "mine"\n    n: int = 1\n', "Mine.n: expected Annotated[type, 'one description', ...]"),
        ('    tag = "mine"\n', '    tag = "mine"\n    n: Annotated[list[int], "some"] = None\n', "Mine.n: unsupported field type"),
    ],
)  # fmt: skip
def test_a_component_that_is_declared_wrongly_is_refused_by_name(folder: Folder, old: str, new: str, said: str) -> None:
    assert old in BODY
    with pytest.raises(SpecError) as caught:
        discover([folder(a=HEAD + BODY.replace(old, new))])
    assert said in str(caught.value)


def test_families_are_no_components(catalogue: Catalogue) -> None:
    assert all(isinstance(leaf.tag, str) and issubclass(leaf, Component) for leaf in catalogue.leaves)
    assert not {"Attack", "Dataset", "Generator"} & {leaf.__name__ for leaf in catalogue.leaves}
