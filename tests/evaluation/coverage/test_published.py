"""DeepImportance's published coverage of its LeNet-5 by MNIST's test images, profiled on its training images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.coverage.boundary import NBC, SNAC
from temper.evaluation.coverage.idc import IDC
from temper.evaluation.coverage.kmnc import KMNC
from temper.evaluation.coverage.nc import NC
from temper.evaluation.coverage.ssc import SSC
from temper.evaluation.coverage.surprise import DSC, LSC
from temper.evaluation.coverage.tknc import TKNC
from temper.nn.adequacy.coverage import Coverage, Criterion
from temper.nn.adequacy.reference_data import ReferenceData
from temper.nn.shared_stages.activation_readout import read_activations
from temper.targets.models.saved import Saved
from tests.targets.models.support import blank

pytestmark = [pytest.mark.shared, pytest.mark.slow]

LAYERS = (
    "block1_conv1", "block1_pool1", "block2_conv1", "block2_pool1", "fc1", "fc2", "before_softmax", "softmax",
)  # fmt: skip
"""The paper's 268 units: all layers but the flattening, the logits among them."""


def images(shared: Path, part: str) -> Examples:
    with np.load(shared / "data" / "mnist.npz") as file:
        x = (file[f"x_{part}"][..., None] / np.float32(255)).astype(np.float32)
        return Examples(x=x, y=file[f"y_{part}"].astype(np.int64), index=np.arange(len(x)))


@pytest.fixture(scope="module")
def published(shared: Path) -> tuple[ReferenceData, Any]:
    """The network with its training images, and what it computes of the test images."""
    path = shared / "models" / "deepimportance" / "LeNet5.h5"
    target = Saved(dataset=Ref("mnist"), path=str(path), architecture=str(path.with_suffix(".json")))
    data = blank((28, 28, 1), 10)
    classifier = target.produce(Run("lenet", 0, None, lambda ref: data, lambda ref: {}, lambda *_: None))
    train = images(shared, "train")
    seen = read_activations(classifier, train.x)
    return ReferenceData(classifier, train, seen, lambda ref: seen), read_activations(
        classifier, images(shared, "test").x
    )


def covered(criterion: Criterion, published: tuple[ReferenceData, Any]) -> Coverage:
    reference, tests = published
    coverage = criterion.coverage(criterion.profile(reference), tests)
    coverage.update(tests)
    return coverage


@pytest.mark.parametrize(
    ("criterion", "percent", "units"),
    [
        (NC(layers=LAYERS, threshold=0.75), 75.3, 268),
        (KMNC(layers=LAYERS, k=1000), 69.2, 268_000),
        (NBC(layers=LAYERS), 7.6, 536),
        (SNAC(layers=LAYERS), 13.8, 268),
        (TKNC(layers=LAYERS, k=3), 88.8, 268),
    ],
    ids=lambda value: getattr(value, "tag", ""),
)
def test_the_published_values(
    criterion: Criterion, percent: float, units: int, published: tuple[ReferenceData, Any]
) -> None:
    coverage = covered(criterion, published)
    assert coverage.total == units
    assert 100 * coverage.value == pytest.approx(percent, abs=0.1)


def test_sign_sign_cover_as_another_program_counts_it(published: tuple[ReferenceData, Any]) -> None:
    coverage = covered(SSC(), published)
    assert coverage.total == 13_228
    assert 100 * coverage.value == pytest.approx(11.9, abs=0.05)


@pytest.mark.parametrize(("cls", "percent"), [(LSC, 13.8), (DSC, 54.9)])
def test_the_published_surprise(cls: Any, percent: float, published: tuple[ReferenceData, Any]) -> None:
    reference, tests = published
    criterion = cls(lower=0, layers=("fc2",))
    profile = criterion.profile(reference)
    surprise = criterion.surprise(profile, tests)
    # The published bound is the least surprise of the very images judged; of the 1000 buckets, one is for all above.
    least = float(np.nextafter(surprise.min(), -np.inf))
    coverage = cls(lower=least, layers=("fc2",), buckets=999).coverage(profile, tests)
    coverage.update(tests)
    covered = coverage.covered + (surprise > criterion.upper).any()
    assert 100 * covered / 1000 == pytest.approx(percent, abs=0.05)


def test_more_important_units_are_covered_less(published: tuple[ReferenceData, Any]) -> None:
    # 47.0 and 28.0 % are published, of clusters that are not stated; ours are 44.3 and 14.5 %.
    six, eight = (100 * covered(IDC(m=m), published).value for m in (6, 8))
    assert 40 < six < 50
    assert 10 < eight < 30


def test_importance_with_clusters_as_published(published: tuple[ReferenceData, Any]) -> None:
    # 84 % by another program with the same clusters; 0 is in no cluster of its own, so that there are few to cover.
    coverage = covered(IDC(m=6, layers=("fc2",), centres="published"), published)
    assert (coverage.covered, coverage.total) == (81, 96)
