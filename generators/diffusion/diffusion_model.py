"""The diffusion model: a denoiser trained on the training images, class by class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from temper.core.artefacts import Artefact, Examples, read_json, write_json
from temper.core.component import Component, Range, Ref
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.generators.diffusion.denoiser import GROUP, build, default_settings
from temper.generators.diffusion.denoiser_training import DenoiserSettings, DenoiserTrainer
from temper.generators.diffusion.inpainting_canvas import SMALLEST, Canvas
from temper.system import backend, csv_files


@dataclass(frozen=True, eq=False)
class DiffusionModel(Artefact):
    """A trained denoiser, diffusers' UNet2DModel, with the canvas it paints on.

    ``classes`` are its training labels; ``losses`` the loss of each training step; ``info`` how it was trained.
    diffusers can load the folder ``network`` of the stored artefact on its own.
    """

    kind: ClassVar[str] = "diffusion_model"

    network: Any
    canvas: Canvas
    classes: tuple[int, ...]
    losses: tuple[float, ...]
    info: Mapping[str, Any]

    def save(self, folder: Path) -> None:
        self.network.save_pretrained(folder / "network", safe_serialization=True)
        losses = csv_files.encoded([("step", "loss"), *enumerate(self.losses, 1)])
        (folder / "losses.csv").write_bytes(losses)
        whole = {"canvas": asdict(self.canvas), "classes": self.classes, "info": self.info}
        write_json(folder / "diffusion.json", whole)

    @classmethod
    def load(cls, folder: Path) -> Self:
        backend.torch()
        from diffusers import UNet2DModel

        raw = read_json(folder / "diffusion.json")
        canvas = Canvas(tuple(raw["canvas"]["shape"]), raw["canvas"]["size"], raw["canvas"]["multiple"])
        network = UNet2DModel.from_pretrained(
            # Local files in a safe format only: loading never runs code or contacts the hub.
            folder / "network",
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
        )
        table = csv_files.read(
            folder / "losses.csv", {"loss": csv_files.Column("float", optional=True)}, csv_files.OWN_LIMIT
        )
        losses = tuple(math.nan if row["loss"] is None else row["loss"] for row in table.rows)
        network.to(backend.torch_device()).eval()
        return cls(network, canvas, tuple(raw["classes"]), losses, raw["info"])


@dataclass(frozen=True, kw_only=True)
class DiffusionSettings(Component):
    """The parameters that a diffusion model depends on besides its data."""

    size: Annotated[
        int | None, "pixels of the longest side of its canvas; default: the images' own, 8 to 64", Range(ge=4, le=512)
    ] = None
    channels: Annotated[
        tuple[int, ...], "channels at each resolution, the finest first, multiples of 8; default: by the images' size"
    ] = ()
    attention: Annotated[bool | None, "self-attention at the lowest resolution; default: by the images' size"] = None
    train_steps: Annotated[
        int | None, "optimiser steps; default: 1500 up to 16 pixels, 2000 up to 28, 20000 above", Range(ge=1)
    ] = None
    train_batch_size: Annotated[int, "images per optimiser step", Range(ge=1)] = 64
    learning_rate: Annotated[float, "largest step size of AdamW", Range(gt=0)] = 2e-3
    warm_up: Annotated[int, "steps during which the step size rises", Range(ge=0)] = 50
    label_dropout: Annotated[
        float, "share of images trained without their class, which guidance needs", Range(ge=0, lt=1)
    ] = 0.1
    ema: Annotated[float, "decay of the exponential moving average of the weights", Range(ge=0, lt=1)] = 0.995
    per_seed: Annotated[bool, "train a model for every seed of the experiment; otherwise one for all"] = False

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "train_steps": 20}

    def check(self) -> Iterator[tuple[str, str]]:
        if wrong := [count for count in self.channels if count < GROUP or count % GROUP]:
            yield "channels", f"expected multiples of {GROUP}, received {wrong[0]}"

    def for_smoke(self) -> Self:
        """Return the smallest denoiser: a step of the default size takes seconds on a CPU."""
        return replace(
            self,
            size=SMALLEST,
            channels=(GROUP, 2 * GROUP),
            attention=False,
            train_batch_size=min(self.train_batch_size, GROUP),
        )


@dataclass(frozen=True, kw_only=True)
class DiffusionTraining(Preparation, DiffusionSettings):
    """Training of a class-conditional diffusion model that inpaints.

    Source: Ho, Jain and Abbeel (2020), Denoising Diffusion Probabilistic Models; Ho and Salimans (2022),
    Classifier-Free Diffusion Guidance; Saharia et al. (2022), Palette: Image-to-Image Diffusion Models; the parts are
    diffusers'.
    """

    tag = "diffusion_training"
    requires = ("diffusers", "torch")
    produces = DiffusionModel

    data: Annotated[Ref[Examples], "the training images"]

    @property
    def stochastic(self) -> bool:
        return self.per_seed

    def stream(self, stage: str) -> str:
        return self.tag

    def produce(self, run: Run) -> DiffusionModel:
        images = run[self.data]
        longest = self.size or max(images.shape[:2])
        settings = default_settings(longest)
        channels = self.channels or settings.channels
        attention = settings.attention if self.attention is None else self.attention
        canvas = Canvas.of(images.shape, self.size, len(channels) - 1)
        seed = run.framework_seed()
        classes = tuple(np.unique(images.y).tolist())
        network = build(canvas, channels, attention, max(classes) + 1, seed).to(backend.torch_device())
        plan = DenoiserSettings(
            steps=self.train_steps or settings.train_steps,
            batch_size=self.train_batch_size,
            learning_rate=self.learning_rate,
            warm_up=self.warm_up,
            label_dropout=self.label_dropout,
            ema=self.ema,
        )
        training = DenoiserTrainer(network, canvas, images.x, images.y, plan, seed)
        if (kept := run.checkpoint.load()) is not None:
            training.restore(kept[0])
        while (done := len(training.losses)) < plan.steps:
            training.step()
            run.progress(done + 1, plan.steps, "steps")
            if run.checkpoint.due:
                run.checkpoint.save(training.state(), {})
        training.finish()
        run.images += plan.steps * plan.batch_size
        info = {**asdict(plan), "channels": channels, "attention": attention, "images": len(images)}
        return DiffusionModel(network, canvas, classes, tuple(training.losses), info)
