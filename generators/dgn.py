"""Data generator networks: one autoencoder for each class learns to perturb its images against a frozen target."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.class_generators import ClassExamples, ClassGenerators, GeneratorLoss
from temper.core.artefacts import Examples, Images, Labels, read_json, write_json
from temper.core.attack import attack_facts, shown_predictions
from temper.core.checkpoint import Steps
from temper.core.classifier import Classifier
from temper.core.component import Component, Range, Ref
from temper.core.errors import StageError
from temper.core.families import Generator
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.core.threat_model import ThreatModel
from temper.generators.dgn_networks import Architecture, Init, build, resolve
from temper.generators.dgn_training import GeneratorTrainer, Schedule, learning_rate
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.nn.training.epochs import EpochSettings
from temper.nn.training.training_state import assign, values
from temper.system import backend, csv_files


@dataclass(frozen=True, eq=False)
class DGNNetworks(ClassGenerators):
    """Trained networks by class, the mean loss of each epoch, and the radius their perturbation is clipped to.

    ``eps`` is ``None`` where nothing is clipped.
    """

    kind: ClassVar[str] = "dgn_networks"

    networks: Mapping[int, Any]
    losses: Mapping[int, list[float]]
    eps: float | None
    info: Mapping[str, Any] = field(default_factory=dict)

    def perturb(self, x: Images, labels: Labels) -> Images:
        if unknown := sorted(set(labels.tolist()) - set(self.networks)):
            names = self.info.get("class_names", ())
            name = names[unknown[0]] if unknown[0] < len(names) else unknown[0]
            raise StageError(f"class {name} has no network, since the training part has no image of it")
        made = np.empty_like(x)
        for label in np.unique(labels).tolist():
            rows = np.flatnonzero(labels == label)
            for start in range(0, len(rows), compiled_programs.BATCH):
                part = rows[start : start + compiled_programs.BATCH]
                radius = 1.0 if self.eps is None else self.eps  # the largest distance of two pixels in [0, 1]: no bound
                (made[part],) = compiled_programs.run(self.networks[label], _perturbed, (x[part],), (radius,))
        return made

    def save(self, folder: Path) -> None:
        for label, network in self.networks.items():
            network.save(folder / f"{label}.keras")
        rows = [(label, i + 1, loss) for label, row in self.losses.items() for i, loss in enumerate(row)]
        (folder / "losses.csv").write_bytes(csv_files.encoded([("class", "epoch", "loss"), *rows]))
        write_json(folder / "networks.json", {"classes": list(self.networks), "eps": self.eps, "info": self.info})

    @classmethod
    def load(cls, folder: Path) -> Self:
        raw = read_json(folder / "networks.json")
        models = backend.keras().models
        networks = {
            label: models.load_model(folder / f"{label}.keras", compile=False, safe_mode=True)
            for label in raw["classes"]
        }
        losses: dict[int, list[float]] = {label: [] for label in raw["classes"]}
        columns = {"class": csv_files.Column("int"), "loss": csv_files.Column("float", optional=True)}
        for row in csv_files.read(folder / "losses.csv", columns, csv_files.OWN_LIMIT).rows:
            losses[row["class"]].append(math.nan if row["loss"] is None else row["loss"])
        return cls(networks, losses, raw["eps"], raw["info"])


def _perturbed(call: Call, x: Tensor, radius: Tensor) -> tuple[Tensor]:
    ops = backend.keras().ops
    return (ops.clip(x + ops.clip(call(x) - x, -radius, radius), 0.0, 1.0),)


@dataclass(frozen=True, kw_only=True)
class _TrainingSettings(Component):
    """The parameters that the networks depend on."""

    model: Annotated[Ref[Classifier], "the frozen target"]
    data: Annotated[Ref[Examples] | None, "images to start from; default: the model's data set"] = None
    loss: Annotated[GeneratorLoss, "loss that the networks minimise"]
    eps: Annotated[float, "L-inf radius of the perturbation, in input units", Range(gt=0, le=1)]
    clipping: Annotated[bool, "clip the perturbation to eps; without it eps only enters the loss"] = True
    architecture: Annotated[
        Architecture, "mnist (28x28x1) and cifar (32x32x3) are the published ones; auto uses them where they fit"
    ] = "auto"
    init: Annotated[Init, "initial weights of the encoder: He's, or the artefact's (deviation 0.82, bias 0.1)"] = "he"
    epochs: Annotated[int, "passes over the training images of each class", Range(ge=1)] = 100
    batch_size: Annotated[int, "images per optimiser step", Range(ge=1)] = 100
    learning_rate: Annotated[float, "step size of Adam, at the start", Range(gt=0)] = 1e-4
    lr_schedule: Annotated[Schedule, "staircase: the step size falls by `decay_rate` every `decay_step` steps"] = (
        "staircase"
    )
    decay_step: Annotated[int, "steps after which the step size falls", Range(ge=1)] = 1000
    decay_rate: Annotated[float, "factor of the step size", Range(gt=0, le=1)] = 0.9
    shuffle: Annotated[bool, "shuffle the batches each epoch"] = True

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "epochs": 1}


@dataclass(frozen=True, kw_only=True)
class DGNTraining(Preparation, _TrainingSettings):
    """The training of the data generator networks of all classes.

    Source: DeepCustom, as ``dgn`` says.
    """

    tag = "dgn_training"
    produces = DGNNetworks

    def produce(self, run: Run) -> DGNNetworks:
        assert self.data is not None  # the graph fills in the model's data set
        target, images, seed = run[self.model], run[self.data], run.framework_seed()
        classes = np.unique(images.y).tolist()
        rate = learning_rate(self.learning_rate, self.lr_schedule, self.decay_step, self.decay_rate)
        training: GeneratorTrainer | None = None
        steps = Steps(run.checkpoint)
        networks: dict[int, Any] = {}
        losses: dict[int, list[float]] = {}

        def report(before: int, done: int) -> None:
            run.progress(before + done, self.epochs * len(classes), "epochs")

        for label in classes:
            # A seed per class, or all networks would start from the same weights.
            network = networks[label] = build(self.architecture, images.shape, self.init, seed + label)
            if (kept := steps.finished(str(label))) is not None:
                arrays, losses[label] = kept[0], kept[1]["losses"]
                assign(network.variables, arrays)
                continue
            constants = self.loss.constants(run, label)
            if training is None:
                training = GeneratorTrainer(
                    network, self.loss.frozen_target(target.model), self.loss, self.eps, rate, constants
                )
            rows = np.flatnonzero(images.y == label)
            losses[label] = training.train(
                network,
                images.x[rows],
                images.y[rows],
                constants,
                settings=EpochSettings.of(self),
                seed=seed + label,
                progress=partial(report, len(losses) * self.epochs),
                checkpoint=steps.in_progress(str(label)),
            )
            steps.finish(str(label), values(network.variables), {"losses": losses[label]})
        run.images += self.epochs * len(images)
        info = {
            "loss": self.loss.tag,
            "architecture": resolve(self.architecture, images.shape),
            "class_names": list(run.origin(self.data).classes),
        }
        return DGNNetworks(networks, losses, self.eps if self.clipping else None, info)


@dataclass(frozen=True, kw_only=True)
class DGN(Generator, _TrainingSettings):
    """Data generator networks: a convolutional autoencoder for each class, trained against the frozen target.

    g = G_c(x), x' = clip(x + clip(g - x, -eps, eps), 0, 1), where G_c is trained with ``loss`` on the training images
    of class c. Which network an image passes through depends on a label: with ``selector: true_label``, as published,
    the perturbation reveals the true class, and a model trained on it may exploit that (measured by ``label_leak``).

    The artefact draws its batches in fixed order (``shuffle: false``), never decreases the learning rate
    (``lr_schedule: constant``) except in one of six configurations, and initialises as ``init: legacy``. It also
    computes the statistics of batch normalisation on test images, which is not supported.

    Source: DeepCustom, Improving Robustness of Deep Learning Systems with Fast and Customizable Adversarial Data
    Generation.
    """

    tag = "dgn"
    produces = ClassExamples

    selector: Annotated[
        Literal["true_label", "predicted_label"],
        "network that an image passes through: that of its true class, or of the class the target predicts",
    ] = "true_label"
    keep: Annotated[
        Literal["all", "changed", "misclassified"],
        "images to return: all; those whose predicted class changed; those that are now misclassified",
    ] = "all"

    def check(self) -> Iterator[tuple[str, str]]:
        if self.loss.clip_in_loss and not self.clipping:
            yield (
                "clipping",
                "the loss clips the perturbation (clip_in_loss) but the images are not clipped; set both or neither",
            )

    def preparations(self) -> Mapping[str, Preparation]:
        assert self.data is not None  # the graph fills in the model's data set
        return {"networks": DGNTraining.of(self, data=replace(self.data, part="train"))}

    def produce(self, run: Run) -> ClassExamples:
        assert self.data is not None
        clean, target = run[self.data], run[self.model]
        x = np.asarray(clean.x)
        before = target.predict(x) if self.selector == "predicted_label" or self.keep == "changed" else clean.y
        made = run.prepared("networks").perturb(x, before if self.selector == "predicted_label" else clean.y)
        run.images += len(clean)
        kept = self._kept(target, made, before, clean.y)
        made, y = made[kept], clean.y[kept]
        return ClassExamples(
            x=made, y=y, index=clean.index[kept], info=self._info() | shown_predictions(target, made, y)
        )

    def _kept(self, target: Classifier, made: Images, before: Labels, y: Labels) -> NDArray[np.int64]:
        if self.keep == "all":
            return np.arange(len(made))
        return np.flatnonzero(target.predict(made) != (before if self.keep == "changed" else y))

    def _info(self) -> dict[str, Any]:
        labels = "true" if self.selector == "true_label" else "predicted"
        rule = f"one pass through the network of the {labels} class ({self.loss.tag}), kept: {self.keep}"
        threat = ThreatModel("inf", self.eps) if self.clipping else None
        return attack_facts(self.tag, labels, rule, threat) | {"selector": self.selector}
