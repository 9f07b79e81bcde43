"""CamVid, on generated frames in its format and on real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from temper.core.errors import StageError
from temper.targets.datasets.camvid import REGIONS, CamVid
from tests.targets.datasets.support import produced, unpacked

SIGN, CAR, VOID = REGIONS.index("sign"), REGIONS.index("car"), len(REGIONS)


def frame(root: Path, part: str, name: str, *things: tuple[int, int, int, int, int], suffix: str = "_mask") -> None:
    """Write a frame of things (region, left, top, width, height); red says column, green row, blue the frame."""
    for folder in ("images", "masks"):
        (root / part / folder).mkdir(parents=True, exist_ok=True)
    pixels, mask = np.zeros((48, 64, 3), np.uint8), np.full((48, 64), VOID, np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(64), np.arange(48)[:, None]
    pixels[..., 2] = int(name.rpartition("_")[2])
    for region, left, top, width, height in things:
        mask[top : top + height, left : left + width] = region
    Image.fromarray(pixels).save(root / part / "images" / f"{name}.png")
    Image.fromarray(mask).save(root / part / "masks" / f"{name}{suffix}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    frame(tmp_path, "train", "A_001", (CAR, 4, 4, 20, 10), (CAR, 40, 20, 16, 16), (SIGN, 40, 4, 8, 16))
    frame(tmp_path, "train", "A_002", (CAR, 0, 0, 15, 15), (REGIONS.index("sky"), 20, 0, 40, 20))
    frame(tmp_path, "train", "B_003", (SIGN, 10, 10, 4, 16))
    frame(tmp_path, "test", "A_004", (CAR, 4, 4, 20, 10), (SIGN, 40, 4, 16, 16), suffix="")
    return tmp_path


def camvid(root: Path, **fields: Any) -> CamVid:
    return CamVid(root=str(root), categories=("sign", "car"), **({"resize": 16, "margin": 0.0} | fields))


def test_each_region_that_is_large_enough_is_an_object(root: Path) -> None:
    data = produced(camvid(root))
    assert not list(camvid(root).check())
    assert data.train.y.tolist() == [0, 1, 1, 0]
    assert np.rint(data.train.x[:, 0, 0, 2] * 255).tolist() == [1, 1, 1, 3]
    assert data.test.y.tolist() == [0, 1]


def test_a_crop_has_the_mask_of_its_own_region_only(root: Path) -> None:
    frame(root, "train", "A_001", (CAR, 4, 4, 20, 12), (CAR, 30, 4, 2, 2), (SIGN, 8, 16, 16, 2))
    data = produced(camvid(root, resize=20, classes=(1,)))
    assert data.train.masks is not None
    crop = np.rint(data.train.x[0] * 255).astype(int)
    np.testing.assert_array_equal(crop[0, :, 0], np.arange(4, 24))
    np.testing.assert_array_equal(crop[:, 0, 1], np.arange(0, 20))
    expected = np.zeros((20, 20), bool)
    expected[4:16] = True
    np.testing.assert_array_equal(data.train.masks[0], expected)


def test_neighbouring_frames_stay_in_one_part(tmp_path: Path) -> None:
    for number in range(120):
        frame(tmp_path, "train", f"A_{number:03d}", (CAR, 4, 4, 16, 16), (SIGN, 40, 4, 16, 16))
    frame(tmp_path, "test", "A_200", (CAR, 4, 4, 16, 16), (SIGN, 40, 4, 16, 16))
    data = produced(camvid(tmp_path, validation=0.25))
    for label in (0, 1):
        frames = np.rint(data.validation.x[data.validation.y == label, 0, 0, 2] * 255).astype(int)
        (stretch,) = set(frames // 30)
        assert len(frames) == 30, stretch


def test_missing_files_are_reported_before_anything_runs(root: Path) -> None:
    assert {field for field, _ in camvid(root, resize=None).check()} == {"resize"}
    ((field, message),) = camvid(root, test_folder="val").check()
    assert field == "test_folder"
    assert "contains no image" in message
    (root / "train" / "masks" / "A_002_mask.png").unlink()
    ((field, message),) = camvid(root).check()
    assert field == "train_folder"
    assert "A_002.png has no mask; expected" in message


def test_coloured_masks_are_rejected(root: Path) -> None:
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(root / "train" / "masks" / "A_001_mask.png")
    with pytest.raises(StageError, match="expected grey levels 0 to 11"):
        produced(camvid(root))
    Image.fromarray(np.full((48, 64), 12, np.uint8)).save(root / "train" / "masks" / "A_001_mask.png")
    with pytest.raises(StageError, match="up to 12"):
        produced(camvid(root))


@pytest.mark.shared
def test_the_real_frames_match_the_description() -> None:
    data = produced(CamVid(root=str(unpacked("camvid")), resize=32))
    assert [np.bincount(part.y).tolist() for part in (data.train, data.test)] == [
        [200, 568, 230, 91],
        [113, 153, 162, 28],
    ]
    assert data.train.masks is not None
    share = data.train.masks.mean(axis=(1, 2))
    assert share.min() > 0.01
    assert 0.15 < share.mean() < 0.7
