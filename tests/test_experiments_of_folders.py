"""The experiments on folders of images, which do not come with Temper: each runs in small on folders made up in their layout."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from core.cli import main
from tests.conftest import ROOT

ANIMALS = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
LEAVES = ("Black_rot", "Esca", "Healthy", "Leaf_blight")
FUZZERS = {"random", "knw", "rn", "semocc", "rinp", "knwinp"}
BOX = (16, 16, 56, 56)
"""Left, top, right and bottom of each object."""

pytestmark = pytest.mark.long


def photograph(label: int, number: int) -> Image.Image:
    """An ellipse of its class's colour on a dull ground, 72 x 72."""
    rng = np.random.default_rng([label, number])
    image = Image.fromarray(rng.integers(90, 110, (72, 72, 3), np.uint8))
    ImageDraw.Draw(image).ellipse(BOX, fill=((label * 83) % 256, (label * 157) % 256, 200))
    return image


def coco(root: Path) -> None:
    """Twenty-four photographs of each animal, eight of them in the test part, with a polygon each."""
    left, top, right, bottom = BOX
    for part, numbers in (("train2017", range(16)), ("val2017", range(16, 24))):
        (root / part).mkdir(parents=True)
        images, annotations = [], []
        for label in range(len(ANIMALS)):
            for number in numbers:
                name = f"{label * 100 + number:012d}.png"
                photograph(label, number).save(root / part / name)
                images.append({"id": len(images), "file_name": name, "height": 72, "width": 72})
                annotations.append({
                    "image_id": images[-1]["id"], "category_id": label + 1, "iscrowd": 0, "area": 1600,
                    "bbox": [left, top, right - left, bottom - top],
                    "segmentation": [[left, 36, 36, top, right, 36, 36, bottom]],
                })  # fmt: skip
        kinds = [{"id": label + 1, "name": name} for label, name in enumerate(ANIMALS)]
        (root / "annotations").mkdir(exist_ok=True)
        document = {"images": images, "annotations": annotations, "categories": kinds}
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(document))


def grape(root: Path) -> None:
    """Fifty leaves of each kind."""
    for label, name in enumerate(LEAVES):
        (root / name).mkdir(parents=True)
        for number in range(50):
            photograph(label, number).save(root / name / f"{number}.png")


@pytest.mark.parametrize(
    ("name", "lay_out", "stage", "settings"),
    [
        ("coco", coco, "objects", ["--set", "targets.original.width=0.1", "--set", "targets.judge.width=0.1"]),
        # Hardly trained, the leaf network has no unit that carries knowledge as the most active one of any image.
        (
            "grape",
            grape,
            "leaves",
            ["--set", "datasets.leaves.resize=88"]
            + [word for fuzzer in ("knw", "knwinp") for word in ("--set", f"generate.{fuzzer}.seeds={{type: random}}")],
        ),
    ],
)
def test_generative_repair_goes_all_the_way(
    name: str, lay_out: Callable[[Path], None], stage: str, settings: list[str], tmp_path: Path
) -> None:
    lay_out(tmp_path / name)
    file = ROOT / "experiments" / f"generative_repair_{name}.yaml"
    place = ["--set", f"datasets.{stage}.root={tmp_path / name}"]
    for fuzzer in ("rinp", "knwinp"):
        place += ["--set", f"generate.{fuzzer}.augmenter.backend.channels=[8,16]"]
    few = ["--smoke", "--only", "found,real,own,tasks", "--outputs", str(tmp_path / "outputs")]
    assert main([str(file), *few, *place, *settings]) == 0
    made = tmp_path / "outputs" / f"generative-repair-{name}.smoke"
    with (made / "before_after.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if row[0] in FUZZERS]
    assert {row[0] for row in rows} == FUZZERS
    assert not [row for row in rows if "pending" in row]
    assert (made / "figures" / "radar_radar.png").is_file()
