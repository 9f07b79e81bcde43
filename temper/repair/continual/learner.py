"""A model that learns in sequential steps, with a memory of earlier ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.incremental_classifier import Rivals
from temper.core.artefacts import Images
from temper.core.checkpoint import Checkpoint, Steps
from temper.core.classifier import Classifier
from temper.core.run import Run
from temper.nn.training.compiled_steps import trainer
from temper.nn.training.training import Optimizer, finite, new_optimizer, steps_per_call
from temper.nn.training.training_state import TrainingState, assign, values
from temper.repair.continual.objective import BEFORE, LABELS, objective, set_objective
from temper.repair.continual.regularisers import Distillation, Penalty, Regulariser
from temper.repair.continual.replay import LabelledImages, Rows, balanced_rows, epoch_rows
from temper.system import backend

_PENALTY = "penalty"
"""The name of the penalty of all steps so far in the checkpoint."""


@dataclass(frozen=True, kw_only=True)
class LearnerSettings:
    """The training settings of each step; ``steps`` is their number, for the progress."""

    memory_per_class: int
    regulariser: Regulariser | None
    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Optimizer
    steps: int = 1


class Learner:
    """A Keras model in training, with its memory.

    An interrupted run creates a new learner and repeats its calls: finished steps come from the checkpoint, and an
    interrupted training resumes, to the same weights.

    Attributes:
        model: the model, modified in place.
        memory: the images for replay.
    """

    def __init__(self, model: Any, settings: LearnerSettings, run: Run) -> None:
        self.model, self._settings, self._run = model, settings, run
        shape, classes = model.input_shape[1:], model.output_shape[-1]
        self.memory = LabelledImages(np.empty((0, *shape), np.float32), np.empty(0, np.int64))
        self._learnt = np.zeros(classes, bool)
        self._known: Rivals = np.zeros((classes, classes), bool)
        self._penalty: Penalty | None = None
        self._step = 0
        self._kept = Steps(run.checkpoint)

    def remember(self, learnt: LabelledImages, rivals: Rivals) -> None:
        """Store a memory of learnt images, with their rivals, as configured by the settings."""
        rows = balanced_rows(learnt.y, self._settings.memory_per_class, self._run.rng(f"memory {self._step}"))
        self.memory = self.memory.joined_with(learnt.take(rows))
        self._learnt[learnt.y] = True
        # Only classes learnt so far have previous outputs to preserve.
        self._known = rivals & self._learnt[:, None] & self._learnt[None, :]
        if self._settings.regulariser is not None:
            self._penalty = self._penalty_of(learnt, rivals, self._settings.regulariser)

    def _penalty_of(self, learnt: LabelledImages, rivals: Rivals, regulariser: Regulariser) -> Penalty | None:
        """Return the penalty of all steps so far: the saved one, unless it is of an earlier step."""
        if (kept := self._kept.finished(_PENALTY)) is not None and kept[1]["step"] >= self._step:
            return Penalty.of(kept[0])
        found = regulariser.penalty(self.model, learnt, rivals, self._run.rng(f"fisher {self._step}"))
        if found is None:
            return None
        total = self._penalty.plus(found) if self._penalty else found
        self._kept.finish(_PENALTY, total.arrays(), {"step": self._step})
        return total

    def learn(self, new: LabelledImages, rivals: Rivals) -> None:
        """Train on new images and on those in memory, each discriminated from its rivals.

        Raises:
            StageError: the loss is no longer finite.
            Stopped: the process was asked to stop; the checkpoint holds the state to resume from.
        """
        name = str(self._step)
        if (kept := self._kept.finished(name)) is not None:
            assign(self.model.variables, kept[0])
        else:
            self._train(new, rivals, self._kept.in_progress(name))
            self._kept.finish(name, values(self.model.variables), {})
        self._step += 1

    def _train(self, new: LabelledImages, rivals: Rivals, checkpoint: Checkpoint) -> None:
        settings, distillation = self._settings, self._distillation()
        both = new.joined_with(self.memory)
        targets: dict[str, NDArray[Any]] = {LABELS: both.y}
        if distillation is not None:
            targets[BEFORE] = self._previous_probabilities(both.x, distillation.temperature)
        # Half new, half replayed.
        batch = 2 * settings.batch_size if len(self.memory) else settings.batch_size
        rng = self._run.rng(f"order {self._step}")
        # Drawn in advance, so that a resumed training sees the same batches.
        orders = [epoch_rows(len(new), len(self.memory), settings.batch_size, rng) for _ in range(settings.epochs)]
        batches = [rows[start : start + batch] for rows in orders for start in range(0, len(rows), batch)]
        batches_per_epoch = len(batches) // settings.epochs
        with self._trainer(batches_per_epoch, distillation).holding(self.model) as copy:
            wrapper = copy.model
            set_objective(wrapper, self.model, rivals, self._known, self._penalty)
            backend.seed(self._run.framework_seed() + self._step)
            state = TrainingState(wrapper, checkpoint)
            _, done = state.restore()
            while done < len(batches):
                watch = self._watch(wrapper, state, done, batches_per_epoch)
                wrapper.fit(_batches(both.x, targets, batches[done:]), shuffle=False, verbose=0, callbacks=[watch])
                done = watch.done
                if state.due and done < len(batches):
                    state.save([], done)
        self._run.images += sum(map(len, orders))

    def _watch(self, wrapper: Any, state: TrainingState, first: int, batches_per_epoch: int) -> Any:
        """Return a callback that counts batches ``done`` from ``first`` on and stops the fit when a save is due."""
        before, total = self._step * self._settings.epochs, self._settings.steps * self._settings.epochs
        run, seed = self._run, self._run.framework_seed() + self._step

        class Watch(backend.keras().callbacks.Callback):  # type: ignore[misc]
            done = first

            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                if backend.name() == "torch":
                    # Dropout on torch draws from torch's global random stream.
                    backend.seed((seed + first + batch) % 2**31)

            def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
                self.done = first + batch + 1
                epochs = self.done // batches_per_epoch
                finite(float(logs["loss"]), max(0, epochs - 1))
                run.progress(before + epochs, total, "epochs")
                # fit() must return before the state can be saved.
                wrapper.stop_training = state.due

        return Watch()

    def _distillation(self) -> Distillation | None:
        regulariser = self._settings.regulariser
        return regulariser.distillation if regulariser is not None and self._learnt.any() else None

    def _previous_probabilities(self, x: Images, temperature: float) -> Images:
        """Return the current model's probabilities of the classes it knows, (n, classes), group by group."""
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

        # Frozen weights change the compiled step, so they are part of its key.
        moving = tuple(bool(variable.trainable) for variable in self.model.weights)
        return trainer(self.model, compiled, ("continual", name, rate, steps, held, distillation, moving))


def _batches(x: Images, targets: Mapping[str, NDArray[Any]], batches: Sequence[Rows]) -> Any:
    """Return images and targets in Keras's format, batch by batch, in this order."""

    class Batches(backend.keras().utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, number: int) -> tuple[Images, dict[str, NDArray[Any]]]:
            rows = batches[number]
            return x[rows], {name: values[rows] for name, values in targets.items()}

    return Batches()
