"""Inpainting with a pipeline from the Hugging Face hub or from a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Annotated, Any

import numpy as np

from temper.core.artefacts import Images
from temper.core.augmenter import AugmenterContext, Seeds
from temper.core.component import AtOnce, File, Range
from temper.core.errors import StageError
from temper.generators.diffusion.inpainting_canvas import Canvas
from temper.generators.diffusion.model_folder import ModelFolder
from temper.generators.diffusion.painter import Holes, Painted, Painter
from temper.generators.diffusion.pretrained import Number, PretrainedPipeline
from temper.nn.images.preprocessing import LUMA
from temper.system import backend

MULTIPLE = 16
"""The divisor of both sides of a canvas that suits the autoencoders of all pipelines."""

_IGNORES_MASK = (
    "was trained to generate whole images and never gets the mask: its output may not fit its surroundings. A model "
    "for "
    "inpainting takes the mask and the surrounding image as further channels."
)
_COMMIT = r"[0-9a-f]{40}"


@dataclass(frozen=True, kw_only=True)
class Pipeline(Painter):
    """A text-guided inpainting pipeline of diffusers: Stable Diffusion 1.5, 2 or XL, or any other of its kind.

    It is loaded once for a run. Images are enlarged to ``size`` and the result is scaled back to their own; grey ones
    are repeated in three channels, and the result is converted back to grey. Every image has its own random stream.
    Only weights in the safetensors format are read. A model of the hub is named with its commit, which enters the
    fingerprint as the content of a folder does. huggingface_hub reads a token, if one is needed, from its own
    environment variable.

    Source: Rombach, Blattmann, Lorenz, Esser and Ommer (2022), High-Resolution Image Synthesis with Latent Diffusion
    Models; GenerativeRepair, whose prompts are the template's.
    """

    tag = "pipeline"
    requires = ("diffusers", "huggingface_hub", "torch", "transformers")

    hub: Annotated[str | None, "id of the model on the Hugging Face hub, such as owner/name"] = None
    folder: Annotated[str | None, "folder that holds the model, in place of hub", File()] = None
    revision: Annotated[
        str | None, "commit of the model on the hub, 40 hexadecimal digits; branches and tags may move"
    ] = None
    variant: Annotated[str | None, "variant of the model's weights, such as fp16; default: the plain ones"] = None
    offline: Annotated[bool, "use only downloaded models; a folder never contacts the hub"] = True
    dtype: Annotated[Number, "number format; auto is float16 on a GPU and float32 elsewhere"] = "auto"
    cpu_offload: Annotated[bool, "keep only the active part of the model on the GPU; needs the package accelerate"] = (
        False
    )
    safety_checker: Annotated[bool, "keep the model's safety checker, if it has one; images it flags are refused"] = (
        True
    )
    prompt: Annotated[str, "what to paint; {source} is the seed's class and {target} the class to paint"] = (
        "high-fidelity image of a {target}"
    )
    negative_prompt: Annotated[str | None, "what not to paint"] = None
    strength: Annotated[
        float, "share of the noise that the hole starts from; below 1 it shows through", Range(gt=0, le=1)
    ] = 1.0
    guidance_scale: Annotated[
        float, "weight of the prompt against none; 1 or less runs the model once per step", Range(ge=0)
    ] = 7.5
    steps: Annotated[int, "steps from noise to image; a strength below 1 skips some", Range(ge=1)] = 50
    size: Annotated[
        int, "pixels of the longest side the model paints on; the model's own is best", Range(ge=16, le=2048)
    ] = 512
    batch_size: Annotated[int, "images painted at once", Range(ge=1), AtOnce()] = 4

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "steps": 4}

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.hub is None) == (self.folder is None):
            yield "", "expected either hub, the id of a model, or folder, its path"
        if self.hub is not None and (self.hub.count("/") > 1 or self.hub.startswith((".", "/", "~"))):
            yield "hub", f"expected an id such as owner/name, received {self.hub}; set a local path as `folder`"
        elif self.hub is not None and Path(self.hub).is_dir():
            yield (
                "hub",
                f"a local folder {self.hub} exists, which would be read instead of the hub; set it as `folder`",
            )
        if self.hub is not None and self.folder is None and not re.fullmatch(_COMMIT, self.revision or ""):
            yield (
                "revision",
                f"expected the commit of {self.hub}, 40 hexadecimal digits, received {self.revision or 'none'}; a "
                "branch or a tag "
                "may change. The model's page on the hub lists its commits, and "
                f"`hf download {self.hub}` prints the one it downloads, as the last part of a path",
            )
        if self.hub is None and self.folder is not None:
            yield from ModelFolder(Path(self.folder), self.variant).problems()
        if self.folder is not None and self.revision is not None:
            yield "revision", "applies to models of the hub only; a folder holds one revision"
        if int(self.steps * self.strength) < 1:
            yield "strength", f"leaves none of {self.steps} steps; raise it to at least {1 / self.steps:.3g}"
        if wrong := _not_a_template(self.prompt):
            yield "prompt", f"expected {{source}} and {{target}} alone in braces, received {wrong}"

    def paint(self, holes: Holes, context: AugmenterContext) -> Painted:
        pretrained = PretrainedPipeline(
            name=self.hub or self.folder or "",
            revision=self.revision,
            variant=self.variant,
            offline=self.offline,
            dtype=self.dtype,
            cpu_offload=self.cpu_offload,
            safety_checker=self.safety_checker,
        )
        model = pretrained.pipeline()
        if _ignores_mask(model):
            context.run.remark(f"pipeline: {pretrained.name} {_IGNORES_MASK}")
        # Pipelines take colour images only.
        canvas = Canvas((*holes.seeds.x.shape[1:3], 3), self.size, MULTIPLE, smooth=True)
        x = np.empty_like(holes.seeds.x)
        refused: dict[int, str] = {}
        for rows, batch in holes.batches(self.batch_size):
            images, objections = self._batch(model, canvas, batch, context.info.class_names)
            x[rows] = images
            refused |= {rows.start + row: reason for row, reason in objections.items()}
        return Painted(x, refused)

    def _batch(self, model: Any, canvas: Canvas, holes: Holes, names: tuple[str, ...]) -> tuple[Images, dict[int, str]]:
        torch, seeds = backend.torch(), holes.seeds
        prompts = [
            self.prompt.format(source=names[source], target=names[target])
            for source, target in zip(seeds.y.tolist(), holes.labels.tolist(), strict=True)
        ]
        options = {} if self.negative_prompt is None else {"negative_prompt": [self.negative_prompt] * len(holes)}
        try:
            done = model(
                prompt=prompts,
                image=(canvas.images(_coloured(seeds.x)) + 1) / 2,
                mask_image=canvas.masks(holes.masks),
                height=canvas.rows,
                width=canvas.columns,
                strength=self.strength,
                guidance_scale=self.guidance_scale,
                num_inference_steps=self.steps,
                generator=[_generator(seeds, row) for row in range(len(holes))],
                output_type="pt",
                **options,
            )
        except torch.OutOfMemoryError as error:
            raise StageError(
                f"pipeline: out of GPU memory for {len(holes)} images of {canvas.rows} x {canvas.columns} pixels; "
                "lower "
                "batch_size or size, or set cpu_offload: true"
            ) from error
        images = done.images.float()
        unsafe = getattr(done, "nsfw_content_detected", None) or [False] * len(holes)
        finite = torch.isfinite(images).flatten(1).all(1).tolist()
        refused = {row: "flagged by the safety checker" for row, found in enumerate(unsafe) if found}
        refused |= {row: "the output is not finite; use dtype: float32" for row, fine in enumerate(finite) if not fine}
        x = canvas.pixels(2 * images.nan_to_num() - 1)
        return (x if seeds.x.shape[3] == 3 else (x @ LUMA)[..., None]), refused


def _ignores_mask(model: Any) -> bool:
    """Return whether the network takes the noisy image alone, without a mask."""
    network, coder = (getattr(getattr(model, name, None), "config", None) for name in ("unet", "vae"))
    channels, latent = getattr(network, "in_channels", None), getattr(coder, "latent_channels", None)
    # A model trained for inpainting takes the mask and the masked image as further channels.
    return channels is not None and channels == latent


def _not_a_template(prompt: str) -> str:
    """Return the invalid content of a prompt's braces; empty if there is none."""
    try:
        fields = [(name, spec, change) for _, name, spec, change in Formatter().parse(prompt) if name is not None]
    except ValueError as error:
        return str(error)
    return next(
        (f"{{{name}}}" for name, spec, change in fields if name not in ("source", "target") or spec or change), ""
    )


def _coloured(x: Images) -> Images:
    """Return images (n, h, w, c) with three channels.

    Raises:
        StageError: they have neither one channel nor three.
    """
    if x.shape[3] not in (1, 3):
        raise StageError(f"pipeline: expected images of 1 or 3 channels, received {x.shape[3]}")
    return x if x.shape[3] == 3 else np.repeat(x, 3, axis=3)


def _generator(seeds: Seeds, row: int) -> Any:
    """Return the random stream of one image, on the CPU so that it is the same on any device."""
    return backend.torch().Generator("cpu").manual_seed(int(seeds.rng(row, Pipeline.tag).integers(2**63)))
