"""CLIP's agreement with the label of a generated image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from temper.core.artefacts import Images
from temper.core.augmenter import Augmented, AugmenterContext, Seeds
from temper.core.component import File, Range
from temper.core.errors import StageError
from temper.core.realism import Measures, Realism

# Images per forward pass, to bound memory.
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class CLIP(Realism):
    """The probability that CLIP gives the caption of an image's label among those of all classes.

    The model is read from a local folder written by ``save_pretrained``; nothing is downloaded.

    Source: Radford et al. (2021), Learning Transferable Visual Models From Natural Language Supervision, section 3.1.
    Differs: GenerativeRepair compares the new caption with the old one only.
    """

    tag = "clip"
    requires = ("torch", "transformers")
    higher_is_better = True

    folder: Annotated[str, "folder of the model, its tokenizer and its image processor", File()]
    prompt: Annotated[str, "the caption, with {label} for the name of the class"] = "a photo of a {label}"
    min: Annotated[float, "least probability", Range(ge=0, le=1)] = 0.8

    def check(self) -> Iterator[tuple[str, str]]:
        if not (Path(self.folder) / "config.json").is_file():
            yield (
                "folder",
                f"expected a CLIP model as save_pretrained writes it; there is no config.json in {self.folder}",
            )
        if "{label}" not in self.prompt:
            yield "prompt", f"expected a prompt with {{label}}, received {self.prompt!r}"

    @property
    def bound(self) -> float:
        return self.min

    def values(self, made: Augmented, seeds: Seeds, context: AugmenterContext) -> Measures:
        import torch

        model, tokenizer, processor = _loaded(self.folder)
        captions = [self.prompt.replace("{label}", name) for name in context.info.class_names]
        texts = tokenizer(captions, return_tensors="pt", padding=True, truncation=True)
        values = np.empty(len(seeds))
        with torch.inference_mode():
            for start in range(0, len(seeds), _BATCH):
                rows = slice(start, start + _BATCH)
                # The processor resizes and normalises as in CLIP's training.
                pixels = processor(images=_bytes(made.x[rows]), return_tensors="pt", input_data_format="channels_last")
                likeness = model(**texts, **pixels).logits_per_image.double().softmax(dim=1).numpy()
                values[rows] = likeness[np.arange(len(likeness)), made.y[rows]]
        return values


def _bytes(x: Images) -> list[Any]:
    """Return images as uint8 (h, w, 3)."""
    coloured = np.broadcast_to(x, (*x.shape[:3], 3)) if x.shape[3] == 1 else x
    return list(np.rint(coloured * 255).astype(np.uint8))


@lru_cache(maxsize=1)
def _loaded(folder: str) -> tuple[Any, Any, Any]:
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    try:
        parts = [
            part.from_pretrained(folder, local_files_only=True)
            for part in (CLIPModel, CLIPTokenizer, CLIPImageProcessorPil)
        ]
    except (OSError, ValueError) as error:
        raise StageError(f"clip: {folder} contains no complete CLIP model: {error}") from None
    model, tokenizer, processor = parts
    return model.eval(), tokenizer, processor
