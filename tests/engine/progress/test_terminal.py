"""Terminal output: no traceback for lost streams, no control characters, no markup."""

from __future__ import annotations

import errno
import io
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from temper.engine.progress.terminal import Stream, Terminal, escaped


class Broken(io.StringIO):
    """A stream that cannot be written to."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.tries = 0

    def write(self, text: str) -> int:
        self.tries += 1
        raise OSError(self.number, "it broke")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"), ("\x9b31m", r"\x9b31m"), ("a\rb", r"a\rb"), ("\x07\x08\x7f", r"\x07\x08\x7f"),
        ("\u202eevil", r"\u202eevil"), ("→ ± é\n\tx", "→ ± é\n\tx"), ("\\x1b", "\\x1b"),
    ],
)  # fmt: skip
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert escaped(escaped(text)) == shown


def table() -> Table:
    table = Table(box=None)
    table.add_column("a\x1b[0m")
    table.add_row("[red]\x1b[31m")
    return table


@pytest.mark.parametrize("shown", ["[red]\x1b[31m", Text("[red]\x1b[31m", style="bold"), table()])
@pytest.mark.parametrize("colours", [True, False])
def test_terminal_shows_markup_and_control_characters_literally(shown: Any, colours: bool) -> None:
    stream = io.StringIO()
    Terminal(Stream(stream), width=80, force_terminal=colours, color_system="standard" if colours else None).print(
        shown
    )
    assert r"[red]\x1b[31m" in stream.getvalue()
    assert "\x1b[31m" not in stream.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_characters_missing_from_an_encoding_are_substituted(encoding: str) -> None:
    data = io.BytesIO()
    with io.TextIOWrapper(data, encoding=encoding) as stream:
        terminal = Terminal(Stream(stream), width=80)
        terminal.print("0.1 → 0.2 中 \udcff")
        terminal.print("plain")
        assert data.getvalue() == b"0.1 -> 0.2 \\u4e2d \\udcff\nplain\n"


@pytest.mark.parametrize(("number", "lost"), [(errno.EPIPE, ""), (errno.EIO, ""), (errno.ENOSPC, "it broke")])
def test_broken_stream_is_disconnected_once(number: int, lost: str) -> None:
    broken = Broken(number)
    stream = Stream(broken)
    terminal = Terminal(stream, width=80)
    for _ in range(3):
        terminal.print("x")
        stream.flush()
    assert broken.tries == 1
    assert stream.lost == lost


def test_closed_stream_accepts_everything() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (Stream(None), Stream(closed)):
        Terminal(stream, width=80).print("x")
        stream.flush()
        assert stream.lost == ""
    assert not Stream(None).isatty()
