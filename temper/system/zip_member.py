"""What is wrong with a member of a zip archive of others before it is unpacked."""

from __future__ import annotations

import zipfile

_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those whose unpacking stops where it is told to; of bzip2 and LZMA Python unpacks all it has read, whatever that takes."""


def member_fault(info: zipfile.ZipInfo) -> str:
    """Return why a member is not unpacked; empty where nothing is wrong with it."""
    if info.flag_bits & _ENCRYPTED:
        return f"{info.filename[:80]!r} is encrypted"
    if info.compress_type not in _METHODS:
        return (
            f"{info.filename[:80]!r} is compressed by method {info.compress_type}, expected stored or deflated members"
        )
    return ""
