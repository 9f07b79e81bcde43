"""What holds of every criterion, whatever it counts."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.core.artefacts import Examples
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.evaluation.coverage.boundary import NBC, SNAC
from temper.evaluation.coverage.idc import IDC
from temper.evaluation.coverage.kmnc import KMNC
from temper.evaluation.coverage.knw import KNW
from temper.evaluation.coverage.nc import NC
from temper.evaluation.coverage.ssc import SSC
from temper.evaluation.coverage.surprise import DSC, LSC
from temper.evaluation.coverage.tknc import TKNC
from temper.nn.adequacy.coverage import Coverage, Criterion
from temper.nn.inspection.activations import Activations
from tests.evaluation.coverage.support import PATIENT, activations, covering, drawn, hold, reference

CRITERIA = [
    NC(threshold=0.5), NC(layers=("a",)), KMNC(k=5), KMNC(k=3, sigma=0.5), NBC(), SNAC(sigma=0.1), TKNC(k=2), SSC(),
    LSC(buckets=20, upper=20, mask="per_class"), DSC(buckets=20),
]  # fmt: skip
NOT_A_NUMBER = [[np.nan] * 7, [1.0, np.inf, 0.0, 0.0, 1.0, 0.0, np.nan], [-np.inf] * 7]


def combining(criterion: IDC | KNW) -> Coverage:
    """Return what a criterion of combinations covers after it learnt these clusters."""
    centroids = np.array([[0, 0.25, 0.5], [0, 0.75, np.nan], [0.1, 0.5, np.nan]])
    profile = {"group": np.array([0, 0, 1]), "columns": np.array([1, 3, 5]), "centroids": centroids}
    return criterion.coverage(profile, drawn(0, 1, 4, 3))


@PATIENT
@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(0, 9))
@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.tag)
def test_what_holds_of_every_coverage(criterion: Criterion, seed: int, n: int, m: int) -> None:
    empty = covering(criterion, drawn(seed, 6, 4, 3))
    hold(empty, drawn(seed + 1, n, 4, 3), drawn(seed + 2, m, 4, 3))


@PATIENT
@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(0, 9))
@pytest.mark.parametrize("criterion", [IDC(), KNW(), KNW(unit="position")], ids=lambda criterion: criterion.tag)
def test_what_holds_of_combinations(criterion: IDC | KNW, seed: int, n: int, m: int) -> None:
    hold(combining(criterion), drawn(seed, n, 4, 3), drawn(seed + 1, m, 4, 3))


def strange(seen: Activations) -> Activations:
    """Return activations of which three in between are no finite numbers."""
    means, positive = np.array(seen.means), np.array(seen.positive)
    means[2:5, :7] = NOT_A_NUMBER
    positive[2:5, :7] = means[2:5, :7] > 0
    return replace(seen, means=means, positive=positive)


@pytest.mark.parametrize("criterion", [*CRITERIA, IDC(), KNW()], ids=lambda criterion: criterion.tag)
def test_inputs_without_finite_activations_cover_nothing_and_are_reported(criterion: Criterion) -> None:
    empty = combining(criterion) if isinstance(criterion, IDC | KNW) else covering(criterion, drawn(1, 40, 4, 3))
    plain, without = drawn(2, 9, 4, 3), np.array([0, 1, 5, 6, 7, 8])
    seen = strange(plain)
    assert seen.finite.tolist() == [True, True, False, False, False, True, True, True, True]
    hold(empty, seen, drawn(3, 5, 4, 3))
    hold(empty, drawn(3, 5, 4, 3), seen)
    for ask in (Coverage.gain, Coverage.sequential_gain):
        found = getattr(empty, ask.__name__)(seen)
        assert found[2:5].tolist() == [0, 0, 0]
        assert np.array_equal(found[without], getattr(empty, ask.__name__)(plain.take(without)))
    told, untold = deepcopy(empty), deepcopy(empty)
    told.update(seen)
    untold.update(plain.take(without))
    assert told.value == untold.value
    assert "3 inputs without finite activations, which cover nothing" in told.remarks
    assert not any("finite" in remark for remark in untold.remarks)


@pytest.mark.parametrize("criterion", [KMNC(k=5), NBC(), SNAC(), LSC(), DSC(), KNW(zero_shot=Ref("z"), min_inputs=1)])
def test_training_images_without_finite_activations_are_skipped_and_reported(criterion: Criterion) -> None:
    plain, without = drawn(2, 60, 4, 3), np.r_[0:2, 5:60]
    learnt = replace(reference(strange(plain)), examples=labelled(60))
    profile = criterion.profile(learnt)
    expected = criterion.profile(reference(plain.take(without)))
    for name in ("low", "high", "centroids", "columns", "roots", "least"):
        if name in expected:
            np.testing.assert_array_equal(profile[name], expected[name])
    said = criterion.coverage(profile, plain).remarks
    assert "3 training images without finite activations excluded" in said
    assert not any("finite" in remark for remark in criterion.coverage(expected, plain).remarks)


def labelled(n: int) -> Examples:
    return Examples(x=np.zeros((n, 1, 1, 1), np.float32), y=np.zeros(n, np.int64), index=np.arange(n))


def test_where_no_training_image_has_finite_activations_there_is_an_error() -> None:
    learnt = strange(drawn(2, 9, 4, 3)).take(slice(2, 5))
    for criterion in (KMNC(), NBC(), SNAC(), KNW(zero_shot=Ref("z")), LSC(), DSC()):
        with pytest.raises(StageError, match="finite activations"):
            covering(criterion, learnt)


def test_classes_without_training_images_are_reported() -> None:
    rng = np.random.default_rng(0)
    train = activations(rng.normal(size=(40, 3)), logits=np.eye(3)[np.arange(40) % 2])
    for criterion in (LSC(), DSC()):
        assert any("so that they have no scores: 2" in remark for remark in covering(criterion, train).remarks)


def test_a_singular_covariance_is_reported() -> None:
    values = np.random.default_rng(0).normal(size=(40, 3))
    train = activations(np.hstack([values, values]), logits=np.eye(2)[np.arange(40) % 2])
    assert any("singular covariance" in remark for remark in covering(LSC(), train).remarks)
