"""Files are replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from core.files import beside, replace_file


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
    assert beside(Path("a/b.csv")) != beside(Path("a/b.csv"))
    assert beside(Path("a/b.csv")).parent == Path("a")
