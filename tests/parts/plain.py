"""Components without a framework, for tests of the engine: data, a generator, evaluations that count, fail and die."""

from __future__ import annotations

import os
import signal
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from temper.core.artefacts import Artefact, Examples, Row
from temper.core.component import AtOnce, Component, File, Range, Ref
from temper.core.data_info import DataInfo
from temper.core.dataset import Dataset, Source
from temper.core.errors import UndertrainedModelError
from temper.core.families import Evaluation, Generator
from temper.core.run import Run
from temper.core.stage import Preparation


@dataclass(frozen=True, kw_only=True)
class Plain(Dataset):
    """Grey images of one shade each.

    Source: made up for the tests.
    """

    tag = "plain"

    images: Annotated[int, "images of each part", Range(ge=1)] = 6

    def source_info(self) -> DataInfo:
        return DataInfo((2, 2, 1), ("dark", "light"))

    def source_sizes(self) -> tuple[int, int]:
        return self.images, self.images

    def load(self) -> Source:
        shades = np.linspace(0, 1, self.images, dtype=np.float32)
        x = np.tile(shades[:, None, None, None], (1, 2, 2, 1))
        y = (shades > 0.5).astype(np.int64)
        return (x, y), (x, y)


class Noise(Component):
    """A family of nested components that sample a shift."""

    @abstractmethod
    def draw(self, run: Run) -> float:
        """Return the shift."""


@dataclass(frozen=True, kw_only=True)
class Fixed(Noise):
    """A constant shift.

    Source: made up for the tests.
    """

    tag = "fixed"

    by: Annotated[float, "the shift, in pixel values", Range(ge=0, le=1)]

    @property
    def stochastic(self) -> bool:
        return False

    def draw(self, run: Run) -> float:
        return self.by


@dataclass(frozen=True, kw_only=True)
class Drawn(Noise):
    """A random shift.

    Source: made up for the tests.
    """

    tag = "drawn"

    like: Annotated[Ref[Examples] | None, "examples whose number of images sets the scale"] = None

    def draw(self, run: Run) -> float:
        return float(run.rng().random()) / (len(run[self.like]) if self.like else 1)


