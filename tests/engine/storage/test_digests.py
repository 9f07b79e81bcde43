"""The digest cache saves time and never changes a result."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from temper.engine.storage.digests import Digests


def test_cache_is_read_only_if_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, file = tmp_path / "digests.json", tmp_path / "data"
    file.write_text("some", encoding="utf-8")
    first = Digests(memory)
    digest = first.content(file)
    code = first.code("temper.engine.storage.digests")
    first.save_cache()

    monkeypatch.setattr("temper.engine.storage.digests._sha256", lambda path: pytest.fail("it is remembered"))
    assert Digests(memory).content(file) == digest
    monkeypatch.undo()

    for wrong in (memory.read_text(encoding="utf-8").replace(digest, "0" * len(digest)), "[]", '{"known": {}}'):
        memory.write_text(wrong, encoding="utf-8")
        again = Digests(memory)
        assert again.content(file) == digest
        assert again.code("temper.engine.storage.digests") == code


@pytest.mark.parametrize("change", [lambda text: text[: len(text) // 2], lambda text: text.replace("core", "c:re")])
def test_damaged_cache_is_ignored(change: Callable[[str], str], tmp_path: Path) -> None:
    memory = tmp_path / "digests.json"
    whole = Digests(memory)
    code = whole.code("temper.engine.storage.store")
    whole.save_cache()
    memory.write_text(change(memory.read_text(encoding="utf-8")), encoding="utf-8")
    again = Digests(memory)
    assert again.code("temper.engine.storage.store") == code
    again.save_cache()
    assert json.loads(memory.read_text(encoding="utf-8"))["known"]


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("gone")]
)
def test_special_files_are_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Reading the folder may fail because of it, so its removal must change the digest."""
    (folder := tmp_path / "folder").mkdir()
    (folder / "cat.png").write_bytes(b"1")
    before = Digests(tmp_path / "memory").content(folder)
    make(folder / "dog.png")
    assert Digests(tmp_path / "memory").content(folder) != before
    (folder / "dog.png").unlink()
    assert Digests(tmp_path / "memory").content(folder) == before


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    """Folders of image classes are often links; a link to a parent folder is not followed."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    for place in (elsewhere, folder):
        place.mkdir()
    (elsewhere / "cat.png").write_bytes(b"1")
    (folder / "cats").symlink_to(elsewhere)
    (folder / "loop").symlink_to(folder)
    before = Digests(tmp_path / "memory").content(folder)
    (elsewhere / "cat.png").write_bytes(b"22")
    assert Digests(tmp_path / "memory").content(folder) != before
