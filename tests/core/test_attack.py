"""What an attack records about the images that the report shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import PER_CLASS, SHOWN, Examples, Images, Labels
from temper.core.attack import Attack, shown_predictions, shown_rows
from temper.core.checkpoint import Checkpoint
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.generators.fgsm_bim_pgd import PGD
from tests.conftest import stopped_again_and_again
from tests.generators.models import linear
from tests.repair.support import run


def test_the_report_shows_the_first_images_and_the_first_of_each_class() -> None:
    y = np.repeat([2, 0, 1], [SHOWN + 10, PER_CLASS + 3, 2])
    zeros, ones = SHOWN + 10, SHOWN + 10 + PER_CLASS + 3
    assert shown_rows(y).tolist() == [*range(SHOWN), *range(zeros, zeros + PER_CLASS), ones, ones + 1]
    assert shown_rows(y[:3]).tolist() == [0, 1, 2]


class Strange(Attack):
    """Makes one pixel of the first image nan."""

    tag = "strange"

    def perturb(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        made = np.array(x)
        made[0, 0, 0, 0] = np.nan
        return made


def test_non_finite_pixels_are_rejected() -> None:
    victim, _ = linear()
    x = np.zeros((3, 4, 4, 1), np.float32)
    with pytest.raises(ValueError, match="received nan or inf in 1 images"):
        Strange(model=Ref("m")).craft(victim, x, np.zeros(3, np.int64), np.random.default_rng(0))


def test_predictions_are_recorded_for_shown_images() -> None:
    victim, _ = linear()
    x = np.random.default_rng(0).random((40, 4, 4, 1), np.float32)
    y = np.repeat([0, 1], 20)
    said = shown_predictions(victim, x, y)["predicted"]
    assert list(said) == [str(row) for row in shown_rows(y)]
    assert list(said.values()) == victim.predict(x)[shown_rows(y)].tolist()
    assert "20" in said


def test_an_interrupted_attack_resumes_with_the_next_batch(tmp_path: Path) -> None:
    """Random starts included: each batch draws the numbers of an uninterrupted attack."""
    victim, _ = linear()
    rng = np.random.default_rng(0)
    clean = Examples(x=rng.random((10, 4, 4, 1), np.float32), y=np.arange(10) % 2, index=np.arange(10))
    model: Any = Ref("model")
    data: Any = Ref("data", part="test")
    attack = PGD(model=model, data=data, eps=0.1, eps_step=0.05, max_iter=2, num_random_init=2, batch_size=3)
    inputs: dict[Any, Any] = {model: victim, data: clean}

    def made(checkpoint: Checkpoint | None = None) -> Examples:
        return attack.produce(run(attack, inputs, checkpoint=checkpoint))

    kept = Checkpoint(tmp_path, interval=3600)
    pieces, stops = stopped_again_and_again(lambda: made(kept))
    assert stops == 3, "after each of four batches but the last"
    np.testing.assert_array_equal(made().x, pieces.x)
