"""A model that learns one thing after another, with a memory of what was before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import backend
from core.artefacts import Images
from core.classifier import Classifier
from core.incremental import Rivals
from core.networks.trainers import trainer
from core.networks.training import Optimizer, finite, new_optimizer, steps_per_call
from core.run import Run
from repair.continual.objective import BEFORE, LABELS, objective, set_objective
from repair.continual.regularisers import Distillation, Penalty, Regulariser
from repair.continual.replay import Labelled, Rows, balanced, epoch


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How each step is learnt; ``steps`` is how many there will be, for the progress."""

    memory_per_class: int
    regulariser: Regulariser | None
    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Optimizer
    steps: int = 1


class Learner:
    """A Keras model in training, with what it remembers.

    Attributes:
        model: the model, which is changed in place.
        memory: the images that are replayed.
    """

    def __init__(self, model: Any, settings: Settings, run: Run) -> None:
        self.model, self._settings, self._run = model, settings, run
        shape, classes = model.input_shape[1:], model.output_shape[-1]
        self.memory = Labelled(np.empty((0, *shape), np.float32), np.empty(0, np.int64))
        self._learnt = np.zeros(classes, bool)
        self._known: Rivals = np.zeros((classes, classes), bool)
        self._penalty: Penalty | None = None
        self._step = 0

    def remember(self, learnt: Labelled, rivals: Rivals) -> None:
        """Keep what the settings say of images that the model knows by now, told from these rivals."""
        rows = balanced(learnt.y, self._settings.memory_per_class, self._run.rng(f"memory {self._step}"))
        self.memory = self.memory.beside(learnt.take(rows))
        self._learnt[learnt.y] = True
        self._known = rivals & self._learnt[:, None] & self._learnt[None, :]
        if self._settings.regulariser is not None:
            rng = self._run.rng(f"fisher {self._step}")
            found = self._settings.regulariser.penalty(self.model, learnt, rivals, rng)
            self._penalty = self._penalty.plus(found) if self._penalty and found else found

    def learn(self, new: Labelled, rivals: Rivals) -> None:
        """Train on new images and on those in memory, each told from its rivals.

        Raises:
            StageError: the loss is no longer finite.
        """
        settings, distillation = self._settings, self._distillation()
        both = new.beside(self.memory)
        targets: dict[str, NDArray[Any]] = {LABELS: both.y}
        if distillation is not None:
            targets[BEFORE] = self._answers(both.x, distillation.temperature)
        batch = 2 * settings.batch_size if len(self.memory) else settings.batch_size
        rng = self._run.rng(f"order {self._step}")
        orders = [epoch(len(new), len(self.memory), settings.batch_size, rng) for _ in range(settings.epochs)]
        batches = [rows[start : start + batch] for rows in orders for start in range(0, len(rows), batch)]
        with self._trainer(len(batches) // settings.epochs, distillation).holding(self.model) as copy:
            wrapper = copy.model
            set_objective(wrapper, self.model, rivals, self._known, self._penalty)
            backend.seed(self._run.framework_seed() + self._step)
            reporter = self._reporter(len(batches) // settings.epochs)
            wrapper.fit(_batches(both.x, targets, batches), shuffle=False, verbose=0, callbacks=[reporter])
        self._run.images += sum(map(len, orders))
        self._step += 1

    def _reporter(self, batches: int) -> Any:
        """Return a callback that watches the loss, and counts epochs of so many batches."""
        done, total = self._step * self._settings.epochs, self._settings.steps * self._settings.epochs

        def report(batch: int, logs: dict[str, float]) -> None:
            epochs = (batch + 1) // batches
            finite(float(logs["loss"]), max(0, epochs - 1))
            self._run.progress(done + epochs, total, "epochs")

        return backend.keras().callbacks.LambdaCallback(on_train_batch_end=report)

    def _distillation(self) -> Distillation | None:
        regulariser = self._settings.regulariser
        return regulariser.distillation if regulariser is not None and self._learnt.any() else None

    def _answers(self, x: Images, temperature: float) -> Images:
        """Return the probabilities that the model as it is gives the classes it knows, (n, classes), group by group."""
        logits = Classifier(self.model).logits(x) / np.float32(temperature)
        answers = np.zeros_like(logits)
        for group in np.unique(self._known[self._learnt], axis=0):
            powers = np.exp(logits[:, group] - logits[:, group].max(axis=1, keepdims=True))
            answers[:, group] = powers / powers.sum(axis=1, keepdims=True)
        return answers

    def _trainer(self, batches: int, distillation: Distillation | None) -> Any:
        name, rate = self._settings.optimizer, self._settings.learning_rate
        steps, held = steps_per_call(batches, 1), self._penalty is not None

        def compiled(copy: Any) -> Any:
            wrapper = objective(copy, held, distillation)
            # XLA makes TensorFlow's convolutions on a CPU twice as slow; JAX without it compiles nothing at all.
            jit = backend.name() == "jax"
            wrapper.compile(optimizer=new_optimizer(name, rate), steps_per_execution=steps, jit_compile=jit)
            return wrapper

        moving = tuple(bool(variable.trainable) for variable in self.model.weights)
        return trainer(self.model, compiled, ("continual", name, rate, steps, held, distillation, moving))


def _batches(x: Images, targets: Mapping[str, NDArray[Any]], batches: Sequence[Rows]) -> Any:
    """Return images and targets as Keras takes them, batch by batch, in this order."""

    class Batches(backend.keras().utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, number: int) -> tuple[Images, dict[str, NDArray[Any]]]:
            rows = batches[number]
            return x[rows], {name: values[rows] for name, values in targets.items()}

    return Batches()
