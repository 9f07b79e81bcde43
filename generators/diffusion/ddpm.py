"""Inpainting with a diffusion model trained on the experiment's own data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.artefacts import Examples
from temper.core.augmenter import AugmenterContext
from temper.core.classifier import Classifier
from temper.core.component import AtOnce, Range, Ref
from temper.core.display_names import display_name
from temper.core.errors import StageError
from temper.core.stage import Preparation
from temper.generators.diffusion.diffusion_model import DiffusionModel, DiffusionSettings, DiffusionTraining
from temper.generators.diffusion.painter import Holes, Painted, Painter
from temper.generators.diffusion.sampling import Mode, Sampler, Tensor
from temper.system import backend


@dataclass(frozen=True, kw_only=True)
class DDPM(Painter, DiffusionSettings):
    """A small class-conditional diffusion model, trained once on the training images, which needs no download.

    ``mode: cond`` conditions the denoiser on the surroundings of the hole; ``replace`` restores them at every step,
    noised; ``repaint`` also repeats noising and denoising ``resamplings`` times per step, so that the hole matches its
    surroundings.

    Source: Ho, Jain and Abbeel (2020), Denoising Diffusion Probabilistic Models; Song, Meng and Ermon (2021), Denoising
    Diffusion Implicit Models; cond: Saharia et al. (2022), Palette: Image-to-Image Diffusion Models; replace: Song et
    al. (2021), Score-Based Generative Modeling through Stochastic Differential Equations; repaint: Lugmayr et al.
    (2022), RePaint: Inpainting using Denoising Diffusion Probabilistic Models; guidance: Ho and Salimans (2022),
    Classifier-Free Diffusion Guidance.
    """

    tag = "ddpm"
    requires = ("diffusers", "torch")

    mode: Annotated[Mode, "how the image around the hole is used"] = "cond"
    steps: Annotated[int, "steps from noise to image", Range(ge=1, le=1000)] = 50
    eta: Annotated[float, "share of fresh noise at each step: 1 as DDPM, 0 as DDIM", Range(ge=0, le=1)] = 1.0
    guidance: Annotated[
        float,
        "weight of the class against no class; 1 runs the denoiser once per step, others twice",
        Range(ge=0),
    ] = 2.0
    resamplings: Annotated[int, "repetitions of each step, in mode repaint", Range(ge=1)] = 5
    batch_size: Annotated[int, "images painted at once", Range(ge=1), AtOnce()] = 64

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "steps": 4}

    def check(self) -> Iterator[tuple[str, str]]:
        yield from super().check()
        if self.guidance != 1 and not self.label_dropout:
            yield (
                "guidance",
                "needs a model trained on images without their class as well; set label_dropout, or guidance: 1",
            )

    def preparations(self, model: Ref[Classifier], data: Ref[Examples]) -> Mapping[str, Preparation]:
        return {display_name(self): DiffusionTraining.of(self, data=data)}

    def paint(self, holes: Holes, context: AugmenterContext) -> Painted:
        model: DiffusionModel = context.run.prepared(display_name(self))
        if unseen := sorted(set(holes.labels.tolist()) - set(model.classes)):
            name = context.info.class_names[unseen[0]]
            raise StageError(f"ddpm: class {name} cannot be painted, since no training image shows it")
        x = np.empty_like(holes.seeds.x)
        for rows, batch in holes.batches(self.batch_size):
            x[rows] = model.canvas.pixels(self._batch(model, batch))
        return Painted(x)

    def _batch(self, model: DiffusionModel, holes: Holes) -> Tensor:
        torch, device, canvas = backend.torch(), backend.torch_device(), model.canvas
        known, masks = canvas.images(holes.seeds.x).to(device), canvas.masks(holes.masks).to(device)
        # Random numbers are drawn image by image on the CPU: the same in any batch and on any device.
        streams = [holes.seeds.rng(row, self.tag) for row in range(len(holes))]

        def draw() -> Tensor:
            numbers = [stream.standard_normal(tuple(known.shape[1:]), np.float32) for stream in streams]
            return torch.from_numpy(np.stack(numbers)).to(device)

        # A copy, since torch warns of arrays that are read-only.
        labels = torch.from_numpy(np.array(holes.labels)).to(device)
        sampler = Sampler(self.mode, self.steps, self.eta, self.guidance, self.resamplings)
        return sampler.paint(model.network, known, masks, labels, draw)
