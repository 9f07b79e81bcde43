"""--try: writes a checked experiment for a model and data, states what it read and assumed, and overwrites nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from temper.engine.catalogue.discovery import discover
from temper.engine.command_line.first_experiment import write
from temper.engine.language import experiment_file
from temper.system import backend

Run = Callable[..., tuple[int, str]]
RNG = np.random.default_rng(0)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Save a model of one dense layer; the working directory becomes an empty one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def save(*shape: int, outputs: int = 2) -> Path:
        keras = backend.keras()
        network = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(outputs)])
        network.save(path := tmp_path / "My model.keras")
        return path

    return save


def npz(path: Path, *shape: int, classes: int = 2) -> Path:
    x = RNG.integers(0, 256, (8, *shape)).astype(np.uint8)
    y = np.arange(8) % classes
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    return path


def folder(path: Path, *parts: str, side: int = 4) -> Path:
    for name in ("cat", "dog"):
        for part in parts:
            (path / part / name).mkdir(parents=True)
            for i in range(4):
                pixels = RNG.integers(0, 256, (side, side, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(path / part / name / f"{i}.png")
    return path


def test_written_file_is_planned_and_states_what_was_read_and_assumed(
    model: Callable[..., Path], tmp_path: Path, run: Run
) -> None:
    code, output = run("--try", model(4, 4, 1), "--data", npz(tmp_path / "data.npz", 4, 4))
    assert code == 0, output
    assert "wrote try-my-model.yaml" in output
    assert output.splitlines()[-1].split(" --components")[0].endswith(" try-my-model.yaml")
    text = Path("try-my-model.yaml").read_text(encoding="utf-8")
    read, _, assumed = text.partition("Assumed")
    assert "takes 4x4x1 and has 2 outputs" in read
    assert "4x4x1 in 2 classes: 0, 1" in read
    assert "pixels in [0, 1]" in assumed
    code, output = run("try-my-model.yaml", "--plan")
    assert code == 0, output
    assert "pgd.test" in output


def test_existing_file_is_kept(model: Callable[..., Path], tmp_path: Path, run: Run) -> None:
    Path("mine.yaml").write_text("mine", encoding="utf-8")
    code, output = run("--try", model(4, 4, 1), "--data", npz(tmp_path / "data.npz", 4, 4), "--out", "mine.yaml")
    assert (code, Path("mine.yaml").read_text(encoding="utf-8")) == (2, "mine")
    assert "would be overwritten" in output


@pytest.mark.parametrize(
    ("shape", "pixels", "setting"),
    [((4, 4, 1), (4, 4, 3), {"grey": "luma"}), ((3, 4, 4), (4, 4, 3), {"channels_first": True})],
)
def test_settings_that_the_model_needs_are_written(
    model: Callable[..., Path],
    tmp_path: Path,
    shape: tuple[int, ...],
    pixels: tuple[int, ...],
    setting: dict[str, object],
) -> None:
    path = write(model(*shape), str(npz(tmp_path / "data.npz", *pixels)), None, discover(), "schema")
    raw = experiment_file.load(path, discover()).stages["model"].raw
    assert {key: raw[key] for key in ("grey", "channels_first") if key in raw} == setting
    assert "eps: [8/255]" in path.read_text(encoding="utf-8")
    assert f"{next(iter(setting))}: " in path.read_text(encoding="utf-8").partition("name:")[0]


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        (("train", "test"), {}),
        (("train", "val"), {"test_folder": "val"}),
        (("train",), {"test_share": 0.5}),
        (("",), {"train_folder": ".", "test_share": 0.5}),
    ],
)
def test_folders_of_images_are_split_as_they_are(
    model: Callable[..., Path], tmp_path: Path, parts: tuple[str, ...], fields: dict[str, object]
) -> None:
    data = folder(tmp_path / "images", *parts)
    path = write(model(4, 4, 3), str(data), Path("out.yaml"), discover(), "schema")
    experiment = experiment_file.load(path, discover())
    raw = dict(experiment.stages["data"].raw)
    assert experiment.name == "out"  # as the file, so that two files do not share a results folder
    assert raw == {"type": "image_folder", "root": str(data)} | fields


def test_images_of_a_folder_are_resized_to_the_model(model: Callable[..., Path], tmp_path: Path) -> None:
    path = write(model(4, 4, 3), str(folder(tmp_path / "images", "train", "test", side=6)), None, discover(), "schema")
    assert experiment_file.load(path, discover()).stages["data"].raw["resize"] == 4


def test_built_in_data_sets_are_named(model: Callable[..., Path]) -> None:
    path = write(model(8, 8, 1, outputs=10), "digits", None, discover(), "schema")
    assert dict(experiment_file.load(path, discover()).stages["data"].raw) == {"type": "digits"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--try", "none.keras", "--data", "digits"), "--try: there is no file none.keras"),
        (("--try", "none.keras"), "expected both --try MODEL and --data DATA"),
        (("--data", "digits"), "expected both --try MODEL and --data DATA"),
        (("--try", "{model}", "--data", "digit"), "did you mean 'digits'?"),
        (("--try", "{model}", "--data", "digits"), "the model has 2 outputs, but the data set 10 classes"),
        (("--try", "{model}", "--data", "{model}"), "lacks x_train"),
        (("--try", "{text}", "--data", "digits"), "--try: path: "),
        (("--try", "{model}", "--data", "digits", "--out", "no/such.yaml"), "there is no folder no"),
        (("--try", "{model}", "--data", "digits", "mine.yaml"), "expected no experiment file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    model: Callable[..., Path], tmp_path: Path, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "text.h5").write_text("no model", encoding="utf-8")
    code, output = run(*(a.format(model=model(4, 4, 1), text=tmp_path / "text.h5") for a in arguments))
    assert code == 2
    assert message in output
    assert "Traceback" not in output
    assert list(Path().glob("*.yaml")) == []
