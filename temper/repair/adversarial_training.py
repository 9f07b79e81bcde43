"""Adversarial training: trains a model on adversarial images in addition to, or instead of, the clean ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from temper.core.artefacts import Examples, Images, Labels
from temper.core.attack import Attack
from temper.core.classifier import Classifier
from temper.core.component import Part, Range, Ref
from temper.core.errors import StageError
from temper.core.families import Repair
from temper.core.run import Run
from temper.nn.training import training
from temper.nn.training.training import Attacker, TrainingSettings
from temper.system import backend


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(Repair):
    """Adversarial training in three recipes.

    gf:      minimise ratio * CE(f(x), y) + (1 - ratio) * CE(f(x'), y) over pairs of a clean image x and its adversarial
             image x', generated once, before the training (any generator).
    default: replace ceil(ratio * batch) images of each batch by adversarial ones, generated against the current model
    (an attack). madry:   the same with ratio 1.

    Source: gf: Goodfellow, Shlens and Szegedy (2015), Explaining and Harnessing Adversarial Examples, section 6, with
    the static images of DeepCustom. default: ART, AdversarialTrainer. madry: Madry et al. (2018), Towards Deep
    Learning Models Resistant to Adversarial Attacks, eq. 2.1 (with a PGD attack). Epochs, batch size and learning rate
    default to DeepCustom's for MNIST.
    Differs: gf shuffles and starts from Keras's initial weights; as_published does neither.
    """

    tag = "adversarial_training"

    model: Annotated[Ref[Classifier], "the model to harden"]
    examples: Annotated[Ref[Examples], "generator of the adversarial images; its own data are the clean ones"]
    recipe: Annotated[Literal["gf", "default", "madry"], "how clean and adversarial images are mixed"] = "gf"
    ratio: Annotated[
        float | None,
        "gf: weight of the clean loss; default: share of each batch that is replaced; if omitted: 0.5, and 1 for madry",
        Range(ge=0, le=1),
    ] = None
    epochs: Annotated[int, "passes over the training images", Range(ge=1)] = 20
    batch_size: Annotated[int, "images (gf: pairs) per optimiser step", Range(ge=1)] = 100
    learning_rate: Annotated[float, "step size of Adam", Range(gt=0)] = 1e-3
    start: Annotated[
        Literal["fresh", "continued"] | None,
        "new initial weights, or the model's own; if omitted: fresh for gf, continued for default and madry",
    ] = None
    as_published: Annotated[
        bool, "gf from DeepCustom's initial weights (deviation sqrt(2 / first axis), bias 0.1), in fixed order"
    ] = False

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "epochs": 1}

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "definition" if field_name == "examples" and self.recipe != "gf" else "train"

    def references(self) -> Iterator[Ref[Any]]:
        yield self.model
        yield self._adversarial if self.recipe == "gf" else self._attack
        yield self._clean

    def check(self) -> Iterator[tuple[str, str]]:
        if self.recipe == "madry" and self.ratio not in (None, 1):
            yield "ratio", "madry replaces every image; remove `ratio`, or set recipe: default"
        if self.recipe == "default" and self.ratio == 0:
            yield "ratio", "a share of 0 replaces no image; expected more than 0"
        if self.as_published and (self.recipe != "gf" or self.start == "continued"):
            yield "as_published", "only gf from fresh weights differs from the publication; remove it"

    def produce(self, run: Run) -> Classifier:
        model = self._initial(run)
        if self.recipe == "gf":
            self._train_on_pairs(model, run)
        else:
            self._train_on_the_fly(model, run)
        return Classifier(model)

    @property
    def _adversarial(self) -> Ref[Examples]:
        return dataclasses.replace(self.examples, part=self.examples.part or "train")

    @property
    def _clean(self) -> Ref[Examples]:
        return dataclasses.replace(self._adversarial, clean=True, definition=False)

    @property
    def _attack(self) -> Ref[Examples]:
        return dataclasses.replace(self.examples, part=None, definition=True)

    @property
    def _share(self) -> float:
        if self.ratio is None:
            return 1.0 if self.recipe == "madry" else 0.5
        return self.ratio

    def _initial(self, run: Run) -> Any:
        """Return a model of the same layers that shares no weights with the one to harden."""
        start, seed = self.start or ("fresh" if self.recipe == "gf" else "continued"), run.framework_seed()
        model = training.copied(run[self.model].model, seed, weights=start == "continued", remark=run.remark)
        if start == "fresh" and self.as_published:
            _initialise_as_published(model, seed)
        return model

    def _train_on_pairs(self, model: Any, run: Run) -> None:
        adversarial, clean = run[self._adversarial], run[self._clean]
        try:
            # Paired by index: a generator may return some of the images, in another order.
            rows = clean.rows_of(adversarial.index)
        except ValueError as error:
            raise StageError(
                f"{self.examples}: {error}; gf needs a generator that changes images of its data"
            ) from error
        # The usual case, without a copy of all images.
        whole = np.array_equal(rows, np.arange(len(clean)))
        training.fit_pairs(
            model,
            clean.x if whole else clean.x[rows],
            adversarial.x,
            adversarial.y,
            TrainingSettings.of(self, shuffle=not self.as_published),
            ratio=self._share,
            seed=run.framework_seed(),
            progress=run.progress,
            checkpoint=run.checkpoint,
        )
        run.images += 2 * self.epochs * len(adversarial)

    def _train_on_the_fly(self, model: Any, run: Run) -> None:
        attack, clean = run.definition(self._attack), run[self._clean]
        if not isinstance(attack, Attack):
            raise StageError(
                f"examples: recipe {self.recipe} generates images during training, which needs an attack on a model "
                "(fgsm, "
                f"pgd, ...), received {attack.tag}; use recipe: gf"
            )
        # The model in training itself, so that the attack always sees its current weights.
        victim = Classifier(model)

        def perturb(x: Images, y: Labels, rng: np.random.Generator) -> Images:
            return attack.craft(victim, x, y, rng)

        training.fit_on_the_fly(
            model,
            clean.x,
            clean.y,
            TrainingSettings.of(self),
            Attacker(perturb=perturb, share=self._share, rng=run.rng("attack")),
            rng=run.rng(),
            progress=run.progress,
            checkpoint=run.checkpoint,
        )
        run.images += self.epochs * len(clean)


def _initialise_as_published(model: Any, seed: int) -> None:
    """Draw kernels from a normal of deviation sqrt(2 / shape[0]) truncated at two deviations, and set biases to 0.1.

    For a convolution shape[0] is the height of the kernel and not its fan-in, as in the artefact.
    """
    initializers = backend.keras().initializers
    for number, layer in enumerate(model.layers):
        if hasattr(layer, "kernel") and layer.trainable:
            shape = layer.kernel.shape
            normal = initializers.TruncatedNormal(stddev=(2.0 / shape[0]) ** 0.5, seed=seed + number)
            layer.kernel.assign(normal(shape))
            if layer.bias is not None:
                layer.bias.assign(initializers.Constant(0.1)(layer.bias.shape))
