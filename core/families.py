"""The families of components: what each section of an experiment file may hold, and what its stages return.

A family's ``produce`` is final and owns what must be the same for all its members; a member fills one hole.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, final

import numpy as np

from core.artefacts import Artefact, Data, DataInfo, Examples, Images, Labels, Results, Row
from core.classifier import Classifier
from core.component import Component, Part, Range, Ref
from core.run import Run
from core.threat import ThreatModel


class Stage(Component):
    """A component that stands in a section of the experiment file and returns an artefact."""

    section: ClassVar[str]
    produces: ClassVar[type[Artefact]]

    @abstractmethod
    def produce(self, run: Run) -> Artefact:
        """Do the work and return the artefact."""


@dataclass(frozen=True, kw_only=True)
class Dataset(Stage):
    """Labelled images in three parts. Members fill ``load`` and ``info``."""

    section = "datasets"
    produces = Data

    classes: Annotated[tuple[int, ...], "keep only these classes, relabelled 0, 1, ... in this order; empty: all"] = ()
    train_size: Annotated[int | None, "training images to keep, stratified; default: all", Range(ge=1)] = None
    test_size: Annotated[int | None, "test images to keep, stratified; default: all", Range(ge=1)] = None
    validation: Annotated[float, "share of the training images held out as the validation part", Range(ge=0, lt=1)] = 0.0
    split_seed: Annotated[int, "seed of the stratified choices, the same for all seeds of the experiment", Range(ge=0)] = 0
    resize: Annotated[int | None, "height and width to scale the images to (bilinear); default: as they are", Range(ge=1)] = None
    grey: Annotated[bool, "convert colour images to one grey channel (ITU-R 601 luma)"] = False

    @abstractmethod
    def load(self) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
        """Return (training images, labels), (test images, labels): uint8 or float in [0, 1], labels (n,)."""

    @abstractmethod
    def source_info(self) -> DataInfo:
        """Return shape and class names as ``load`` will give them, cheaply, without a framework."""

    @property
    def stochastic(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class Target(Stage):
    """A classifier under test."""

    section = "targets"
    produces = Classifier

    dataset: Annotated[Ref[Data], "the data set this model classifies"]

    def fits(self, info: DataInfo) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every way this model cannot take the data set; imports no framework."""
        yield from ()


class Localiser(Stage):
    """Finds which neurons or pixels are to blame. Members set ``produces`` to what they return."""

    section = "localise"


class Generator(Stage):
    """Makes test inputs, one part (training, validation, test) at a time: ``run.part``."""

    section = "generate"
    produces = Examples

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "test" if field_name == "data" else "train"


@dataclass(frozen=True, kw_only=True)
class Attack(Generator):
    """A generator that perturbs each image of a part against a model; the labels stay."""

    model: Annotated[Ref[Classifier], "the model to attack"]
    data: Annotated[Ref[Examples] | None, "images to start from; default: the model's data set"] = None
    labels: Annotated[Literal["true", "predicted"], "labels whose loss is raised: the true ones, or the model's own"] = "true"
    batch_size: Annotated[int, "images perturbed at once", Range(ge=1)] = 500

    @property
    def threat(self) -> ThreatModel | None:
        """The ball every perturbed image must lie in; ``None`` for an attack without a bound."""
        return None

    @property
    def step_rule(self) -> str:
        """How far each step goes, in words, for the report."""
        return ""

    @abstractmethod
    def perturb(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        """Return ``x`` (n, h, w, c) perturbed so that ``victim`` does not give ``y`` (n,)."""

    @final
    def produce(self, run: Run) -> Examples:
        assert self.data is not None  # the graph fills in the model's data set
        clean, victim = run[self.data], run[self.model]
        rng = run.rng()
        x = np.empty_like(clean.x)
        for start in range(0, len(clean), self.batch_size):
            batch = slice(start, start + self.batch_size)
            images = np.asarray(clean.x[batch])
            labels = clean.y[batch] if self.labels == "true" else victim.predict(images)
            x[batch] = self._bounded(self.perturb(victim, images, labels, rng), images)
            run.progress(min(start + self.batch_size, len(clean)), len(clean), "images")
        run.images += len(clean)
        return Examples(x=x, y=clean.y, index=np.arange(len(clean)), info=self._honesty())

    def _bounded(self, adversarial: Images, clean: Images) -> Images:
        adversarial = np.clip(np.asarray(adversarial, np.float32), 0.0, 1.0)
        if adversarial.shape != clean.shape:
            raise ValueError(f"{self.tag}: expected images {clean.shape}, received {adversarial.shape}")
        if self.threat is not None and not (inside := self.threat.contains(adversarial - clean)).all():
            raise ValueError(f"{self.tag}: {(~inside).sum()} images left the ball {self.threat}")
        return adversarial

    def _honesty(self) -> dict[str, Any]:
        bound = {"norm": self.threat.norm, "eps": self.threat.eps} if self.threat else {}
        return {"attack": self.tag, "labels": self.labels, "step_rule": self.step_rule, **bound}


class Repair(Stage):
    """Makes a better (or a regressed) model out of another."""

    section = "repair"
    produces = Classifier


class Evaluation(Stage):
    """Measures; returns tidy rows and writes nothing.

    ``expand`` splits an evaluation into cells, each the same component with narrower fields, that are computed,
    kept and may fail on their own. ``metrics`` names what it measures, the headline first; ``rows`` and ``columns``
    lay out its default table, which shows the headline unless ``metric`` is among them.
    """

    section = "evaluate"
    produces = Results
    metrics: ClassVar[tuple[str, ...]]
    rows: ClassVar[tuple[str, ...]] = ("model",)
    columns: ClassVar[tuple[str, ...]] = ("examples",)

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "test"

    @property
    def stochastic(self) -> bool:
        return False

    def expand(self) -> Iterator[Evaluation]:
        """Yield the cells; by default the evaluation itself."""
        yield self

    def about(self) -> dict[str, str]:
        """Return what a cell's rows say in the columns ``model`` and ``examples``, for a cell that has no rows yet."""
        return {}

    @abstractmethod
    def measure(self, run: Run) -> Iterable[Row]:
        """Yield the rows of one cell."""

    @final
    def produce(self, run: Run) -> Results:
        return Results(tuple(self.measure(run)))


SECTIONS: dict[str, type[Stage]] = {
    family.section: family for family in (Dataset, Target, Localiser, Generator, Repair, Evaluation)
}
