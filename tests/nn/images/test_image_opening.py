"""Image files are recognised by content, within size limits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from temper.core.errors import StageError
from temper.nn.images import image_opening
from temper.nn.images.image_opening import MAX_PIXELS, open_image

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"


def saved(path: Path, kind: str, size: tuple[int, int] = (4, 4)) -> Path:
    Image.new("RGB", size, (10, 20, 30)).save(path, kind)
    return path


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "PPM", "WEBP"])
def test_the_content_determines_the_format_not_the_name(tmp_path: Path, kind: str) -> None:
    with open_image(saved(tmp_path / "cat.png", kind)) as image:
        assert np.asarray(image.convert("RGB")).shape == (4, 4, 3)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "ICO", "PDF", "TGA", "SGI", "JPEG2000", "DDS"])
def test_other_formats_are_rejected_under_a_known_extension(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path / "cat.png", kind)
    with pytest.raises(StageError, match=r"cat.png: the image .*its content is not PNG, JPEG"), open_image(path):
        pass


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cat.png").write_bytes(EPS)
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(StageError, match="not PNG"), open_image(tmp_path / "cat.png") as image:
        image.load()


def test_a_mask_may_be_restricted_to_one_format(tmp_path: Path) -> None:
    path = saved(tmp_path / "1.png", "JPEG")
    with pytest.raises(StageError, match=r"the mask .*not PNG, whatever"), open_image(path, "mask", "x", ("PNG",)):
        pass


def test_a_decompression_bomb_is_rejected_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (8193, 8192)).save(path)
    assert path.stat().st_size < MAX_PIXELS // 100
    with pytest.raises(StageError, match="at most 67,108,864 pixels, received 8192 x 8193"), open_image(path) as image:
        image.load()


def test_a_too_large_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_opening, "MAX_BYTES", 10)
    with pytest.raises(StageError, match="bytes; expected at most 10"), open_image(saved(tmp_path / "a.png", "PNG")):
        pass


def test_a_named_pipe_is_rejected_as_an_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with (
        pytest.raises(StageError, match="expected a regular file, received a named pipe"),
        open_image(tmp_path / "a.png"),
    ):
        pass


def test_errors_while_reading_pixels_name_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", "PNG", (64, 64))
    path.write_bytes(path.read_bytes()[:60])
    with (
        pytest.raises(StageError, match=r"a.png: the cut-out is corrupted \(.*\); redraw"),
        open_image(path, "cut-out", "redraw") as image,
    ):
        image.load()
