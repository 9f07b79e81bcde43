"""Each experiment that comes with Temper ends with 0 as a smoke run, fills its tables, and marks all that it writes.

The experiments on digits need no files. COCO and grape leaves are made up where the shared data are missing; the other
experiments skip there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

from temper.engine.command_line.main import main
from tests.conftest import SHARED
from tests.test_experiments import FILES, ids

SETS = ("mnist", "fashion_mnist", "cifar10", "gtsrb", "intel", "camvid", "svhn", "coco", "grape")
ANIMALS = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
LEAVES = ("Black_rot", "Esca", "Healthy", "Leaf_blight")
PARTS_OF_A_SUBSET = dict.fromkeys(
    ("guided_retraining_cifar10", "guided_retraining_gtsrb"), "datasets.data.resplit=[2000, 300, 300]"
)
"""Parts to ask for where the shared data hold fewer images than the experiment draws its parts from."""
BOX = (16, 16, 56, 56)
"""Left, top, right and bottom of each object that is made up."""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def unpacked(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all data sets, as their makers lay them out."""
    folder = tmp_path_factory.mktemp("data")
    subprocess.run([sys.executable, str(shared / "data" / "unpack.py"), str(folder), *SETS], check=True)
    return folder


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of data sets that are drawn in the layout of the real ones."""
    folder = tmp_path_factory.mktemp("made_up")
    draw_coco(folder / "coco")
    draw_grape(folder / "grape" / "train")
    return folder


def photograph(label: int, number: int) -> Image.Image:
    """An ellipse of its class's colour on a dull ground, 72 x 72."""
    rng = np.random.default_rng([label, number])
    image = Image.fromarray(rng.integers(90, 110, (72, 72, 3), np.uint8))
    ImageDraw.Draw(image).ellipse(BOX, fill=((label * 83) % 256, (label * 157) % 256, 200))
    return image


def draw_coco(root: Path) -> None:
    """Draw twenty-four photographs of each animal, eight of them in the test part, with a polygon each."""
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


def draw_grape(root: Path) -> None:
    """Draw fifty leaves of each kind."""
    for label, name in enumerate(LEAVES):
        (root / name).mkdir(parents=True)
        for number in range(50):
            photograph(label, number).save(root / name / f"{number}.png")


def needs_files(path: Path) -> bool:
    return "digits" not in path.stem and path.stem != "quickstart"


def can_be_drawn(path: Path) -> bool:
    return path.stem.endswith(("_coco", "_grape"))


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.shared if needs_files(path) and not can_be_drawn(path) else ())
        for path in FILES
        if path.parent.name == "experiments"
    ],
    ids=ids,
)
def test_it_ends_well_and_all_is_marked(
    path: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--smoke", "--outputs", str(tmp_path)]
    if needs_files(path):
        drawn = can_be_drawn(path) and not SHARED.is_dir()
        data = request.getfixturevalue("made_up" if drawn else "unpacked")
        monkeypatch.setenv("TEMPER_DATA", str(data))
        monkeypatch.setenv("DRFUZZ_MODELS", str(SHARED / "models" / "drfuzz"))
        if path.stem.endswith("_grape"):
            options += ["--set", f"datasets.leaves.root={data / 'grape' / 'train'}"]
    if path.stem in PARTS_OF_A_SUBSET:
        options += ["--set", PARTS_OF_A_SUBSET[path.stem]]
    assert main([str(path), *options]) == 0
    (results,) = tmp_path.glob("*.smoke")
    tables = sorted(results.glob("*.tex"))
    assert tables
    for file in [*tables, *(table.with_suffix(".csv") for table in tables)]:
        assert "SMOKE RUN" in file.read_text(encoding="utf-8"), file.name
    assert "Smoke run" in (results / "report.html").read_text(encoding="utf-8")
    resolved = yaml.safe_load((results / "experiment.resolved.yaml").read_text(encoding="utf-8"))["tables"]
    for table in tables:
        text = table.with_suffix(".csv").read_text(encoding="utf-8")
        assert "pending" not in text, table.stem
        figure = resolved[table.stem]["figure"]
        # A table of several metrics has no heat map, and what could not be measured has no figure.
        if figure not in (None, "heatmap") and "skipped: " not in text:
            assert (results / "figures" / f"{table.stem}_{figure}.png").is_file(), table.stem
