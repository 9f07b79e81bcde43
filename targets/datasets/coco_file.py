"""A file of annotations in COCO's format, validated before use, with errors that name the annotation."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any, TypeGuard

import numpy as np

from temper.core.artefacts import Masks
from temper.core.errors import StageError
from temper.nn.images.image_opening import size_problem
from temper.system.files import read_bytes

MAX_BYTES = 2**30
"""Maximum size of a file; that of COCO's training images of 2017 has 448 MB."""
_EDGE = 1
"""Pixels by which a box may extend beyond its photograph, as COCO's own do by rounding."""
# Fewer corners enclose no area.
_CORNERS = 3
_SHIFT = 48
"""The ASCII offset of the digits of compressed runs."""


@dataclass(frozen=True, eq=False)
class Object:
    """An annotation of a wanted category with a valid box and valid numbers, and its photograph's name and size."""

    where: str
    image: int | str
    category: str
    box: tuple[float, float, float, float]
    area: float
    segmentation: Any
    file_name: str
    size: tuple[int, int]

    def outline(self) -> Masks:
        """Return the pixels of the object, bool of the photograph's size.

        Raises:
            StageError: its segmentation cannot be read.
        """
        if isinstance(self.segmentation, list):
            from pycocotools import mask

            return np.asarray(mask.decode(mask.merge(mask.frPyObjects(self.segmentation, *self.size))), bool)
        runs = self._runs()
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        # COCO counts runs column by column.
        return flat.reshape(self.size, order="F")

    def _runs(self) -> list[int]:
        counts = self.segmentation["counts"]
        runs = _unpacked(counts, self.where) if isinstance(counts, str) else counts
        if any(type(run) is not int or run < 0 for run in runs) or sum(runs) != math.prod(self.size):
            raise StageError(f"{self.where}: the runs do not sum to the photograph's {math.prod(self.size):,} pixels")
        return list(runs)

    def segmentation_problem(self) -> str:
        """Return what is wrong with the segmentation, as far as visible without rasterising it."""
        height, width = self.size
        if not self.segmentation:
            return "it has no segmentation; expected polygons or runs: draw its outline, or remove the annotation"
        if isinstance(self.segmentation, Mapping):
            if self.segmentation.get("size") != [height, width]:
                return f"its runs are of size {self.segmentation.get('size')!r:.60}, its photograph [{height}, {width}]"
            if not isinstance(self.segmentation.get("counts"), str | list):
                return "expected the counts of its runs as a list or text"
            try:
                self._runs()
            except StageError as error:
                return str(error).removeprefix(f"{self.where}: ")
            return ""
        if not isinstance(self.segmentation, list):
            return f"expected polygons or runs as its segmentation, received {self.segmentation!r:.60}"
        for polygon in self.segmentation:
            if not isinstance(polygon, list) or len(polygon) % 2 or len(polygon) < 2 * _CORNERS:
                return f"expected polygons [x1, y1, x2, y2, x3, y3, ...], received {polygon!r:.60}"
            if not all(map(_is_number, polygon)):
                return "expected finite numbers in its polygons"
            for corners, side in ((polygon[::2], width), (polygon[1::2], height)):
                if min(corners) < -side or max(corners) > 2 * side:
                    return "a polygon extends beyond the photograph by more than its size"
        return ""