@dataclass(frozen=True, kw_only=True)
class Written(Noise):
    """The shift in a text file.

    Source: made up for the tests.
    """

    tag = "written"

    path: Annotated[str, "the file with the shift, in pixel values", File()]

    @property
    def stochastic(self) -> bool:
        return False

    def draw(self, run: Run) -> float:
        return float(Path(self.path).read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class Shift(Generator):
    """Brightened images.

    Source: made up for the tests.
    """

    tag = "shift"
    framework = False

    data: Annotated[Ref[Examples], "images to start from"]
    noise: Noise
    seconds: Annotated[float, "how long the work pretends to take", Range(ge=0)] = 0.0
    counter: Annotated[str | None, "file that gets a line for every time the work is done"] = None

    @property
    def stochastic(self) -> bool:
        return self.noise.stochastic

    def produce(self, run: Run) -> Examples:
        if self.counter:
            with Path(self.counter).open("a", encoding="utf-8") as stream:
                stream.write(f"{run.stage}.{run.part}\n")
        time.sleep(self.seconds)
        data = run[self.data]
        run.progress(len(data), len(data), "images")
        x = np.clip(data.x + np.float32(self.noise.draw(run)), 0, 1)
        return Examples(x=x, y=data.y, index=data.index)


@dataclass(frozen=True, kw_only=True)
class Walk(Generator):
    """Images brightened by the mean of many numbers, sampled one by one and checkpointed on a stop request.

    Source: made up for the tests.
    """

    tag = "walk"
    framework = False

    data: Annotated[Ref[Examples], "images to start from"]
    steps: Annotated[int, "numbers to draw", Range(ge=1)] = 100
    seconds: Annotated[float, "how long each takes", Range(ge=0)] = 0.0
    counter: Annotated[str | None, "file that gets a line with the number of the first step of every attempt"] = None

    def produce(self, run: Run) -> Examples:
        kept = run.checkpoint.load()
        drawn = list(kept[0]["drawn"]) if kept else []
        _count(self.counter, run, str(len(drawn)))
        while len(drawn) < self.steps:
            drawn.append(run.rng(str(len(drawn))).random())
            time.sleep(self.seconds)
            run.progress(len(drawn), self.steps, "steps")
            if run.checkpoint.due:
                run.checkpoint.save({"drawn": np.array(drawn)}, {})
        data = run[self.data]
        return Examples(x=np.clip(data.x + np.float32(np.mean(drawn)), 0, 1), y=data.y, index=data.index)


@dataclass(frozen=True, kw_only=True)
class Learner(Generator):
    """Images mirrored at the mean of the training images.

    Source: made up for the tests.
    """

    tag = "learner"
    framework = False

    data: Annotated[Ref[Examples], "images to start from"]
    counter: Annotated[str | None, "file that gets a line for every time work is done"] = None

    @property
    def stochastic(self) -> bool:
        return False

    def preparations(self) -> Mapping[str, Preparation]:
        return {"mean": MeanImage.of(self, data=replace(self.data, part="train"))}

    def produce(self, run: Run) -> Examples:
        _count(self.counter, run, run.part or "")
        data, mean = run[self.data], run.prepared("mean")
        return Examples(x=np.clip(2 * mean.x - data.x, 0, 1), y=data.y, index=data.index)


@dataclass(frozen=True, kw_only=True)
class MeanImage(Preparation):
    """The mean of images.

    Source: made up for the tests.
    """

    tag = "mean_image"
    produces = Examples
    framework = False

    data: Annotated[Ref[Examples], "images to take the mean of"]
    counter: Annotated[str | None, "file that gets a line for every time work is done"] = None

    @property
    def stochastic(self) -> bool:
        return False

    def produce(self, run: Run) -> Examples:
        _count(self.counter, run, "learns")
        data = run[self.data]
        return Examples(x=data.x.mean(axis=0, keepdims=True), y=data.y[:1], index=data.index[:1])


def _count(counter: str | None, run: Run, what: str) -> None:
    if counter:
        with Path(counter).open("a", encoding="utf-8") as stream:
            stream.write(f"{run.stage} {what}\n")


@dataclass(frozen=True, kw_only=True)
class Shade(Evaluation):
    """The mean shade of examples.

    Source: made up for the tests.
    """

    tag = "shade"
    metrics = ("shade",)
    framework = False
    rows = ("examples",)
    columns = ("metric",)

    examples: Annotated[tuple[Ref[Examples], ...], "what to measure"]
    scale: Annotated[int, "factor of the result", Range(ge=1)] = 1

    def expand(self) -> Iterator[Shade]:
        for ref in self.examples:
            yield Shade(examples=(ref,), scale=self.scale)

    def about(self) -> dict[str, str]:
        return {"examples": self.examples[0].label}

    def measure(self, run: Run) -> Iterable[Row]:
        examples = run[self.examples[0]]
        value = float(examples.x.mean()) * self.scale
        yield Row(metric="shade", value=value, n=len(examples), unit="pixels", higher_is_better=None, **self.about())


@dataclass(frozen=True, kw_only=True)
class Trouble(Generator):
    """Raises an exception, kills its own process or never ends, unless a file exists.

    Source: made up for the tests.
    """

    tag = "trouble"
    framework = False

    data: Annotated[Ref[Examples], "images to pass on"]
    how: Annotated[str, "raise, untaught, memory, kill, crash, hang, remark or judged"]
    unless: Annotated[str | None, "a file whose presence means that all is well"] = None
    counter: Annotated[str | None, "file that gets a line for every trouble"] = None

    @property
    def stochastic(self) -> bool:
        return self.how == "judged"

    def produce(self, run: Run) -> Examples:
        if self.unless is None or not Path(self.unless).exists():
            _count(self.counter, run, self.how)
            match self.how:
                case "kill":
                    os.write(2, b"last words\n")
                    os.kill(os.getpid(), signal.SIGKILL)
                case "untaught":
                    raise UndertrainedModelError("the model says the same of all")
                case "memory":
                    raise MemoryError
                case "crash":
                    signal.raise_signal(signal.SIGSEGV)
                case "hang":
                    time.sleep(3600)
                case "remark":
                    run.remark("these images are odd.")
                case "judged":
                    pass
                case _:
                    raise RuntimeError("asked to fail")
        data = run[self.data]
        return Examples(x=np.array(data.x), y=data.y, index=data.index)

    def review(self, artefact: Artefact, run: Run) -> None:
        if self.how == "judged":
            run.remark(f"taught nothing with seed {run.seed}.", smoke=False)


@dataclass(frozen=True, kw_only=True)
class Hungry(Generator):
    """Images brightened by `width` in 100, with memory for `batch_size` times `width` numbers.

    Source: made up for the tests.
    """

    tag = "hungry"
    framework = False

    data: Annotated[Ref[Examples], "images to make lighter"]
    batch_size: Annotated[int, "images made lighter at once", Range(ge=1), AtOnce()] = 100
    width: Annotated[int, "hundredths by which they are made lighter", Range(ge=1)] = 10
    room: Annotated[int, "numbers there is memory for", Range(ge=1)] = 1000
    killed: Annotated[bool, "be killed for want of it, and not told"] = False

    @property
    def stochastic(self) -> bool:
        return False

    def produce(self, run: Run) -> Examples:
        if self.batch_size * self.width > self.room:
            if self.killed:
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError(f"no room for {self.batch_size} x {self.width}")
        data = run[self.data]
        return Examples(x=np.clip(data.x + np.float32(self.width / 100), 0, 1), y=data.y, index=data.index)


@dataclass(frozen=True, kw_only=True)
class FromFile(Generator):
    """As many copies of an image as a text file states.

    Source: made up for the tests.
    """

    tag = "from_file"
    framework = False

    data: Annotated[Ref[Examples], "images to copy"]
    path: Annotated[str, "the file with the number", File()]

    @property
    def stochastic(self) -> bool:
        return False

    def produce(self, run: Run) -> Examples:
        times = int(Path(self.path).read_text(encoding="utf-8"))
        data = run[self.data]
        take = np.zeros(times, np.int64)
        return Examples(x=data.x[take], y=data.y[take], index=data.index[take])
