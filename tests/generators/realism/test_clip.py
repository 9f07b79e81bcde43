"""CLIP's agreement, with a tiny model of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.augmenter import Augmented, AugmenterContext
from temper.core.data_info import DataInfo
from temper.core.errors import StageError
from temper.generators.realism.clip import CLIP
from tests.generators.augmenter_contexts import seeds
from tests.generators.fuzzing.test_semantic_fuzzer import grey

NAMES = ("cat", "dog", "tram")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny CLIP whose alphabet is that of the captions."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    end = len(tokens) - 1
    config = CLIPConfig(
        text_config={
            **sizes,
            "vocab_size": len(tokens),
            "bos_token_id": end - 1,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={**sizes, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    path = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(path)
    CLIPTokenizer({token: i for i, token in enumerate(tokens)}, [], model_max_length=77).save_pretrained(path)
    CLIPImageProcessorPil(size={"height": 16, "width": 16}, do_center_crop=False).save_pretrained(path)
    return path


def context(*names: str) -> AugmenterContext:
    anything: Any = None
    return AugmenterContext(anything, anything, grey(0.1), DataInfo((8, 8, 1), names))


def test_the_probabilities_of_all_labels_add_up_to_one(folder: Path) -> None:
    image = grey(0.2, 0.9).x
    shares = [
        CLIP(folder=str(folder)).values(Augmented(image, np.full(2, label)), seeds(image), context(*NAMES))
        for label in range(3)
    ]
    assert np.sum(shares, axis=0) == pytest.approx([1, 1])
    assert np.ptp(shares, axis=0).min() > 1e-6


def test_an_invalid_model_folder_is_reported(folder: Path, tmp_path: Path) -> None:
    assert [field for field, _ in CLIP(folder=str(tmp_path), prompt="an image").check()] == ["folder", "prompt"]
    assert not list(CLIP(folder=str(folder)).check())
    (tmp_path / "config.json").write_text('{"model_type": "clip"}', encoding="utf-8")
    image = grey(0.2).x
    with pytest.raises(StageError, match="contains no complete CLIP model"):
        CLIP(folder=str(tmp_path)).values(Augmented(image, np.zeros(1, np.int64)), seeds(image), context(*NAMES))
