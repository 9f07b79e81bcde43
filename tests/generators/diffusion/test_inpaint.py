"""Inpainting: which class is painted where, what is refused, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.augmenter import AugmenterContext, Seeds
from temper.core.errors import StageError
from temper.engine.command_line.main import DONE
from temper.generators.diffusion.ddpm import DDPM
from temper.generators.diffusion.fill import Fill
from temper.generators.diffusion.inpaint import Inpaint, targets
from temper.generators.diffusion.painter import Holes, Painted, Painter
from temper.generators.diffusion.sampling import Mode
from tests.generators.diffusion.painter_context import DATA, MODEL, Square, context, examples, seeds

TINY: dict[str, Any] = {"size": 8, "channels": (8, 16), "train_steps": 5, "train_batch_size": 8, "steps": 4}
MODES: tuple[Mode, ...] = ("cond", "replace", "repaint")


@dataclass(frozen=True, kw_only=True)
class Flat(Painter):
    """Paints everything in the shade of the label, and refuses some images."""

    objections: tuple[int, ...] = ()

    def paint(self, holes: Holes, context: AugmenterContext) -> Painted:
        shades = np.broadcast_to((0.1 * holes.labels)[:, None, None, None], holes.seeds.x.shape)
        refused = {row: "asked to" for row, i in enumerate(holes.seeds.index) if i in self.objections}
        return Painted(shades.astype(np.float32), refused)


def test_only_the_hole_is_painted() -> None:
    data = examples()
    chosen = seeds(data, slice(6))
    made = Inpaint(backend=Flat(), mask=Square()).augment(chosen, context(data))
    assert made.masks is not None
    assert made.masks.mean() == 0.25
    assert made.x.dtype == np.float32
    assert np.array_equal(made.x[~made.masks], chosen.x[~made.masks])
    painted = made.x[made.masks].reshape(6, -1)
    assert painted == pytest.approx(np.broadcast_to(0.1 * made.y[:, None], painted.shape))
    assert not (made.y == chosen.y).any()
    assert not made.refused


def test_the_class_may_be_preserved() -> None:
    data = examples()
    made = Inpaint(backend=Flat(), mask=Square(), label_policy="preserve").augment(seeds(data), context(data))
    assert np.array_equal(made.y, data.y)


def test_too_little_or_too_much_is_refused_with_its_reason() -> None:
    data = examples()
    chosen, place = seeds(data, slice(5)), context(data)
    made = Inpaint(backend=Flat(objections=(4,)), mask=Square(blind=(1, 3))).augment(chosen, place)
    empty = "the mask covers 0.0% of the image, not 2% to 95%"
    assert made.refused == {1: empty, 3: empty, 4: "asked to"}
    assert made.masks is not None
    for row in range(5):
        refused = row in made.refused
        assert np.array_equal(made.x[row], chosen.x[row]) == refused
        assert (made.y[row] == chosen.y[row]) == refused
        assert made.masks[row].any() != refused
    full = Inpaint(backend=Flat(), mask=Square(), max_area=0.2).augment(chosen, place)
    assert full.refused == dict.fromkeys(range(5), "the mask covers 25.0% of the image, not 2% to 20%")


def test_variants_of_a_seed_become_all_other_classes_in_its_own_order() -> None:
    data, classes = examples(300, classes=10), np.arange(10)
    found = np.stack([targets(seeds(data, variant=variant), classes) for variant in range(9)], axis=1)
    for own, others in zip(data.y, found, strict=True):
        assert sorted([own, *others]) == classes.tolist()
    assert len({tuple(order) for order in found}) > 250
    again = targets(seeds(data, variant=9), classes)
    assert np.array_equal(again, found[:, 0])
    # All other classes come first equally often: 300 / 10 each, of which 13 to 47 is within three deviations.
    firsts = np.bincount(found[:, 0], minlength=10)
    assert firsts.min() > 13
    assert firsts.max() < 47


def test_a_single_class_is_an_error() -> None:
    data = examples(4)
    only = Examples(x=data.x, y=np.zeros(4, np.int64), index=data.index)
    with pytest.raises(StageError, match="more than one class; use preserve"):
        Inpaint(backend=Flat(), mask=Square()).augment(seeds(only), context(only))


def test_problems_are_reported_before_anything_runs() -> None:
    assert not list(Inpaint(backend=DDPM(), mask=Square()).check())
    assert [field for field, _ in Inpaint(backend=Fill(), mask=Square()).check()] == ["label_policy"]
    assert not list(Inpaint(backend=Fill(), mask=Square(), label_policy="preserve").check())
    assert [field for field, _ in Inpaint(backend=DDPM(), mask=Square(), min_area=0.9, max_area=0.5).check()] == [
        "min_area"
    ]
    assert [field for field, _ in DDPM(label_dropout=0.0).check()] == ["guidance"]
    assert not list(DDPM(label_dropout=0.0, guidance=1.0).check())


def test_different_training_settings_have_different_names() -> None:
    def prepared(painter: DDPM) -> Any:
        return Inpaint(backend=painter, mask=Square()).preparations(MODEL, DATA)

    plain, short = prepared(DDPM()), prepared(DDPM(train_steps=7))
    assert (list(plain), list(short)) == (["ddpm"], ["ddpm (train_steps 7)"])
    assert plain["ddpm"] != short["ddpm (train_steps 7)"]
    (other,) = prepared(DDPM(steps=7, guidance=1.0)).values()
    assert other == plain["ddpm"]  # drawn in another way from the same model, which is trained once


EXPERIMENT = """
name: painted
seeds: [1, 2]
datasets:
  digits: {type: digits, train_size: 200, validation: 0.3}