@dataclass(frozen=True)
class AnnotationFile:
    """A JSON file of categories, images and annotations."""

    path: Path

    @cached_property
    def categories(self) -> Mapping[int | str, str]:
        """The names of the categories by their ids."""
        found: dict[int | str, str] = {}
        for entry in self._list("categories"):
            number, name = self._id(entry, "a category"), entry.get("name")
            if not isinstance(name, str) or name in found.values() or number in found:
                raise StageError(f"{self.path}: category {number!r} ({name!r:.40}): expected unique ids and names")
            found[number] = name
        return found

    def objects(self, wanted: Sequence[str]) -> Iterator[Object]:
        """Yield the annotations of some categories, except crowds.

        Raises:
            StageError: the file is in another format, or such an annotation is invalid.
        """
        if missing := [name for name in wanted if name not in self.categories.values()]:
            known = ", ".join(sorted(self.categories.values()))
            raise StageError(f"{self.path} has no category '{missing[0]}'; expected some of {known}")
        for place, entry in enumerate(self._list("annotations"), 1):
            where = f"{self.path}: annotation {entry.get('id', f'number {place}')!r:.40}"
            category = self.categories.get(self._id(entry, f"annotation number {place}", "category_id"))
            if category is None:
                raise StageError(f"{where}: there is no category {entry['category_id']!r:.40}")
            if category in wanted and not entry.get("iscrowd"):
                yield self._object(entry, category, where)

    def _object(self, entry: Mapping[str, Any], category: str, where: str) -> Object:
        number = self._id(entry, where.removeprefix(f"{self.path}: "), "image_id")
        if number not in self._images:
            raise StageError(f"{where}: there is no image {number!r:.40}")
        name, size = self._images[number]
        box, area = entry.get("bbox"), entry.get("area")
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise StageError(f"{where}: expected bbox [left, top, width, height], received {box!r:.60}")
        if not _is_number(area) or area < 0:
            raise StageError(f"{where}: expected the area of the object in pixels, received {area!r:.40}")
        left, top, width, height = box
        if width < 0 or height < 0:
            raise StageError(f"{where}: the box {box} has a negative side")
        if min(left, top) < -_EDGE or left + width > size[1] + _EDGE or top + height > size[0] + _EDGE:
            raise StageError(f"{where}: the box {box} lies outside its photograph of {size[1]} x {size[0]} pixels")
        return Object(where, number, category, (left, top, width, height), area, entry.get("segmentation"), name, size)

    @cached_property
    def _images(self) -> Mapping[int | str, tuple[str, tuple[int, int]]]:
        found: dict[int | str, tuple[str, tuple[int, int]]] = {}
        for entry in self._list("images"):
            number, name = self._id(entry, "an image"), entry.get("file_name")
            where = f"{self.path}: image {number!r:.40}"
            if number in found:
                raise StageError(f"{where} occurs twice")
            if not isinstance(name, str) or not _stays_inside(name):
                raise StageError(f"{where}: expected a file_name in the folder of the images, received {name!r:.80}")
            height, width = entry.get("height"), entry.get("width")
            if type(height) is not int or type(width) is not int:
                raise StageError(
                    f"{where}: expected height and width in pixels, received {height!r:.40} and {width!r:.40}"
                )
            if problem := size_problem(height, width):
                raise StageError(f"{where}: {problem}")
            found[number] = (name, (height, width))
        if len({type(number) for number in found}) > 1:
            raise StageError(f"{self.path}: expected image ids that are all numbers or all text, received both")
        return found

    def _id(self, entry: Mapping[str, Any], what: str, key: str = "id") -> int | str:
        number = entry.get(key)
        if type(number) not in (int, str):
            raise StageError(f"{self.path}: {what}: expected {key} as an integer or text, received {number!r:.40}")
        return number  # type: ignore[return-value]

    def _list(self, key: str) -> list[Mapping[str, Any]]:
        entries = self._document.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            raise StageError(f"{self.path}: expected instances in COCO's format, with a list of {key}")
        return entries

    @cached_property
    def _document(self) -> Mapping[str, Any]:
        try:
            document = json.loads(read_bytes(self.path, MAX_BYTES))
        except (ValueError, RecursionError) as error:
            raise StageError(f"{self.path}: expected instances in COCO's format, received no JSON ({error})") from None
        if not isinstance(document, Mapping):
            raise StageError(f"{self.path}: expected instances in COCO's format, received a {type(document).__name__}")
        return document


def _is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a number that is finite as a float."""
    # type() and not isinstance(): JSON's true is an int in Python.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _stays_inside(name: str) -> bool:
    """Return whether a name resolves to a path below a folder, on any system; existing links are followed."""
    # Windows syntax covers both separators and drive letters.
    parts = PureWindowsPath(name)
    return bool(parts.parts) and not parts.anchor and ".." not in parts.parts and "\0" not in name


def _unpacked(text: str, where: str) -> list[int]:
    """Return the lengths of runs compressed as text.

    Source: cocoapi, ``rleFrString``: digits of five bits, the least first, and from the third number on the difference
    to the last but one.
    """
    runs: list[int] = []
    value = shift = 0
    for digit in text.encode("utf-8", "replace"):
        bits = digit - _SHIFT
        # More than twelve digits of five bits are no number of pixels.
        if not 0 <= bits < 64 or shift > 60:
            raise StageError(f"{where}: its compressed runs are corrupted")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise StageError(f"{where}: its compressed runs are truncated")
    return runs
