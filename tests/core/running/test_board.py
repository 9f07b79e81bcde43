"""What is told of a run: what is under way where, what is left and until when, in a bounded number of lines."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from core.running import progress
from core.running.board import Board
from core.running.graph import Graph, Work
from core.running.live import drawn, summary
from core.running.progress import Progress

TEXT = """
name: many
seeds: [1, 2, 3, 4, 5, 6, 7, 8]
datasets: {grey: {type: plain}}
generate:
  one: {type: shift, data: grey, noise: {type: drawn}}
  two: {type: walk, data: one}
"""


class Clock:
    """A clock that is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def works(graph: Callable[..., Graph]) -> list[Work]:
    return list(graph(TEXT).works.values())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(works: list[Work], clock: Clock) -> Board:
    board = Board(clock)
    board.begin(works, {}, workers=4)
    return board


def of(works: list[Work], stage: str) -> list[Work]:
    return [work for work in works if work.stage == stage]


def begin(board: Board, works: list[Work]) -> None:
    for number, work in enumerate(works):
        board.start(work)
        board.began(work.fingerprint, f"n{number}:1")


def test_works_under_way_are_told_oldest_first_and_no_more_than_asked(
    board: Board, works: list[Work], clock: Clock
) -> None:
    ones = of(works, "one")
    board.start(ones[7])  # handed over, and not yet on a worker
    for number, work in enumerate(ones[:7]):
        clock.now += 1
        board.start(work)
        board.began(work.fingerprint, f"n{number}:1")
    sight = board.sight(3)
    assert [row.where for row in sight.rows] == ["n0:1", "n1:1", "n2:1"]
    assert [row.passed(clock.now) for row in sight.rows] == [6, 5, 4]
    assert (sight.hidden, sight.running, sight.workers, sight.total, sight.waiting) == (5, 7, 7, 17, 10)
    assert board.sight(20).rows[-1].where == ""


def test_a_row_counts_from_where_it_went_on(board: Board, works: list[Work], clock: Clock) -> None:
    work = works[-1]
    begin(board, [work])
    board.report(work.fingerprint, 60, 100, "steps")
    clock.now += 10
    (row,) = board.sight(1).rows
    assert row.left(clock.now) is None
    board.report(work.fingerprint, 80, 100, "steps")
    (row,) = board.sight(1).rows
    assert row.left(clock.now) == 10
    assert (row.done, row.total, row.unit) == (80, 100, "steps")


def test_what_is_left_is_told_by_what_was_seen_of_the_same_type(board: Board, works: list[Work], clock: Clock) -> None:
    grey, ones, twos = of(works, "grey"), of(works, "one"), of(works, "two")
    assert board.left() is None
    begin(board, grey)
    clock.now += 2
    assert board.end(grey[0]) == 2
    assert board.left() is None  # of the sixteen others nothing is known
    begin(board, ones[:2])
    clock.now += 6
    board.end(ones[0])
    board.end(ones[1])
    assert board.left() is None
    begin(board, twos[:2])
    clock.now += 3
    board.end(twos[0])
    # Six of six seconds, six of three, and one that has had its three seconds and gets a fifth of them more.
    assert board.left() == pytest.approx(6 * 6 + 6 * 3 + 0.2 * 3)


def test_what_is_left_takes_no_less_than_the_longest_work(board: Board, works: list[Work], clock: Clock) -> None:
    for work in works[:-1]:
        begin(board, [work])
        board.end(work)
    begin(board, works[-1:])
    board.report(works[-1].fingerprint, 1, 101, "steps")
    clock.now += 5
    board.report(works[-1].fingerprint, 2, 101, "steps")
    assert board.left() == 5 * 99


def test_estimates_of_earlier_runs_come_first(works: list[Work], clock: Clock) -> None:
    board = Board(clock)
    board.begin(works, {work.fingerprint: 4.0 for work in works}, workers=2)
    assert board.left() == 17 * 4 / 2


def test_a_failure_ends_and_an_interruption_does_not(board: Board, works: list[Work]) -> None:
    begin(board, works[:2])
    board.end(works[0], failed=True)
    board.stop(works[1])
    sight = board.sight(5)
    assert (sight.ended, sight.failed, sight.running, sight.waiting) == (1, 1, 0, 16)
    board.add(works[0])
    assert (board.total, board.sight(5).waiting) == (18, 17)
    board.add(works[0])
    assert board.total == 18


def test_what_comes_late_of_a_worker_does_no_harm(board: Board, works: list[Work]) -> None:
    assert board.began(works[0].fingerprint, "n1:1") is None
    board.report(works[0].fingerprint, 1, 2, "steps")
    assert board.sight(5).rows == ()


def text(board: Board, clock: Clock, most: int) -> list[str]:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    console.print(drawn(board.sight(most), clock.now))
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