targets:
  mlp: {type: dense, dataset: digits, layers: 1, epochs: 3}
generate:
  far:
    type: fuzzer
    model: mlp
    seed_count: 9
    iterations: 2
    augmenter:
      type: inpaint
      mask: {type: otsu, region: box}
      max_area: 1
      backend: {type: ddpm, channels: [8, 16], train_steps: 5, steps: 4}
  near:
    type: fuzzer
    model: mlp
    seed_count: 9
    augmenter: {type: inpaint, mask: {type: box}, label_policy: preserve, backend: {type: fill}}
evaluate:
  counts: {type: fuzzing, examples: [far, near]}
"""


@pytest.mark.slow
def test_a_fuzzer_paints_with_a_model_that_is_trained_once(
    run: Callable[..., tuple[int, str]], write: Callable[..., Path], tmp_path: Path
) -> None:
    code, said = run(write(EXPERIMENT))
    assert code == DONE, said
    stored = list((tmp_path / "outputs" / ".store").rglob("*.safetensors"))
    assert len(stored) == 1, "once for both seeds"
    again, said = run(tmp_path / "experiment.yaml")
    assert again == DONE
    assert " 0 computed" in said


@pytest.fixture(scope="module")
def data() -> Examples:
    return examples()


@pytest.fixture(scope="module")
def trained(data: Examples) -> AugmenterContext:
    painters = [DDPM(**TINY, mode=mode, batch_size=size) for mode in MODES for size in (3, 64)]
    tasks = [painter.preparations(MODEL, DATA) for painter in painters]
    return context(data, {name: work for prepared in tasks for name, work in prepared.items()})


@pytest.mark.parametrize("mode", MODES)
def test_an_image_does_not_depend_on_the_rest_of_its_batch(
    mode: Mode, data: Examples, trained: AugmenterContext
) -> None:
    chosen = seeds(data, slice(7))
    wide = Inpaint(backend=DDPM(**TINY, mode=mode), mask=Square(blind=(2,)))
    narrow = replace(wide, backend=DDPM(**TINY, mode=mode, batch_size=3))
    together = wide.augment(chosen, trained)
    assert together.masks is not None
    assert np.array_equal(together.x[~together.masks], chosen.x[~together.masks])
    assert not np.array_equal(together.x[together.masks], chosen.x[together.masks])
    # Kernels for other batch sizes may add up in another order.
    assert narrow.augment(chosen, trained).x == pytest.approx(together.x, abs=1e-5)
    for row in (0, 6):
        alone = wide.augment(chosen.take(slice(row, row + 1)), trained)
        assert alone.x[0] == pytest.approx(together.x[row], abs=1e-5)
        assert alone.y[0] == together.y[row]
    assert np.array_equal(wide.augment(chosen, trained).x, together.x)


def test_seeds_variants_and_depths_have_separate_random_streams(data: Examples, trained: AugmenterContext) -> None:
    paint = Inpaint(backend=DDPM(**TINY), mask=Square(), label_policy="preserve")
    one = seeds(data, slice(1))
    others = [replace(one, entropy=(8,)), replace(one, variant=np.array([1])), replace(one, depth=np.array([1]))]
    made = [paint.augment(seed, trained).x for seed in (one, *others)]
    for i, first in enumerate(made):
        assert not any(np.array_equal(first, second) for second in made[:i])


def test_a_class_without_training_images_cannot_be_painted(data: Examples, trained: AugmenterContext) -> None:
    chosen: Seeds = replace(seeds(data, slice(2)), y=np.array([1, 9]))
    place = replace(trained, info=replace(trained.info, class_names=tuple("abcdefghij")))
    paint = Inpaint(backend=DDPM(**TINY), mask=Square(), label_policy="preserve")
    with pytest.raises(StageError, match="class j cannot be painted, since no training image shows it"):
        paint.augment(chosen, place)


@pytest.mark.long
def test_a_trained_model_paints_the_requested_class() -> None:
    # Images as bright as their class: 0.1, 0.5 and 0.9 on average.
    data = examples(300)
    painter = DDPM(size=8, channels=(16, 32), train_steps=400, train_batch_size=32, steps=20)
    place = context(data, painter.preparations(MODEL, DATA))
    chosen = seeds(data, slice(60))
    masks = np.ones((60, 8, 8), np.bool_)
    labels = (chosen.y + 1) % 3
    shades = painter.paint(Holes(chosen, masks, labels), place).x.mean(axis=(1, 2, 3))
    nearest = np.abs(shades[:, None] - np.array([0.1, 0.5, 0.9])).argmin(axis=1)
    assert (nearest == labels).mean() > 0.9
