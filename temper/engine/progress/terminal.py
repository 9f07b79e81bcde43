"""Terminal output: no control characters from users' files, and a lost stream never ends a run."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PLAIN = str.maketrans({"→": "->", "±": "+/-", "–": "-", "…": "...", "≥": ">=", "≤": "<=", "∞": "inf"})
_READER_GONE = (errno.EPIPE, errno.EIO)
"""Errors of writing to a pipe whose reader has gone, or to a closed terminal."""


def escaped(text: str) -> str:
    r"""Return a text with terminal control characters escaped: an escape character as ``\x1b``."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Stream:
    """A standard stream that accepts any text; ``lost`` is the reason why output was lost, if it was.

    Output to a closed stream, or to a pipe whose reader has gone, does not count as lost.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        self.lost = ""
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write text; characters that its encoding lacks are written as ASCII substitutes or escapes."""
        if not self._has(text):
            text = text.translate(_PLAIN).encode(self.encoding, "backslashreplace").decode(self.encoding)
        self._try(lambda stream: stream.write(text))
        return len(text)

    def write_path_bytes(self, text: str) -> None:
        """Write text with the exact bytes of the file names in it, whatever the stream's encoding."""

        def write(stream: Any) -> None:
            stream.flush()
            stream.buffer.write(os.fsencode(text))

        self._try(write)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise OSError(errno.EBADF, "the stream is closed")
        return self._stream.fileno()

    def _has(self, text: str) -> bool:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def _try(self, operation: Any) -> None:
        if self._stream is None:
            return
        try:
            operation(self._stream)
        except (OSError, ValueError) as error:  # ValueError: it was closed
            if isinstance(error, OSError) and error.errno not in _READER_GONE:
                self.lost = str(error.strerror)
            self._disconnect(self._stream)

    def _disconnect(self, stream: IO[str]) -> None:
        self._stream = None
        # The interpreter flushes the stream's buffer at exit, which would fail without a valid descriptor.
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


class Terminal(Console):
    """A console that shows text literally: no markup, and control characters escaped."""

    def __init__(self, stream: Stream, **options: Any) -> None:
        super().__init__(file=stream, markup=False, highlight=False, emoji=False, **options)  # type: ignore[arg-type]
        self.stream = stream

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escaped(text), **options)  # escaped before its width is measured

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escaped(segment.text))


class Parser(argparse.ArgumentParser):
    """A command-line parser that escapes control characters in its messages and accepts no abbreviated options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def _print_message(self, message: str, file: Any = None) -> None:
        stream = Stream(file or sys.stderr)
        stream.write(escaped(message))
        stream.flush()


def occupy_closed_streams() -> None:
    """Open the null device for each closed standard stream: no other file may get its descriptor and its output."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
