"""Files are replaced whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from temper.core.errors import StageError
from temper.system.files import (
    MULTIPLE,
    SPARE,
    kind_of,
    opened,
    read_bytes,
    regular,
    replace_file,
    temporary_name,
    unpacks_to_too_much,
    unusable,
)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("moment", ["replace", "write_bytes"])
def test_whatever_happens_while_writing_leaves_the_old_file(
    tmp_path: Path, moment: str, error: type[Exception]
) -> None:
    path = tmp_path / "folder" / "results.csv"
    replace_file(path, "old")
    with patch.object(Path, moment, side_effect=error), pytest.raises(error):
        replace_file(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(path.parent.iterdir()) == [path]
    replace_file(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_no_two_writers_use_one_name() -> None:
    assert temporary_name(Path("a/b.csv")) != temporary_name(Path("a/b.csv"))
    assert temporary_name(Path("a/b.csv")).parent == Path("a")


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    """A pipe would wait for a writer, a device never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in (("pipe", "a named pipe"), ("zero", "a device"), (".", "a folder")):
        with pytest.raises(StageError, match=f"expected a regular file, received {kind}"), opened(tmp_path / name):
            pass
    assert kind_of(tmp_path / "pipe") == "a named pipe"
    assert kind_of(tmp_path) == ""


def test_links_to_files_are_followed_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link", 5) == b"12345"
    with pytest.raises(StageError, match="link: the file has 5 bytes; expected at most 4"):
        read_bytes(tmp_path / "link", 4)


@pytest.mark.parametrize("name", ["missing", "nul\0", "x" * 300])
def test_what_is_not_there_is_an_error_with_its_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(StageError, match="cannot be read: "):
        regular(tmp_path / name)


def test_a_file_may_unpack_to_a_multiple_of_its_size() -> None:
    assert unpacks_to_too_much(1000, MULTIPLE * 1000 + SPARE) == ""
    assert "1,000 bytes unpack to" in unpacks_to_too_much(1000, MULTIPLE * 1000 + SPARE + 1)


def test_what_is_wrong_with_a_place_is_said_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    actions: list[tuple[Callable[[], object], str]] = [
        (lambda: replace_file(tmp_path / "folder", "text"), "folder: Is a directory; a file is expected here"),
        (lambda: (tmp_path / "file").mkdir(), "file: File exists; a folder is expected here"),
        (lambda: replace_file(tmp_path / "file" / "x", "text"), "file: File exists; a folder is expected here"),
        (lambda: (tmp_path / ("x" * 300)).mkdir(), "x: File name too long; give a shorter one"),
        (lambda: (tmp_path / "none" / "x").mkdir(), "none/x: No such file or directory; make it readable"),
    ]
    for act, said in actions:
        with pytest.raises(OSError, match=r"\[Errno") as raised:
            act()
        assert said in str(unusable(raised.value))
        assert ".tmp" not in str(unusable(raised.value))
    assert "ulimit -f" in str(unusable(OSError(errno.EFBIG, "File too large")))
    assert unusable(ValueError("x")) is None
