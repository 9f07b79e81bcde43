"""Examples from other programs: what is read, and invalid files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples, export_npz
from temper.core.component import Part, Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.generators.examples_file import ExamplesFile
from tests.generators.models import images

DATA: Any = Ref("grey")
X, Y = images(6, (4, 4, 1), classes=3)
CLEAN = Examples(x=X, y=Y, index=np.arange(6))


def produce(component: ExamplesFile, part: Part = "test", clean: Examples = CLEAN) -> Examples:
    return component.produce(Run("file", 0, part, lambda ref: clean, lambda ref: {}, lambda *_: None))


def npz(folder: Path, **arrays: Any) -> ExamplesFile:
    np.savez(folder / "made.npz", **arrays)
    return ExamplesFile(data=DATA, test=str(folder / "made.npz"))


def test_round_trip_of_an_export(tmp_path: Path) -> None:
    made = Examples(x=1 - X[[4, 1]], y=Y[[4, 1]], index=np.array([4, 1]))
    export_npz(made, tmp_path / "out.npz")
    component = ExamplesFile(data=DATA, test=str(tmp_path / "out.npz"))
    assert list(component.check()) == []
    back = produce(component)
    for name in ("x", "y", "index"):
        assert np.array_equal(getattr(back, name), getattr(made, name))


@pytest.mark.parametrize("shape", [(6, 4, 4, 1), (6, 4, 4), (6, 16)])
def test_layouts_and_types(tmp_path: Path, shape: tuple[int, ...]) -> None:
    adversarial = np.random.default_rng(1).integers(256, size=shape).astype(np.uint8)
    np.save(tmp_path / "made.npy", adversarial)
    back = produce(ExamplesFile(data=DATA, train=str(tmp_path / "made.npy")), "train")
    np.testing.assert_allclose(back.x.ravel() * 255, adversarial.ravel(), atol=1e-4)
    assert np.array_equal(back.y, Y)
    np.save(tmp_path / "made.npy", adversarial / 255)
    again = produce(ExamplesFile(data=DATA, train=str(tmp_path / "made.npy")), "train")
    np.testing.assert_allclose(again.x, back.x, atol=1e-7)


def test_x_adv_takes_precedence_over_x(tmp_path: Path) -> None:
    assert np.array_equal(produce(npz(tmp_path, x=X, x_adv=1 - X, y=Y)).x, 1 - X)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": X}, "expected an array x_adv or x, received images"),
        ({"x": X, "y": Y[:5]}, r"expected 'y' to be \(6,\), like 'x', received \(5,\)"),
        ({"x": X, "index": Y[:, None, None]}, r"expected 'index' to be \(6,\)"),
        ({"x": np.array(3.0)}, r"expected 'x' to be \(n, h, w, c\), received \(\)"),
        ({"x": np.array([None])}, "Python objects in x.npy, which Temper never loads"),
    ],
)
def test_problems_are_reported_before_anything_runs(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(StageError, match=message):
        raise StageError(next(iter(npz(tmp_path, **arrays).check()))[1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X[:4]}, "4 images for 6 in `data`; add an 'index' array"),
        ({"x": X[:2], "index": np.array([0, 6])}, "'index': image 6 is not among the 6 images"),
        ({"x": X[:2], "index": np.array([0.0, 1.0])}, "expected 'index' to hold integers"),
        ({"x": X, "y": (Y + 1) % 3}, "6 of 6 labels in 'y' differ"),
        ({"x": X.reshape(6, 1, 4, 4)}, r"expected images \(4, 4, 1\) as in `data`, received \(1, 4, 4\)"),
        ({"x": X * 2}, r"expected \[0, 1\], received"),
        ({"x": X.astype(np.int32)}, "expected uint8 or float"),
        ({"x": X * np.nan}, r"received \[nan, nan\], first in image 0"),
        ({"x": (X > 0.5).astype(np.uint8)}, r"bytes of 0 and 1 only would be nearly black; write x \* 255"),
    ],
)
def test_problems_that_depend_on_the_data_are_reported(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    component = npz(tmp_path, **arrays)
    assert list(component.check()) == []
    with pytest.raises(StageError, match=message):
        produce(component)


def test_files_without_arrays_are_reported(tmp_path: Path) -> None:
    assert "at least one of train, validation, test" in next(iter(ExamplesFile(data=DATA).check()))[1]
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "text.csv").write_text("1,2")
    for name, message in (
        ("text.npz", "expected arrays written by NumPy"),
        ("text.csv", "received '.csv'"),
        ("none.npy", "No such file"),
    ):
        ((field, fault),) = ExamplesFile(data=DATA, test=str(tmp_path / name)).check()
        assert field == "test"
        assert message in fault


def test_requesting_a_part_without_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no file for the train part"):
        produce(npz(tmp_path, x=X), "train")
