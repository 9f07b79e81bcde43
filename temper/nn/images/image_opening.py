"""Opens image files of others: by their content, one of few formats, within limits, whatever their name says."""

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
"""As Pillow calls them. It knows some that start other programs (EPS) or open other files; these are never tried."""
MAX_PIXELS = 2**26
"""Largest height times width: 8192 x 8192."""
MAX_BYTES = 2**28
"""Largest file."""


@contextmanager
def open_image(
    path: Path, what: str = "image", remedy: str = "replace or remove it", formats: tuple[Format, ...] = FORMATS
) -> Iterator[Image]:
    """Open an image file; what goes wrong while its pixels are read within the block is told in the same way.

    Args:
        path: where it is.
        what: what messages call it.
        remedy: what messages advise where it is damaged.
        formats: what its content may be.

    Raises:
        StageError: it is no regular file, of another format, too large or damaged.
    """
    from PIL import Image, UnidentifiedImageError

    with opened(path, MAX_BYTES) as stream:
        try:
            with Image.open(stream, formats=formats) as image:
                fault = size_fault(image.height, image.width)
                if fault:
                    raise StageError(f"{path}: {fault}; scale the {what} down")
                yield image
        except (StageError, MemoryError):
            raise
        except UnidentifiedImageError:
            raise StageError(
                f"{path}: the {what} is damaged (or its content is none of {', '.join(formats)}, whatever its name says); "
                f"{remedy}"
            ) from None
        except Image.DecompressionBombError:
            raise StageError(f"{path}: expected at most {MAX_PIXELS:,} pixels; scale the {what} down") from None
        except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
            raise StageError(
                f"{path}: the {what} is damaged ({str(error) or type(error).__name__}); {remedy}"
            ) from error


def size_fault(height: int, width: int) -> str:
    """Return what is wrong with the size of an image in pixels; empty where nothing is."""
    if height < 1 or width < 1:
        return f"expected at least 1 x 1 pixels, received {height} x {width}"
    if height * width > MAX_PIXELS:
        return f"expected at most {MAX_PIXELS:,} pixels, received {height} x {width}"
    return ""
