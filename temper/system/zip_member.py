"""Why a member of a foreign zip archive must not be unpacked."""

from __future__ import annotations

import zipfile

_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods whose unpacking can be limited; for bzip2 and LZMA Python unpacks all it has read, however large."""


def member_problem(info: zipfile.ZipInfo) -> str:
    """Return why a member is not unpacked; empty if it is accepted."""
    if info.flag_bits & _ENCRYPTED:
        return f"{info.filename[:80]!r} is encrypted"
    if info.compress_type not in _METHODS:
        return (
            f"{info.filename[:80]!r} is compressed by method {info.compress_type}, expected stored or deflated members"
        )
    return ""
