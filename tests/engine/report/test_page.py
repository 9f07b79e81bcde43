"""The page: self-contained, well-formed, escaped and complete."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from temper.core.report_spec import ReportedExperiment
from temper.engine.results.report_files import write_report
from tests.engine.report.demo import BY_EPS, TABLE, demo_expected, demo_experiment, demo_holes, demo_rows, into

VOID = {"meta", "img", "br", "rect", "line", "circle"}


class Reader(HTMLParser):
    """Collects text and addresses, and fails on a tag closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def written(folder: Path, experiment: ReportedExperiment, **changes: Any) -> tuple[str, Reader]:
    parts: dict[str, Any] = {
        "results": demo_rows(),
        "holes": demo_holes(),
        "tables": [TABLE, BY_EPS],
        "expected": demo_expected(),
    }
    write_report(into(folder), experiment, **(parts | changes))
    html = (folder / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return html, reader


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Reader]:
    return written(tmp_path_factory.mktemp("page"), demo_experiment())


def test_page_needs_neither_other_files_nor_the_network(demo: tuple[str, Reader]) -> None:
    html, reader = demo
    outside = [a for a in reader.addresses if not a.startswith(("data:image/png;base64,", "#"))]
    assert outside == []
    assert not re.search(r"https?://|@import|url\(|<script|<link", html)


def test_every_link_has_its_anchor(demo: tuple[str, Reader]) -> None:
    _, reader = demo
    anchors = [a[1:] for a in reader.addresses if a.startswith("#")]
    assert len(anchors) == 8
    assert set(anchors) <= set(reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)


@pytest.mark.parametrize(
    "words",
    [
        "3 of 5 cells reproduced",
        "52 of 54 table cells measured",
        "accuracy rises from 93.01% at eps 0.2",
        "Mean ± sample standard deviation over 3 seeds (1, 2, 3).",
        "92.17 ± 0.21",
        "91.62 ± 0.11 (2 of 3 seeds)",
        "failed: out of memory at 14.2 GB (pgd_robust dgn_susp 0.3).",
        "lower batch_size, or give the worker more memory",
        "packages.keras 3.15.1",
        "pgd.test 2 pgd 452 20,000 2,048",
        "store: 21 entries",
        "axes: eps: [0.1, 0.2, 0.3]",
        "pgd, eps 0.1",
    ],
)
def test_page_contains(demo: tuple[str, Reader], words: str) -> None:
    assert words in demo[1].text


def test_page_shows_every_figure(demo: tuple[str, Reader]) -> None:
    assert sum(a.startswith("data:") for a in demo[1].addresses) == 5


def test_names_from_the_file_are_escaped(tmp_path: Path) -> None:
    experiment = demo_experiment(name="<script>alert(1)</script>", resolved="</pre><b>")
    html, reader = written(tmp_path, experiment)
    assert "<script" not in html
    assert "<script>alert(1)</script>" in reader.text


def test_experiment_with_only_a_name(tmp_path: Path) -> None:
    _, reader = written(tmp_path, ReportedExperiment(name="bare"), results=(), holes=(), tables=(), expected=())
    assert reader.ids == []
    assert "no failures" in reader.text
    assert "no warnings" in reader.text


def test_smoke_runs_are_marked(tmp_path: Path, demo: tuple[str, Reader]) -> None:
    _, reader = written(tmp_path, demo_experiment(smoke=True))
    assert "Smoke run on tiny data" in reader.text
    assert "Smoke run" not in demo[1].text
