"""The recipes of docs/your-model.md run: each section's Python saves a model, and its command writes a file that is checked."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from temper.engine.command_line.main import main
from tests.conftest import ROOT
from tests.test_docs import FENCE

SECTIONS = dict(
    part.split("\n", 1) for part in (ROOT / "docs" / "your-model.md").read_text(encoding="utf-8").split("\n## ")[1:]
)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Run the Python blocks of a section, then its commands next to a folder of photos; return their options."""
    monkeypatch.chdir(tmp_path)
    for part in ("train", "test"):
        for k, name in enumerate(("cat", "dog")):
            (folder := tmp_path / "photos" / part / name).mkdir(parents=True)
            Image.fromarray(np.full((8, 8, 3), 50 + 100 * k, np.uint8)).save(folder / "0.png")

    def run(title: str) -> list[str]:
        options: list[str] = []
        for language, text in FENCE.findall(SECTIONS[title]):
            if language == "python" and (named := re.match(r"# ([\w/-]+\.py)\n", text)):
                Path(named[1]).parent.mkdir(exist_ok=True)
                Path(named[1]).write_text(text, encoding="utf-8")
            elif language == "python":
                exec(compile(text, title, "exec"), {})
            elif language == "bash":
                for line in text.splitlines():
                    options = shlex.split(line, comments=True)[2:]
                    assert main(options) == 0, line
        return options

    return run


def test_pytorch_through_onnx(recipe: Callable[..., list[str]]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    recipe("PyTorch, through ONNX")
    assert "photos" in Path("try-model.yaml").read_text(encoding="utf-8")


def test_state_dict_of_timm(recipe: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("temper.nn.pytorch") is None:
        pytest.skip("state_dicts are not supported yet")
    (line,) = re.findall(r"^  model: (.*)$", SECTIONS["A state_dict of timm"], re.MULTILINE)
    Path("weights.pth").write_bytes(b"")  # what is in it is read when the model is
    text = f"name: timm\ndatasets:\n  data: {{type: image_folder, root: photos}}\ntargets:\n  model: {line}\n"
    Path("timm.yaml").write_text(text, encoding="utf-8")
    from temper.core.families import Target
    from temper.engine.catalogue.discovery import discover

    fields = discover().of(Target)["saved"].__dataclass_fields__
    assert all(name in fields for name in re.findall(r"(\w+): ", line) if name != "type")


def test_keras_file_and_folder_of_images(recipe: Callable[..., list[str]]) -> None:
    recipe("A Keras file")
    recipe("A folder of images")
    assert Path("try-model.yaml").exists()
    assert Path("resized.yaml").exists()
    assert main(["try-model.yaml", "--plan"]) == 0


def test_layer_of_your_own(recipe: Callable[..., list[str]]) -> None:
    from temper.system import backend

    keras = backend.keras()
    (text,) = (text for language, text in FENCE.findall(SECTIONS["A layer of your own"]) if language == "python")
    names: dict[str, object] = {}
    exec(compile(text, "gain", "exec"), names)
    gain: type = names["Gain"]  # type: ignore[assignment]
    keras.Sequential([keras.Input((8, 8, 3)), gain(), keras.layers.Flatten(), keras.layers.Dense(2)]).save("own.keras")
    recipe("A layer of your own")
    assert "own.keras" in Path("try-own.yaml").read_text(encoding="utf-8")
