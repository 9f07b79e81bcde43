"""The families of components: what each section of an experiment file may hold, and what its stages return.

A family's ``produce`` is final and owns what must be the same for all its members; a member fills one hole.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from core.artefacts import Artefact, Data, DataInfo, Examples, Images, Labels, Results, Row
from core.classifier import Classifier
from core.component import PARTS, Component, Part, Range, Ref
from core.faults import StageError
from core.images import prepare
from core.run import Run
from core.stratify import stratified
from core.threat import ThreatModel

Source = tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]
"""What a data set loads: (training images, labels), (test images, labels)."""


SHOWN = 8
"""Images of each set that the report shows, with the attacked model's predictions."""


class Stage(Component):
    """A component that stands in a section of the experiment file and returns an artefact."""

    section: ClassVar[str]
    produces: ClassVar[type[Artefact]]
    framework: ClassVar[bool] = True
    """Whether the work takes a framework, which is then imported before its cost is measured."""

    @abstractmethod
    def produce(self, run: Run) -> Artefact:
        """Do the work and return the artefact."""


@dataclass(frozen=True, kw_only=True)
class Dataset(Stage):
    """Labelled images in three parts.

    Members fill ``load`` and ``source_info``, and ``check_source`` and ``source_sizes`` where they can tell at once.
    The index of an image is its position in the part that ``load`` returned, whatever was left out since.
    """

    section = "datasets"
    produces = Data
    framework = False

    classes: Annotated[tuple[int, ...], "keep only these classes, relabelled 0, 1, ... in this order; empty: all"] = ()
    train_size: Annotated[int | None, "training images to keep, stratified; default: all", Range(ge=1)] = None
    test_size: Annotated[int | None, "test images to keep, stratified; default: all", Range(ge=1)] = None
    validation: Annotated[float, "share of the training images held out for validation", Range(ge=0, lt=1)] = 0.0
    split_seed: Annotated[int, "seed of the stratified choices, whatever the experiment's seeds", Range(ge=0)] = 0
    resize: Annotated[
        int | None, "height and width to scale the images to, bilinearly; default: as is", Range(ge=1)
    ] = None
    grey: Annotated[bool, "convert colour images to one grey channel (ITU-R 601 luma)"] = False

    @abstractmethod
    def load(self) -> Source:
        """Return (training images, labels), (test images, labels).

        Images are (n, height, width, channels), uint8 or float in [0, 1]; labels whole numbers (n,) from 0.

        Raises:
            StageError: the data are missing or damaged.
        """

    @abstractmethod
    def source_info(self) -> DataInfo:
        """Return shape and class names as ``load`` will give them, cheaply, without a framework.

        Raises:
            StageError: ``check_source`` has something to say.
        """

    def check_source(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every fault of the files themselves, without reading them whole."""
        yield from ()

    def source_sizes(self) -> tuple[int, int] | None:
        """Return how many training and test images ``load`` will give, where that is known without loading."""
        return None

    @final
    def info(self) -> DataInfo:
        """Return shape and class names as ``produce`` gives them: with ``classes``, ``grey`` and ``resize`` applied."""
        source = self.source_info()
        height, width, channels = source.shape
        names = source.class_names
        return DataInfo(
            (self.resize or height, self.resize or width, 1 if self.grey else channels),
            tuple(names[i] for i in self.classes) if self.classes else names,
        )

    @final
    def check(self) -> Iterator[tuple[str, str]]:
        faults = list(self.check_source())
        yield from faults
        if faults:
            return
        source = self.source_info()
        if outside := [i for i in self.classes if not 0 <= i < source.num_classes]:
            yield "classes", f"there is no class {outside[0]}; expected 0 to {source.num_classes - 1}"
        if len(set(self.classes)) < len(self.classes):
            yield "classes", f"a class is named twice in {list(self.classes)}; name each once"
        if self.grey and source.shape[2] not in (1, 3):
            yield "grey", f"the images have {source.shape[2]} channels; expected 1 or 3"
        for field, size, available in zip(
            ("train_size", "test_size"), (self.train_size, self.test_size), self.source_sizes() or (), strict=False
        ):
            if size is not None and size > available:
                yield field, f"{size} images are asked for; expected at most {available}, which is all there are"

    @final
    def produce(self, run: Run) -> Data:
        source = self.source_info()
        (train_x, train_y), (test_x, test_y) = self.load()
        train = self._chosen("train", train_x, train_y, source)
        test = self._chosen("test", test_x, test_y, source)
        held_out = np.zeros(len(train), bool)
        held_out[self._held_out(train_y[train])] = True
        run.images += len(train) + len(test)
        return Data(
            self.info(),
            train=self._examples(train_x, train_y, train[~held_out]),
            validation=self._examples(train_x, train_y, train[held_out]),
            test=self._examples(test_x, test_y, test),
        )

    def _chosen(self, part: Literal["train", "test"], x: NDArray[Any], y: NDArray[Any], source: DataInfo) -> Labels:
        """Return the positions to keep of a loaded part, having checked the part."""
        if x.shape[1:] != source.shape or y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
            raise StageError(
                f"{self.tag}, {part}: expected images (n, {source.shape}) and whole labels (n,), "
                f"received {x.shape} and {y.dtype} {y.shape}; repair the data set"
            )
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < source.num_classes:
            raise StageError(
                f"{self.tag}, {part}: expected labels 0 to {source.num_classes - 1}, "
                f"received {y.min()} to {y.max()}; repair the data set"
            )
        rows = np.flatnonzero(np.isin(y, self.classes)) if self.classes else np.arange(len(y))
        size = self.train_size if part == "train" else self.test_size
        if size is not None and size > len(rows):
            of = f" of classes {list(self.classes)}" if self.classes else ""
            raise StageError(f"{self.tag}: {part}_size is {size}, but there are {len(rows)} images{of}; ask for fewer")
        if not len(rows):
            raise StageError(f"{self.tag}, {part}: no image is left; keep other classes")
        return rows[stratified(y[rows], len(rows) if size is None else size, self._rng(part))]

    def _held_out(self, y: NDArray[Any]) -> Labels:
        size = round(self.validation * len(y))
        if self.validation and size in (0, len(y)):
            raise StageError(
                f"{self.tag}: validation={self.validation:g} of {len(y)} training images leaves a part empty; "
                "choose a share that leaves at least one image on each side"
            )
        return stratified(y, size, self._rng("validation"))

    def _rng(self, part: Part) -> np.random.Generator:
        return np.random.default_rng([self.split_seed, PARTS.index(part)])

    def _examples(self, x: NDArray[Any], y: NDArray[Any], rows: Labels) -> Examples:
        labels = y[rows].astype(np.int64)
        if self.classes:
            labels = np.array([self.classes.index(label) for label in labels], np.int64)
        try:
            images = prepare(x, rows, grey=self.grey, size=self.resize)
        except ValueError as error:
            raise StageError(f"{self.tag}: {error}") from None
        return Examples(x=images, y=labels, index=rows)

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
    labels: Annotated[
        Literal["true", "predicted"], "labels whose loss is raised: the true ones, or the model's own"
    ] = "true"
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
    def craft(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        """Return one batch (n, h, w, c) with true labels ``y`` (n,) perturbed, clipped to [0, 1] and inside the ball."""
        labels = y if self.labels == "true" else victim.predict(x)
        return self._bounded(self.perturb(victim, x, labels, rng), x)

    @final
    def produce(self, run: Run) -> Examples:
        assert self.data is not None  # the graph fills in the model's data set
        clean, victim = run[self.data], run[self.model]
        rng = run.rng()
        x = np.empty_like(clean.x)
        for start in range(0, len(clean), self.batch_size):
            batch = slice(start, start + self.batch_size)
            x[batch] = self.craft(victim, np.asarray(clean.x[batch]), clean.y[batch], rng)
            run.progress(min(start + self.batch_size, len(clean)), len(clean), "images")
        run.images += len(clean)
        shown = victim.predict(x[:SHOWN]).tolist()
        info = self._honesty() | {"predicted": shown}
        return Examples(x=x, y=clean.y, index=clean.index, info=info)

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
