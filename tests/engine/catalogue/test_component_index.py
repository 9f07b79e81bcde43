"""The cached index of components: used while the code is as it was, recomputed when anything changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from temper.core.errors import SpecError
from temper.core.families import Generator
from temper.engine.catalogue import component_index, discovery
from temper.engine.catalogue.component_index import Entry, cache, cached, stamp
from temper.engine.catalogue.discovery import Catalogue, discover
from temper.engine.catalogue.json_schema import schemas
from temper.engine.catalogue.schema_validation import Validator
from temper.system.installation import PACKAGE


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache home"))
    return tmp_path / "cache home" / "temper"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of two modules in two folders, one of them behind a link."""
    folder = tmp_path / "package"
    for name in ("core", "deeper/attacks"):
        (folder / name).mkdir(parents=True)
    (tmp_path / "linked").mkdir()
    (folder / "generators").symlink_to(tmp_path / "linked")
    for name in ("core/base.py", "deeper/attacks/one.py", "generators/two.py"):
        (folder / name).write_text("a = 1\n")
    return folder


def edited(folder: Path) -> None:
    (folder / "deeper/attacks/one.py").write_text("a = 12\n")


def edited_to_the_same_size(folder: Path) -> None:
    (folder / "deeper/attacks/one.py").write_text("a = 2\n")


def base_class_edited(folder: Path) -> None:
    (folder / "core/base.py").write_text("a = 3\n")


def edited_behind_a_link(folder: Path) -> None:
    (folder / "generators/two.py").write_text("a = 3\n")


def replaced_with_the_time_kept(folder: Path) -> None:
    path = folder / "core/base.py"
    before = path.stat()
    path.write_text("a = 3\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def added(folder: Path) -> None:
    (folder / "deeper/attacks/three.py").touch()


def removed(folder: Path) -> None:
    (folder / "deeper/attacks/one.py").unlink()


def renamed(folder: Path) -> None:
    (folder / "core/base.py").rename(folder / "core/bases.py")


CHANGES = (
    edited, edited_to_the_same_size, base_class_edited, edited_behind_a_link, replaced_with_the_time_kept, added, removed, renamed,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_to_any_module_changes_the_stamp(package: Path, change: Callable[[Path], None]) -> None:
    before = stamp(package)
    assert stamp(package) == before
    _after_the_clock_ticks(package)
    change(package)
    assert stamp(package) != before


def _after_the_clock_ticks(package: Path) -> None:
    """Wait until a new file is of another time than the package's: file systems count in ticks of some milliseconds."""
    probe, newest = package / "probe", max(path.stat().st_ctime_ns for path in package.rglob("*.py"))
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > newest:
            return probe.unlink()


def test_bytecode_and_other_files_do_not_change_the_stamp(package: Path) -> None:
    before = stamp(package)
    (package / "core/__pycache__").mkdir()
    (package / "core/__pycache__/base.cpython-311.py").touch()
    (package / "core/notes.txt").touch()
    assert stamp(package) == before


def test_another_python_has_another_stamp(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stamp(package)
    monkeypatch.setattr(sys, "version", "3.99.0")
    assert stamp(package) != before


def test_entries_come_back_as_they_were_cached(package: Path) -> None:
    entries = discovery._built_in()
    cache(package, "state", entries)
    found = cached(package, "state")
    assert found is not None
    assert [qualified(entry) for entry in found] == [qualified(entry) for entry in entries]
    assert cached(package, "another state") is None
    assert cached(package.parent, "state") is None


def qualified(entry: Entry) -> tuple[object, ...]:
    return (entry.module, entry.name, entry.tag, entry.family, list(entry.bases), list(entry.nested))


def one_letter_changed(text: str) -> str:
    return text.replace('"tag": "pgd"', '"tag": "pgx"')


def an_entry_lost(text: str) -> str:
    document = json.loads(text)
    return json.dumps(document | {"components": document["components"][1:]})


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "\x00\xff" + text,
        one_letter_changed,
        an_entry_lost,
    ],
)
def test_a_corrupted_index_is_recomputed_and_replaced(cache_home: Path, damage: Callable[[str], str]) -> None:
    whole = {entry.tag for entry in discover().entries}
    (file,) = cache_home.iterdir()
    text = file.read_text(encoding="utf-8")
    assert damage(text) != text
    file.write_text(damage(text), encoding="utf-8")
    assert {entry.tag for entry in discover().entries} == whole
    assert file.read_text(encoding="utf-8") == text


def a_file_for_a_folder(home: Path) -> None:
    home.write_text("no folder")


def a_folder_for_the_file(home: Path) -> None:
    component_index._file(PACKAGE).mkdir(parents=True)


def a_pipe_for_the_file(home: Path) -> None:
    path = component_index._file(PACKAGE)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)