def test_a_terminal_shows_a_line_for_each_worker_and_one_for_the_whole(
    board: Board, works: list[Work], clock: Clock
) -> None:
    begin(board, of(works, "one")[:6])
    clock.now += 65
    board.report(of(works, "one")[0].fingerprint, 5, 6, "images")
    lines = text(board, clock, 3)
    assert len(lines) == 5
    assert lines[0].split()[:2] == ["n0:1", "one.test"]
    assert "5/6 images" in lines[0]
    assert "1 min 05 s" in lines[0]
    assert lines[3].strip() == "and 3 more"
    assert "0 of 17 done, 6 under way on 6 workers, 11 waiting" in lines[4]


def test_a_summary_says_when_it_will_be_done(works: list[Work], clock: Clock) -> None:
    board = Board(clock)
    board.begin(works, {work.fingerprint: 400.0 for work in works}, workers=1)
    assert ", about 1 h 53 min left, " in summary(board.sight(1))
    assert " at " in summary(board.sight(1))


def test_without_a_terminal_many_works_are_told_in_few_lines(
    works: list[Work], clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "Board", lambda: Board(clock))
    console = Console(file=io.StringIO(), width=200)
    with Progress(console, tmp_path / "log.txt") as told:
        told.begin(works, {}, 8)
        for number, work in enumerate(of(works, "one")):
            told.start(work)
            told.began(work.fingerprint, f"n{number}:1")
        for _ in range(50):
            clock.now += 1
            for work in of(works, "one"):
                told.report(work.fingerprint, int(clock.now - 1000), 100, "images")
            told.look()
    lines = str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 2 * (progress.LINES + 2)  # after 10 seconds, and after 20 more
    assert lines[-7].endswith("one.test seed=1 on n0:1: 30/100 images, for 30 s, about 1 min 10 s left")
    assert lines[-2].endswith("and 3 more")
    assert "0 of 17 done, 8 under way on 8 workers, 9 waiting" in lines[-1]


@pytest.fixture
def told(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Progress]:
    """What tells a stream without a terminal how a run goes; it looks when it is asked to."""
    monkeypatch.setattr(progress, "Board", lambda: Board(clock))
    monkeypatch.setattr(progress, "TICK", 1e6)
    with Progress(Console(file=io.StringIO(), width=200), tmp_path / "log.txt") as told:
        yield told


def moments(told: Progress, clock: Clock, seconds: int) -> list[int]:
    """Return after how many seconds something was said."""
    said, start, stream = [], clock.now, told._console.file
    for _ in range(seconds):
        clock.now += 1
        before = stream.getvalue()  # type: ignore[attr-defined]
        told.look()
        if stream.getvalue() != before:  # type: ignore[attr-defined]
            said.append(int(clock.now - start))
    return said


def test_a_stage_that_reports_nothing_is_told_of_all_the_same(told: Progress, works: list[Work], clock: Clock) -> None:
    told.begin(works, {}, 1)
    told.start(works[0])
    told.began(works[0].fingerprint, "here")
    assert moments(told, clock, 400) == [10, 30, 70, 130, 190, 250, 310, 370]
    assert "grey on here, for 6 min 10 s" in (told._console.file.getvalue())  # type: ignore[attr-defined]
    told.finish(works[0])
    told.start(works[1])
    told.began(works[1].fingerprint, "here")
    assert moments(told, clock, 35) == [10, 30]  # the next one is told of as soon


def test_one_that_begins_while_another_runs_is_told_of_soon(told: Progress, works: list[Work], clock: Clock) -> None:
    told.begin(works, {}, 2)
    for number, work in enumerate(works[:2]):
        told.start(work)
        told.began(work.fingerprint, f"n{number}")
        said = moments(told, clock, 75)
        assert said[0] <= 2 * progress.FIRST
        assert max(after - before for before, after in pairwise([0, *said])) <= progress.LONGEST


def test_works_that_no_worker_comes_for_are_told_of(told: Progress, works: list[Work], clock: Clock) -> None:
    told.begin(works, {}, 2)
    told.start(works[0])
    assert moments(told, clock, 35) == [10, 30]
    assert "0 of 17 done, 17 waiting" in told._console.file.getvalue()  # type: ignore[attr-defined]


def test_a_stage_that_holds_the_main_thread_is_told_of(
    works: list[Work], clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "Board", lambda: Board(clock))
    monkeypatch.setattr(progress, "TICK", 0.001)
    said = threading.Event()
    with Progress(Console(file=io.StringIO(), width=200), tmp_path / "log.txt") as told:
        monkeypatch.setattr(told, "say", lambda text: said.set())
        told.begin(works, {}, 1)
        told.start(works[0])
        told.began(works[0].fingerprint, "here")
        clock.now += 11
        assert said.wait(60)
