"""COCO, on generated files in its format."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as runs

from temper.core.errors import StageError
from temper.targets.datasets.coco import COCO
from temper.targets.datasets.coco_file import Object
from temper.targets.datasets.crops import FoundObject
from tests.targets.datasets.support import produced

KINDS = [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]


def polygon(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(image: int, kind: int, box: tuple[int, int, int, int], segmentation: Any = None, **more: Any) -> Any:
    left, top, width, height = box
    outline = polygon(left, top, left + width, top + height) if segmentation is None else segmentation
    return {
        "image_id": image,
        "category_id": kind,
        "bbox": list(box),
        "area": width * height,
        "iscrowd": 0,
        "segmentation": outline,
    } | more


def uncompressed(size: tuple[int, int], box: tuple[int, int, int, int]) -> dict[str, Any]:
    """Runs down the columns, as COCO counts them."""
    mask = np.zeros(size, np.uint8)
    mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = 1
    flat = mask.reshape(-1, order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    # The first run is of pixels that are not set.
    return {"size": list(size), "counts": [0] * int(flat[0]) + np.diff([0, *edges, flat.size]).tolist()}


def compressed(size: tuple[int, int], box: tuple[int, int, int, int]) -> dict[str, Any]:
    height, width = size
    encoded = runs.frPyObjects(uncompressed(size, box), height, width)
    return {"size": list(size), "counts": encoded["counts"].decode()}


SIZE = (60, 80)
BOXES = {1: (20, 10, 40, 30), 2: (0, 0, 36, 20), 5: (30, 20, 40, 40), 9: (10, 10, 36, 36)}


def lay_out(root: Path, name: str, annotations: list[Any], images: tuple[int, ...] = (1, 2, 5, 9)) -> None:
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / name).mkdir()
    listed = [{"id": i, "file_name": f"{i:012d}.png", "height": SIZE[0], "width": SIZE[1]} for i in images]
    document = {"images": listed, "annotations": annotations, "categories": KINDS}
    (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(document))
    for i in images:
        pixels = np.zeros((*SIZE, 3), np.uint8)
        pixels[..., 0], pixels[..., 1] = np.arange(80) * 3, np.arange(60)[:, None] * 4  # red says column, green row
        pixels[..., 2] = i
        Image.fromarray(pixels).save(root / name / f"{i:012d}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = [
        annotation(5, 18, BOXES[5], compressed(SIZE, BOXES[5])),
        annotation(1, 17, BOXES[1]),
        annotation(1, 18, (0, 0, 33, 33)),  # smaller than the cat
        annotation(2, 18, BOXES[2], uncompressed(SIZE, BOXES[2])),
        annotation(2, 3, (0, 0, 80, 60)),  # a car
        annotation(9, 17, BOXES[9]),
        annotation(9, 17, (0, 0, 80, 60), iscrowd=1),
        annotation(9, 17, (0, 0, 31, 31)),  # too small
    ]
    lay_out(tmp_path, "train2017", found)
    lay_out(tmp_path, "val2017", [annotation(2, 17, BOXES[2]), annotation(1, 18, BOXES[1])])
    return tmp_path


def pets(root: Path, **fields: Any) -> COCO:
    return COCO(root=str(root), categories=("dog", "cat"), **({"resize": 40, "margin": 0.0} | fields))


def test_the_largest_object_of_each_photograph_is_cut_out_in_the_order_of_the_photographs(root: Path) -> None:
    data = produced(pets(root))
    assert not list(pets(root).check())
    assert data.info.class_names == ("dog", "cat")
    assert data.train.y.tolist() == [1, 0, 0, 1]
    assert np.rint(data.train.x[:, 0, 0, 2] * 255).tolist() == [1, 2, 5, 9]
    assert data.test.y.tolist() == [0, 1]
    assert data.train.shape == (40, 40, 3)


def test_a_crop_is_the_square_around_the_box_with_the_objects_mask(root: Path) -> None:
    data = produced(pets(root))
    assert data.train.masks is not None
    # 40 wide and 30 high: the square is 5 to 45 high, 20 to 60 wide; it is not scaled.
    crop, mask = np.rint(data.train.x[0] * 255).astype(int), data.train.masks[0]
    np.testing.assert_array_equal(crop[..., 0], np.tile(np.arange(20, 60) * 3, (40, 1)))
    np.testing.assert_array_equal(crop[..., 1], np.tile(np.arange(5, 45) * 4, (40, 1)).T)
    expected = np.zeros((40, 40), bool)
    expected[5:35] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(("row", "number"), [(0, 1), (1, 2), (2, 5), (3, 9)])
def test_all_three_kinds_of_segmentation_are_read(root: Path, row: int, number: int) -> None:
    found = pets(root).objects("train")[row]
    left, top, width, height = BOXES[number]
    expected = np.zeros(SIZE, bool)
    expected[top : top + height, left : left + width] = True
    np.testing.assert_array_equal(found.outline(), expected)


def lines(box: tuple[int, int, int, int], margin: float, size: tuple[int, int] = SIZE) -> list[int]:
    rows, columns = FoundObject(Path("x"), 0, box, size, lambda: np.zeros(size, bool)).square(margin)
    return [rows[0], rows[-1] + 1, columns[0], columns[-1] + 1]


def test_a_square_has_its_margin_and_extends_outside_only_if_necessary() -> None:
    assert lines((30, 20, 20, 10), margin=0.1) == [13, 37, 28, 52]
    assert lines((0, 0, 20, 10), margin=0.1) == [0, 24, 0, 24]
    assert lines((60, 50, 20, 10), margin=0.1) == [36, 60, 56, 80]
    assert lines((0, 10, 70, 40), margin=0) == [-5, 65, 0, 70]  # 70 is more than the 60 rows there are


def test_outside_the_photograph_the_edge_is_repeated_and_the_mask_is_empty(tmp_path: Path) -> None:
    for name in ("train2017", "val2017"):
        lay_out(tmp_path, name, [annotation(1, 17, (0, 10, 70, 50)), annotation(2, 18, BOXES[2])])
    data = produced(pets(tmp_path, resize=70))
    assert data.train.masks is not None
    rows = np.rint(data.train.x[0, :, 0, 1] * 255).astype(int) // 4
    np.testing.assert_array_equal(rows, np.clip(np.arange(-5, 65), 0, 59))
    np.testing.assert_array_equal(data.train.masks[0].any(axis=1), [10 <= row < 60 for row in range(-5, 65)])


def test_a_square_around_a_long_object_is_no_larger_than_an_image_may_be(tmp_path: Path) -> None:
    """A photograph of 100,000 x 600 pixels is small enough, and the square around it has 10,000,000,000 pixels."""
    found = FoundObject(Path("long.png"), 0, (0, 0, 100_000, 600), (600, 100_000), lambda: np.zeros(SIZE, bool))
    for name in ("train2017", "val2017"):
        lay_out(tmp_path, name, [annotation(1, 17, BOXES[1])])
    dataset = pets(tmp_path, margin=0)
    dataset.__dict__["found"] = {"train": (found,), "test": (found,)}
    with pytest.raises(StageError, match=r"coco, train: .*long\.png: expected at most 67,108,864 pixels"):
        dataset.load()


def test_missing_files_are_reported_before_anything_runs(root: Path, tmp_path: Path) -> None:
    assert {field for field, _ in pets(root, resize=None).check()} == {"resize"}
    assert {field for field, _ in pets(root, test_part="val2014").check()} == {"test_part"}
    assert {field for field, _ in pets(tmp_path / "nowhere").check()} == {"root"}
    twice = COCO(root=str(root), categories=("dog", "dog"), resize=8)
    assert {field for field, _ in twice.check()} == {"categories"}


def test_invalid_files_are_reported(root: Path) -> None:
    with pytest.raises(StageError, match="no category 'horse'; expected some of car, cat, dog"):
        produced(COCO(root=str(root), categories=("dog", "horse"), resize=8))
    with pytest.raises(StageError, match="no object of dog, cat is 90 pixels or longer; lower min_size"):
        produced(pets(root, min_size=90))
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "train2017" / "000000000001.png")
    with pytest.raises(StageError, match="is 8x8, its annotation 60x80"):
        produced(pets(root))
    (root / "annotations" / "instances_train2017.json").write_text("[]")
    with pytest.raises(StageError, match="expected instances in COCO's format"):
        produced(pets(root))


def changed(root: Path, change: Any) -> Path:
    """Change the document of the training part."""
    path = root / "annotations" / "instances_train2017.json"
    document = json.loads(path.read_text())
    for number, entry in enumerate(document["annotations"]):
        entry["id"] = 100 + number
    change(document)
    path.write_text(json.dumps(document))
    return root


def of_first(**values: Any) -> Any:
    """Return a change of the cat of photograph 1; ``...`` takes a key away."""

    def change(document: Any) -> None:
        entry = document["annotations"][1]
        entry.update(values)
        for key in [key for key, value in values.items() if value is ...]:
            del entry[key]

    return change


def of_image(**values: Any) -> Any:
    return lambda document: document["images"][0].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_first(segmentation=[]), "annotation 101: it has no segmentation"),
        (of_first(segmentation=None), "annotation 101: it has no segmentation"),
        (of_first(segmentation=...), "annotation 101: it has no segmentation"),
        (of_first(segmentation={}), "annotation 101: it has no segmentation"),
        (of_first(segmentation="text"), "annotation 101: expected polygons or runs"),
        (of_first(segmentation=[[]]), "annotation 101: expected polygons"),
        (of_first(segmentation=[[0, 0, 9, 9]]), "annotation 101: expected polygons"),
        (of_first(segmentation=[[0, 0, 9, 9, 5]]), "annotation 101: expected polygons"),
        (of_first(segmentation=[[0, 0, 9, 9, 5, "x"]]), "annotation 101: expected finite numbers"),
        (of_first(segmentation=[[0, 0, 9, 9, 5, float("inf")]]), "annotation 101: expected finite numbers"),
        (of_first(segmentation=[[0, 0, 9, 9, 5, 1e12]]), "annotation 101: a polygon extends beyond"),
        (
            of_first(segmentation={"size": [100_000, 100_000], "counts": [10**10]}),
            r"its runs are of size \[100000, 100000\]",
        ),
        (of_first(segmentation={"size": [60, 80]}), "annotation 101: expected the counts"),
        (of_first(segmentation={"size": [60, 80], "counts": [1, 2]}), "annotation 101: the runs do not sum"),
        (of_first(segmentation={"size": [60, 80], "counts": [4801, -1]}), "annotation 101: the runs do not sum"),
        (of_first(segmentation={"size": [60, 80], "counts": "zzzzzzzzzzzzzzzzzzzz"}), "compressed runs are corrupted"),
        (of_first(segmentation={"size": [60, 80], "counts": "P"}), "compressed runs are truncated"),
        (of_first(segmentation={"size": [60, 80], "counts": "\u00e9"}), "compressed runs are corrupted"),
        (of_first(area=...), "annotation 101: expected the area"),
        (of_first(area="large"), "annotation 101: expected the area"),
        (of_first(area=10**400), "annotation 101: expected the area"),
        (of_first(bbox=[1, 2, 10**400, 4]), "annotation 101: expected bbox"),
        (of_first(segmentation=[[0, 0, 9, 9, 5, 10**400]]), "annotation 101: expected finite numbers"),
        (of_first(bbox=...), "annotation 101: expected bbox"),
        (of_first(bbox=[1, 2, "3", 4]), "annotation 101: expected bbox"),
        (of_first(bbox=[1, 2, 3]), "annotation 101: expected bbox"),
        (of_first(bbox=[20, 10, -40, 30]), "annotation 101: the box .* has a negative side"),
        (of_first(bbox=[200, 10, 40, 30]), "annotation 101: the box .* lies outside its photograph of 80 x 60"),
        (of_first(bbox=[60, 10, 40, 30]), "annotation 101: the box .* lies outside its photograph of 80 x 60"),
        (of_first(image_id=77), "annotation 101: there is no image 77"),
        (of_first(image_id="1"), "annotation 101: there is no image '1'"),
        (of_first(image_id=[1]), "annotation 101: expected image_id as an integer or text"),
        (of_first(category_id=99), "annotation 101: there is no category 99"),
        (of_first(category_id=...), "expected category_id as an integer or text, received None"),
        (of_image(file_name="/etc/passwd"), "image 1: expected a file_name in the folder"),
        (of_image(file_name="../val2017/000000000001.png"), "image 1: expected a file_name in the folder"),
        (of_image(file_name="a/../../b.png"), "image 1: expected a file_name in the folder"),
        (of_image(file_name="..\\b.png"), "image 1: expected a file_name in the folder"),
        (of_image(file_name=""), "image 1: expected a file_name in the folder"),
        (of_image(file_name=None), "image 1: expected a file_name in the folder"),
        (of_image(file_name="a\0b"), "image 1: expected a file_name in the folder"),
        (of_image(height=100_000, width=100_000), "image 1: expected at most 67,108,864 pixels"),
        (of_image(height="60"), "image 1: expected height and width"),
        (of_image(height=0), "image 1: expected at least 1 x 1"),
        (of_image(id=2), "image 2 occurs twice"),
        (of_image(id="x"), "all numbers or all text"),
        (lambda d: d["categories"].append({"id": 18, "name": "bird"}), "category 18 .*expected unique ids and names"),
        (lambda d: d["categories"].append({"id": 99, "name": "dog"}), "category 99 .*expected unique ids and names"),
        (lambda d: d.update(images={}), "with a list of images"),
        (lambda d: d.pop("annotations"), "with a list of annotations"),
        (lambda d: d["annotations"].append(None), "with a list of annotations"),
    ],
)
def test_an_invalid_annotation_is_reported_with_file_and_number(root: Path, change: Any, message: str) -> None:
    """By the plan, and by the stage for files that are too large for the plan to read."""
    broken = pets(changed(root, change))
    ((field, reported),) = broken.check()
    assert field == "root"
    assert re.search(rf"instances_train2017.json: .*{message}", reported)
    with pytest.raises(StageError, match=rf"instances_train2017.json: .*{message}"):
        broken.load()


def test_the_plan_skips_large_annotation_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temper.targets.datasets.coco._PLAN_LIMIT", 100)
    assert list(pets(changed(root, of_first(bbox=...))).check()) == []


def test_the_plan_reports_a_missing_photograph(root: Path) -> None:
    (root / "train2017" / "000000000005.png").unlink()
    ((field, reported),) = pets(root).check()
    assert field == "root"
    assert "there is no photograph" in reported
    assert "000000000005.png" in reported


def test_excluded_annotations_are_not_checked(root: Path) -> None:
    """Crowds and other categories are never looked at, and boxes without extent are too small."""
    before = produced(pets(root)).train

    def change(document: Any) -> None:
        document["annotations"] += [
            {"image_id": 77, "category_id": 3, "bbox": "none"},
            {"image_id": 77, "category_id": 17, "iscrowd": 1},
            annotation(1, 17, (5, 5, 9, 0), []),
            annotation(1, 17, (5, 5, 9, 9), []),
        ]

    after = produced(pets(changed(root, change))).train
    np.testing.assert_array_equal(after.x, before.x)
    np.testing.assert_array_equal(after.masks, before.masks)


def test_a_box_may_extend_one_pixel_beyond_the_edge(root: Path) -> None:
    assert len(produced(pets(changed(root, of_first(bbox=[-0.5, 10, 81, 30])))).train) == 4


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "\xff", "[]", "3"])
def test_an_invalid_document_is_reported(root: Path, text: str) -> None:
    path = root / "annotations" / "instances_train2017.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(StageError, match=r"instances_train2017.json: expected instances in COCO's format"):
        produced(pets(root))


@settings(max_examples=50)
@given(mask=arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_compressed_runs_equal_those_of_pycocotools(mask: np.ndarray) -> None:
    encoded = runs.encode(np.asfortranarray(mask.astype(np.uint8)))
    segmentation = {"size": list(mask.shape), "counts": encoded["counts"].decode()}
    found = Object("x", 1, "cat", (0, 0, 1, 1), 1, segmentation, "a.png", mask.shape)
    np.testing.assert_array_equal(found.outline(), mask)
