"""A generator whose stages share a random stream, some of them equivalent at any parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from temper.core.artefacts import Examples
from temper.core.component import Range, Ref
from temper.core.families import Generator
from temper.core.run import Run
from temper.core.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Speckle(Generator):
    """Images with noise, the same noise in every stage; without contrast all of them are grey.

    Source: made up for the tests.
    """

    tag = "speckle"
    framework = False

    data: Annotated[Ref[Examples], "images to start from"]
    by: Annotated[float, "the largest change of a pixel", Range(ge=0, le=1)] = 0.5
    contrast: Annotated[float, "factor of every deviation from grey", Range(ge=0, le=1)] = 1.0
    counter: Annotated[str | None, "file that gets a line for every time the work is done"] = None

    def stream(self, stage: str) -> str:
        return self.tag

    def equivalent(self) -> Stage:
        return self if self.contrast else replace(self, by=0.0)

    def produce(self, run: Run) -> Examples:
        if self.counter:
            with Path(self.counter).open("a", encoding="utf-8") as stream:
                stream.write(f"{run.stage}\n")
        data = run[self.data]
        noise = run.rng().uniform(-self.by, self.by, data.x.shape).astype(np.float32)
        x = 0.5 + np.float32(self.contrast) * (np.clip(data.x + noise, 0, 1) - 0.5)
        return Examples(x=x.astype(np.float32), y=data.y, index=data.index)
