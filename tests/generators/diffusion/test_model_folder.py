"""Pipeline folders that cannot be loaded are reported before anything runs, with a remedy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from temper.generators.diffusion.model_folder import ModelFolder
from temper.generators.diffusion.pipeline import Pipeline

PARTS = {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
         "tokenizer": ["transformers", "CLIPTokenizer"], "safety_checker": [None, None]}  # fmt: skip
INDEX: dict[str, Any] = {"_class_name": "StableDiffusionInpaintPipeline", "_diffusers_version": "0.30.0", **PARTS,
                         "requires_safety_checker": False}  # fmt: skip


def laid_out(folder: Path, weights: str, index: Any = None) -> Path:
    for name in ("unet", "vae", "tokenizer"):
        (folder / name).mkdir(parents=True)
    (folder / "tokenizer" / "vocab.json").touch()
    for name in ("unet", "vae"):
        (folder / name / weights).touch()
    (folder / "model_index.json").write_text(json.dumps(INDEX if index is None else index), encoding="utf-8")
    return folder


def said(folder: Path, **fields: Any) -> list[tuple[str, str]]:
    return list(Pipeline(folder=str(folder), **fields).check())


PLAIN, HALF = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"


@pytest.mark.parametrize(
    ("weights", "variant"),
    [(PLAIN, None), (PLAIN, "fp16"), (HALF, "fp16"), ("model-00001-of-00002.safetensors", None),
     ("diffusion_pytorch_model.fp16-00001-of-00002.safetensors", "fp16")],
)  # fmt: skip
def test_a_whole_folder_has_no_problem(tmp_path: Path, weights: str, variant: str | None) -> None:
    assert said(laid_out(tmp_path / "m", weights), variant=variant) == []


@pytest.mark.parametrize(
    ("weights", "variant", "field", "message"),
    [
        (HALF, None, "variant", "has no plain weights, only those of fp16; set variant: fp16"),
        ("diffusion_pytorch_model.fp16-00001-of-00002.safetensors", None, "variant", "set variant: fp16"),
        (HALF, "bf16", "variant", "no weights of variant bf16, only those of fp16"),
        ("diffusion_pytorch_model.bin", None, "folder", "no weights in the safetensors format"),
    ],
)
def test_missing_weights_are_reported(tmp_path: Path, weights: str, variant: Any, field: str, message: str) -> None:
    ((found, text),) = said(laid_out(tmp_path / "m", weights), variant=variant)
    assert (found, message in text) == (field, True)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([], "expected the name of a pipeline"),
        ({}, "expected the name of a pipeline"),
        (INDEX | {"_class_name": ["mine.py", "Mine"]}, "expected the name of a pipeline"),
        (INDEX | {"unet": ["subprocess", "Popen"]}, "unet is code of subprocess, which is never loaded"),
        (INDEX | {"unet": ["mine", "UNet"]}, "unet is code of mine"),
        (INDEX | {"unet": ["diffusers"]}, "unet: expected a package and a class"),
        (INDEX | {"unet": [{}, 1]}, "unet: expected a package and a class"),
        (INDEX | {"../up": ["diffusers", "UNet"]}, "../up: expected a package and a class"),
        (INDEX | {"text_encoder": ["transformers", "CLIPTextModel"]}, "has no folder text_encoder"),
    ],
)
def test_an_invalid_index_is_reported(tmp_path: Path, index: Any, message: str) -> None:
    ((field, text),) = said(laid_out(tmp_path / "m", PLAIN, index))
    assert (field, message in text) == ("folder", True)


@pytest.mark.parametrize("name", ["model.safetensors", "model_index.json", "model.ckpt"])
def test_a_single_file_is_rejected(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}", encoding="utf-8")
    ((field, text),) = said(tmp_path / name)
    assert (field, "from_single_file and save_pretrained" in text) == ("folder", True)


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff", b" " * (2**20 + 1), None])
def test_a_corrupted_index_is_reported(tmp_path: Path, content: bytes | None) -> None:
    folder = laid_out(tmp_path / "m", PLAIN)
    (folder / "model_index.json").unlink()
    if content is None:
        os.mkfifo(folder / "model_index.json")
    else:
        (folder / "model_index.json").write_bytes(content)
    ((field, text),) = said(folder)
    assert (field, str(folder / "model_index.json") in text) == ("folder", True)


def test_a_folder_without_an_index_is_rejected(tmp_path: Path) -> None:
    ((_, text),) = ModelFolder(tmp_path, None).problems()
    assert "has no model_index.json" in text
