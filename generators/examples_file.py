"""Adversarial examples from other programs, read from .npz or .npy files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, Images
from temper.core.component import PARTS, File, Ref
from temper.core.errors import StageError
from temper.core.families import Generator
from temper.core.run import Run
from temper.nn.images.array_files import ArrayFile
from temper.nn.images.pixel_range import pixel_problem
from temper.nn.images.preprocessing import to_unit

# In this order: a file may hold the clean images as x.
_IMAGES = ("x_adv", "x")
_NAMED = {"": "x"}
"""The name for the array of an .npy file."""
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ExamplesFile(Generator):
    """Examples from another program, one file for each part.

    A .npz file holds `x_adv` (or `x`), and may hold `index`, the image of the data set that each one was derived from
    (its position in the set's own part), and `y`, its label, which must then be that image's. Without `index`, and in a
    .npy file, image i was derived from the i-th image of `data`. Images are uint8 or float in [0, 1], (n, h, w, c),
    flat (n, h * w * c), or grey (n, h, w).

    Source: DeepCustom keeps its generated data in this way (gen_data.npy).
    """

    tag = "examples_file"

    data: Annotated[Ref[Examples], "the original images, which give the examples their labels"]
    train: Annotated[str | None, ".npz or .npy file for the training part", File()] = None
    validation: Annotated[str | None, ".npz or .npy file for the validation part", File()] = None
    test: Annotated[str | None, ".npz or .npy file for the test part", File()] = None

    @property
    def stochastic(self) -> bool:
        return False

    def check(self) -> Iterator[tuple[str, str]]:
        paths = {part: path for part in PARTS if (path := getattr(self, part))}
        if not paths:
            yield "", f"expected a file for at least one of {', '.join(PARTS)}, received none"
        for part, path in paths.items():
            try:
                _images_of(_shapes(Path(path)), path)
            except StageError as error:
                yield part, str(error)

    def produce(self, run: Run) -> Examples:
        path = getattr(self, run.part) if run.part else None
        if path is None:
            raise StageError(f"examples_file: no file for the {run.part} part; set one in `{run.part}`")
        clean = run[self.data]
        arrays = _read(Path(path))
        rows = _rows(arrays, clean, path)
        x = _shaped(arrays[_images_of({key: a.shape for key, a in arrays.items()}, path)], clean.shape, path)
        y = clean.y[rows]
        if "y" in arrays and not np.array_equal(given := arrays["y"].reshape(-1), y):
            wrong = int((given != y).sum()) if given.shape == y.shape else len(y)
            raise StageError(
                f"{path}: {wrong} of {len(y)} labels in 'y' differ from those of the images in `data` at 'index'; "
                "check that the rows are in the same order and `data` is the right data set"
            )
        run.images += len(x)
        info = {"attack": self.tag, "step_rule": f"from another program: {Path(path).name}"}
        return Examples(x=x, y=y, index=clean.index[rows], info=info)


def _shapes(path: Path) -> Mapping[str, Shape]:
    """Return the arrays' shapes by name, reading their headers only."""
    if path.suffix not in (".npz", ".npy"):
        raise StageError(f"{path}: expected a .npz or .npy file, received '{path.suffix}'")
    headers = ArrayFile(path).headers()
    return {_NAMED.get(name, name): header.shape for name, header in headers.items()}


def _images_of(shapes: Mapping[str, Shape], path: object) -> str:
    """Return the name of the array of images, after checking its shape and those of the other arrays."""
    name = next((name for name in _IMAGES if name in shapes), None)
    if name is None:
        raise StageError(f"{path}: expected an array {' or '.join(_IMAGES)}, received {', '.join(shapes) or 'none'}")
    if len(shapes[name]) < 2:
        raise StageError(f"{path}: expected '{name}' to be (n, h, w, c), received {shapes[name]}")
    n = shapes[name][0]
    for other in ("y", "index"):
        if other in shapes and shapes[other] not in ((n,), (n, 1)):
            raise StageError(f"{path}: expected '{other}' to be ({n},), like '{name}', received {shapes[other]}")
    return name


def _read(path: Path) -> dict[str, NDArray[Any]]:
    arrays = ArrayFile(path).read((*_IMAGES, "y", "index"))
    return {_NAMED.get(name, name): array for name, array in arrays.items()}


def _rows(arrays: Mapping[str, NDArray[Any]], clean: Examples, path: object) -> NDArray[np.int64]:
    n = len(arrays[next(name for name in _IMAGES if name in arrays)])
    if "index" not in arrays:
        if n != len(clean):
            raise StageError(f"{path}: {n} images for {len(clean)} in `data`; add an 'index' array (n,) to the file")
        return np.arange(n)
    index = arrays["index"].reshape(-1)
    if not np.issubdtype(index.dtype, np.integer):
        raise StageError(f"{path}: expected 'index' to hold integers, received {index.dtype}")
    try:
        return clean.rows_of(index.astype(np.int64))
    except ValueError as error:
        raise StageError(f"{path}: 'index': {error}") from error


def _shaped(x: NDArray[Any], shape: tuple[int, int, int], path: object) -> Images:
    height, width, channels = shape
    same_layout = x.shape[1:] in (shape, (height * width * channels,)) or (channels == 1 and x.shape[1:] == shape[:2])
    if not same_layout:
        raise StageError(f"{path}: expected images {shape} as in `data`, received {x.shape[1:]}; channels come last")
    if problem := pixel_problem(x):
        raise StageError(f"{path}: {problem}")
    return to_unit(x.reshape(-1, *shape))
