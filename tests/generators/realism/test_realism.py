"""Measures of realism against closed forms and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.augmenter import Augmented, AugmenterContext
from temper.core.component import Ref
from temper.core.data_info import DataInfo
from temper.core.errors import StageError
from temper.core.run import Run
from temper.generators.realism.feature_distance import FeatureDistance, FeatureStatistics, distances
from temper.generators.realism.judge import Judge
from temper.generators.realism.ssim import SSIM
from temper.nn.shared_stages.activation_readout import read_activations
from tests.generators.augmenter_contexts import seeds
from tests.generators.fuzzing.test_semantic_fuzzer import brightness, grey

JUDGE: Any = Ref("judge")
DATA: Any = Ref("data", part="train")


def context(inputs: Any) -> AugmenterContext:
    def load(ref: Ref[Any]) -> Any:
        return inputs[ref.prepared or ref.stage]

    run = Run("stage", 0, "test", load, lambda ref: {}, lambda done, total, unit: None)
    return AugmenterContext(run, inputs["judge"], grey(0.1), DataInfo((8, 8, 1), ("0", "1")))


def test_ssim_of_flat_images_compares_their_means() -> None:
    first, second = grey(0.2, 0.5).x, grey(0.4, 0.5).x
    c = 0.01**2
    closed = (2 * 0.2 * 0.4 + c) / (0.2**2 + 0.4**2 + c)
    values = SSIM().values(Augmented(second, np.zeros(2, np.int64)), seeds(first), context({"judge": None}))
    assert values == pytest.approx([closed, 1], abs=1e-5)
    assert SSIM(min=0.9).accepts(values).tolist() == [False, True]


def test_ssim_over_the_mask_ignores_other_pixels() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(1, 32, 32, 3)).astype(np.float32)
    made, mask = x.copy(), np.zeros((1, 32, 32), np.bool_)
    made[:, :8, :8], mask[:, :8, :8] = 0, True
    augmented = Augmented(made, np.zeros(1, np.int64), mask)
    inside, whole = (
        SSIM(over=over).values(augmented, seeds(x), context({"judge": None}))[0] for over in ("mask", "image")
    )
    assert inside < 0.3 < 0.8 < whole


def test_the_judge_gives_the_probability_of_the_label() -> None:
    made = grey(0.5, 0.6, 0.4)
    augmented = Augmented(made.x, np.array([1, 1, 1]))
    values = Judge(model=JUDGE).values(augmented, seeds(made.x), context({"judge": brightness()}))
    assert values == pytest.approx([0.5, 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))], rel=1e-3)


def test_distances_are_mahalanobis() -> None:
    from scipy.spatial.distance import mahalanobis

    rng = np.random.default_rng(1)
    x, means, root = rng.normal(size=(5, 3)), rng.normal(size=(2, 3)), rng.normal(size=(3, 3))
    y, precision = np.array([0, 1, 1, 0, 1]), root @ root.T
    expected = [mahalanobis(row, means[label], precision) for row, label in zip(x, y, strict=True)]
    assert distances(x, y, means, precision) == pytest.approx(expected)


def test_a_distance_of_one_is_usual_for_real_images() -> None:
    rng = np.random.default_rng(2)
    model, train = (
        brightness(),
        grey(*np.concatenate([rng.normal(0.3, 0.05, 500), rng.normal(0.7, 0.05, 500)]).clip(0, 1)),
    )
    mixed = rng.permutation(1000)
    train = Examples(x=train.x[mixed], y=(mixed >= 500).astype(np.int64), index=np.arange(1000))
    measure = FeatureDistance(model=JUDGE)
    ((name, preparation),) = measure.preparations(JUDGE, DATA).items()
    assert isinstance(preparation, FeatureStatistics)
    inputs = {"judge": model, "data": train, "seen": read_activations(model, train.x)}
    learnt = preparation.produce(context(inputs).run)
    made = grey(0.3, 0.3 + 1.96 * 0.05, 0.5)
    values = measure.values(Augmented(made.x, np.zeros(3, np.int64)), seeds(made.x), context(inputs | {name: learnt}))
    assert values == pytest.approx([0, 1, 2.04], abs=0.15)
    assert measure.accepts(values - 0.2).tolist() == [True, True, False]


@pytest.mark.parametrize(("levels", "labels", "known"), [([0.5] * 20, [0] * 20, 4), ([0.1, 0.5, 0.3], [0, 1, 1], 0)])
def test_without_a_usual_distance_there_is_an_error(levels: list[float], labels: list[int], known: int) -> None:
    train = Examples(x=grey(*levels).x, y=np.array(labels, np.int64), index=np.arange(len(levels)))
    ((_, preparation),) = FeatureDistance(model=JUDGE).preparations(JUDGE, DATA).items()
    inputs = {"judge": brightness(), "data": train, "seen": read_activations(brightness(), train.x)}
    with pytest.raises(StageError, match=f"received {known} of known classes at a usual distance of 0"):
        preparation.produce(context(inputs).run)


def test_nan_is_never_accepted() -> None:
    assert not SSIM(min=-1).accepts(np.array([np.nan])).any()
    assert not FeatureDistance(model=JUDGE, max=9).accepts(np.array([np.nan])).any()
