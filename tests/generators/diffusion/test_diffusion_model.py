"""The trained model as an artefact, and how its parameters follow the images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from temper.generators.diffusion.diffusion_model import DiffusionModel, DiffusionTraining
from tests.generators.diffusion.painter_context import DATA, examples, run

TINY = DiffusionTraining(data=DATA, size=8, channels=(8, 16), train_steps=3, train_batch_size=4)


def test_a_stored_model_is_restored(tmp_path: Path) -> None:
    seen = []
    data = examples(shape=(8, 6, 3))
    work = run({DATA: data}, lambda done, total, unit: seen.append((done, total, unit)))
    made = TINY.produce(work)
    assert seen == [(1, 3, "steps"), (2, 3, "steps"), (3, 3, "steps")]
    assert work.images == 12
    made.save(tmp_path)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"config.json", "diffusion_pytorch_model.safetensors", "losses.csv", "diffusion.json"}
    loaded = DiffusionModel.load(tmp_path)
    assert (loaded.canvas, loaded.classes, loaded.losses) == (made.canvas, (0, 1, 2), made.losses)
    assert dict(loaded.info) == {**made.info, "channels": [8, 16]}
    assert not loaded.network.training
    for one, two in zip(made.network.parameters(), loaded.network.parameters(), strict=True):
        assert np.array_equal(one.detach().numpy(), two.detach().numpy())


def test_defaults_follow_the_images() -> None:
    small = replace(TINY, size=None, channels=(), train_steps=1)
    made = small.produce(run({DATA: examples(12)}))
    assert made.info["channels"] == (32, 64)
    assert (made.canvas.size, made.network.config.num_class_embeds) == (8, 4)


def test_it_is_trained_once_for_all_seeds_unless_per_seed_is_set() -> None:
    assert not TINY.stochastic
    assert replace(TINY, per_seed=True).stochastic


def test_channels_are_multiples_of_the_group_size() -> None:
    assert dict(replace(TINY, channels=(8, 12)).check()) == {"channels": "expected multiples of 8, received 12"}
    assert not list(TINY.check())


def test_classes_without_training_images_are_omitted() -> None:
    data = examples(classes=5)
    kept = data.y != 3
    made = TINY.produce(run({DATA: replace(data, x=data.x[kept], y=data.y[kept], index=data.index[kept])}))
    assert made.classes == (0, 1, 2, 4)
