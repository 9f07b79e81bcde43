"""Reads messages of Protocol Buffers by the numbers of their fields, without the code that their definitions generate."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(message: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the value of each field of a message: a whole number, or bytes (texts and inner messages).

    Raises:
        ValueError: the message is cut short, or has a field of another kind.

    Source: Protocol Buffers, "Encoding".
    """
    view, at = memoryview(message), 0
    while at < len(view):
        key, at = _varint(view, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(view, at)
            yield number, value
            continue
        length, at = _varint(view, at) if kind == _BYTES else ({_FIXED64: 8, _FIXED32: 4}.get(kind, -1), at)
        if length < 0 or at + length > len(view):
            raise ValueError(f"expected a message of Protocol Buffers, received something else at byte {at}")
        yield number, view[at : at + length]
        at += length


def inner(message: bytes | memoryview, *path: int) -> Iterator[memoryview]:
    """Yield the bytes of all fields that a path of numbers leads to, of repeated fields and split messages each.

    Raises:
        ValueError: see ``fields``.
    """
    for number, value in fields(message):
        if number == path[0] and isinstance(value, memoryview):
            if len(path) == 1:
                yield value
            else:
                yield from inner(value, *path[1:])


def text(message: bytes | memoryview, *path: int) -> str:
    """Return the last text that a path leads to; empty if there is none."""
    return next((bytes(value).decode("utf-8", "replace") for value in reversed(list(inner(message, *path)))), "")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(view) and shift < 70:
        byte = view[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value & (2**64 - 1), at
    raise ValueError(f"expected a message of Protocol Buffers, received something else at byte {at}")
