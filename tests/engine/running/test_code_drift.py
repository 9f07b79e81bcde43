"""Files and code that change during a run: no artefact is stored under the fingerprint of the old ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from temper.system.csv_files import Column, read

Run = Callable[..., tuple[int, str]]
Write = Callable[..., Path]
COMPONENT = '''
"""A component whose helper module and file change while it runs, as if somebody else edited them."""
from __future__ import annotations
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from temper.core.component import File
from temper.core.artefacts import Row
from temper.core.families import Evaluation
from temper.core.run import Run


@dataclass(frozen=True, kw_only=True)
class Drifting(Evaluation):
    """Drifting.

    Source: made up.
    """

    tag = "drifting"
    metrics = ("one",)
    framework = False

    path: Annotated[str, "what is measured", File()]
    edited: Annotated[str, "the file that is edited"]
    number: Annotated[int, "tells stages apart"] = 1

    def measure(self, run: Run) -> Iterable[Row]:
        if self.edited:
            Path(self.edited).write_text(Path(self.edited).read_text().replace("1", "2"), encoding="utf-8")
        from elsewhere_{folder} import ONE
        value = ONE + float(Path(self.path).read_text())
        yield Row(metric="one", value=value, n=1, unit="", higher_is_better=None)
'''
EXPERIMENT = """
name: drifting
datasets: {grey: {type: plain}}
evaluate:
  mine: {type: drifting, path: %s, edited: '%s'}
  other: {type: shade, examples: [grey]}
"""


@pytest.fixture
def user(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / f"user_{abs(hash(request.node.name))}"
    folder.mkdir()
    (folder / "mine.py").write_text(COMPONENT.replace("{folder}", folder.name), encoding="utf-8")
    (tmp_path / "helpers").mkdir()
    helper(folder).write_text("ONE = 1.0\n", encoding="utf-8")
    (tmp_path / "number.txt").write_text("1", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "helpers")])
    monkeypatch.setattr(
        sys, "dont_write_bytecode", True
    )  # bytecode is checked by size and second, which two edits may share
    yield folder
    forget(folder.name)


def helper(user: Path) -> Path:
    return user.parent / "helpers" / f"elsewhere_{user.name}.py"


def forget(text: str) -> None:
    """Simulate another process, in which these modules are not loaded."""
    for name in [name for name in sys.modules if text in name]:
        del sys.modules[name]


def values(tmp_path: Path) -> list[float]:
    table = read(
        tmp_path / "outputs" / "drifting" / "results.csv", {"metric": Column(), "value": Column("float", True)}
    )
    return [row["value"] for row in table.rows if row["metric"] == "one"]


@pytest.mark.parametrize(
    ("which", "reported"),
    [("helper", "changed after this run began"), ("number", "number.txt changed during this run")],
)
def test_artefact_of_changed_code_or_files_is_discarded(
    which: str, reported: str, user: Path, run: Run, write: Write, tmp_path: Path
) -> None:
    number = tmp_path / "number.txt"
    edited = helper(user) if which == "helper" else number
    code, out = run(write(EXPERIMENT % (number, edited)), "--components", str(user))
    assert code == 1
    assert reported in out
    assert "run the same command again" in out
    assert values(tmp_path) == []
    assert not any("mine" in path.read_text() for path in (tmp_path / "outputs" / ".store").glob("*/meta.json"))
    forget(helper(user).stem)
    assert run(write(EXPERIMENT % (number, edited)), "--components", str(user))[0] == 0, "there is nothing left to edit"
    assert values(tmp_path) == [3.0]


def test_other_stages_keep_their_artefacts(user: Path, run: Run, write: Write, tmp_path: Path) -> None:
    out = run(write(EXPERIMENT % (tmp_path / "number.txt", helper(user))), "--components", str(user))[1]
    assert "2 computed, 0 cached, 1 failed" in out


def test_loaded_code_may_change(user: Path, run: Run, write: Write, tmp_path: Path) -> None:
    """For the component's own module, the loaded code matches the fingerprint."""
    code, _ = run(write(EXPERIMENT % (tmp_path / "number.txt", user / "mine.py")), "--components", str(user))
    assert code == 0
    assert values(tmp_path) == [2.0]