@pytest.mark.parametrize("obstacle", [a_file_for_a_folder, a_folder_for_the_file, a_pipe_for_the_file])
def test_a_cache_that_cannot_be_used_changes_nothing(cache_home: Path, obstacle: Callable[[Path], None]) -> None:
    obstacle(cache_home.parent)
    assert "pgd" in discover().of(Generator)


def test_a_user_without_a_home_folder_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert "pgd" in discover().of(Generator)


def test_components_read_from_the_index_are_those_found_by_importing() -> None:
    first, second = discover(), discover()
    assert all(entry.loaded for entry in first.entries)
    assert not any(entry.loaded for entry in second.entries)
    assert second.leaves == first.leaves
    assert second.families() == first.families()
    for family in first.families():
        assert dict(second.of(family)) == dict(first.of(family))
    assert second.stage("pgd") == first.stage("pgd") != []
    assert schemas(second) == schemas(first)


def test_a_class_that_is_gone_says_that_the_code_changed() -> None:
    gone = Entry("temper.core.stage", "Vanished", "vanished", "temper.core.stage:Stage", (), ())
    with pytest.raises(SpecError, match=r"temper.core.stage:Vanished is no longer there .*restart it"):
        gone.load()


FILE = {
    "datasets": {"digits": {"type": "digits"}},
    "generate": {"a": {"type": "pgx", "model": "m"}, "b": {"type": "shift", "noise": {"type": "no_such"}}},
    "evaluate": {"c": {"type": "pgd"}, "d": {"type": "robustness_matrix", "modles": ["m"]}},
}


def test_problems_are_those_of_the_whole_schemas(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(Validator(catalogue).experiment(FILE))
    assert len(found) > 5
    assert any("unknown type 'pgx'; did you mean 'pgd'" in message for _, message in found)
    monkeypatch.setattr("temper.engine.catalogue.schema_validation.schemas", lambda known, tags: schemas(known))
    assert list(Validator(catalogue).experiment(FILE)) == found


def in_a_copy(tmp_path: Path) -> Path:
    """Return a copy of the package in a folder of its own, with the cache that a first process left."""
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE, copy / "temper", ignore=shutil.ignore_patterns("__pycache__", "experiments", "schemas"))
    (copy / "temper/schemas").mkdir()
    return copy


LIST = """
import sys
from temper.core.families import Generator
from temper.engine.catalogue.discovery import discover
from temper.engine.catalogue.schema_validation import Validator
catalogue = discover()
members = catalogue.of(Generator)
print(sum(name.startswith("temper.generators.") for name in sys.modules))
print(*(tag for tag in members if "fgs" in tag), *dict(Validator(catalogue).component(Generator, {"type": "fgsm", "radius": 1})).values())
"""
AGAIN = """
from dataclasses import dataclass
from temper.generators.fgsm_bim_pgd import FGSM

@dataclass(frozen=True, kw_only=True)
class Again(FGSM):
    'FGSM again.'
    tag = "fgsm_again"
"""


def seen(copy: Path) -> tuple[int, str]:
    """Return how many modules of generators a new process imports to list them, and what it sees of FGSM."""
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run([sys.executable, "-c", LIST], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported, of_fgsm = done.stdout.splitlines()
    return int(imported), of_fgsm


def test_the_next_process_sees_every_change_and_imports_only_what_it_needs(tmp_path: Path) -> None:
    copy = in_a_copy(tmp_path)
    first, second = seen(copy), seen(copy)
    assert first[1] == second[1]
    assert first[0] > 20 > second[0]
    added, renamed = copy / "temper/generators/again.py", copy / "temper/generators/once_more.py"
    added.write_text(AGAIN, encoding="utf-8")
    assert seen(copy)[1].startswith("fgsm fgsm_again ")
    added.rename(renamed)
    assert seen(copy)[1].startswith("fgsm fgsm_again ")
    renamed.write_text(AGAIN.replace('"fgsm_again"', '"fgsm_anew"'), encoding="utf-8")
    assert seen(copy)[1].startswith("fgsm fgsm_anew ")
    renamed.unlink()
    assert seen(copy)[1] == second[1]
    base = copy / "temper/core/attack.py"
    field = 'radii: Annotated[int, "an option", Range(ge=1)] = 1\n    batch_size:'
    base.write_text(base.read_text(encoding="utf-8").replace("batch_size:", field, 1), encoding="utf-8")
    assert "did you mean 'radii'?" in seen(copy)[1]
