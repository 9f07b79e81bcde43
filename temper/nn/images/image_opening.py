"""Opens untrusted image files: by content, not by name, in a few formats and within size limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from temper.core.errors import StageError
from temper.system.files import opened

if TYPE_CHECKING:
    from PIL.Image import Image

Format = Literal["PNG", "JPEG", "BMP", "PPM", "WEBP"]
FORMATS: tuple[Format, ...] = ("PNG", "JPEG", "BMP", "PPM", "WEBP")
"""Pillow's names of formats. Those that start other programs (EPS) or open other files are never tried."""
MAX_PIXELS = 2**26
"""Largest height times width: 8192 x 8192."""
MAX_BYTES = 2**28
"""Largest file."""


@contextmanager
def open_image(
    path: Path, what: str = "image", remedy: str = "replace or remove it", formats: tuple[Format, ...] = FORMATS
) -> Iterator[Image]:
    """Open an image file; errors while its pixels are read within the block are reported the same way.

    Args:
        path: the file.
        what: its name in messages.
        remedy: the advice in messages if it is corrupted.
        formats: the formats its content may have.

    Raises:
        StageError: it is not a regular file, has another format, is too large or corrupted.
    """
    from PIL import Image, UnidentifiedImageError

    with opened(path, MAX_BYTES) as stream:
        try:
            with Image.open(stream, formats=formats) as image:
                problem = size_problem(image.height, image.width)
                if problem:
                    raise StageError(f"{path}: {problem}; scale the {what} down")
                yield image
        except (StageError, MemoryError):
            raise
        except UnidentifiedImageError:
            raise StageError(
                f"{path}: the {what} is corrupted (or its content is not {', '.join(formats)}, whatever its name); "
                f"{remedy}"
            ) from None
        except Image.DecompressionBombError:
            raise StageError(f"{path}: expected at most {MAX_PIXELS:,} pixels; scale the {what} down") from None
        except Exception as error:  # Pillow's decoders raise all kinds of errors on a corrupted file
            raise StageError(
                f"{path}: the {what} is corrupted ({str(error) or type(error).__name__}); {remedy}"
            ) from error


def size_problem(height: int, width: int) -> str:
    """Return what is wrong with the size of an image in pixels; empty if nothing is."""
    if height < 1 or width < 1:
        return f"expected at least 1 x 1 pixels, received {height} x {width}"
    if height * width > MAX_PIXELS:
        return f"expected at most {MAX_PIXELS:,} pixels, received {height} x {width}"
    return ""
