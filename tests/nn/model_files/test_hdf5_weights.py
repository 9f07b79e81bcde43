from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from temper.core.errors import StageError
from temper.nn.model_files import hdf5_weights
from temper.targets.models.dense import Dense
from tests.targets.models.support import DATASET, blank, run, write_legacy

RNG = np.random.default_rng(0)
HIDDEN, OUT = (RNG.normal(size=(4, 3)), RNG.normal(size=3)), (RNG.normal(size=(3, 2)), RNG.normal(size=2))
X = RNG.random((5, 2, 2, 1), np.float32)


def target(path: Path, **fields: object) -> Dense:
    return Dense(dataset=DATASET, layers=1, units=3, epochs=0, initial_weights=str(path), **fields)  # type: ignore[arg-type]


def test_weights_of_another_naming_are_taken_in_order_and_kept_where_there_is_no_training(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "w.h5", [("flat", ()), ("first", HIDDEN), ("second", OUT)])
    component = target(path)
    logits = component.produce(run({DATASET: blank((2, 2, 1), 2)})).logits(X)

    expected = np.maximum(X.reshape(5, 4) @ HIDDEN[0] + HIDDEN[1], 0) @ OUT[0] + OUT[1]
    np.testing.assert_allclose(logits, expected, rtol=1e-5)
    assert not component.stochastic
    assert list(component.files()) == [path]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([("first", HIDDEN)], "expected weights of 2 layers .dense_1, logits., received 1 .first."),
        (
            [("first", HIDDEN), ("second", HIDDEN)],
            r"'logits': expected weights \[\(3, 2\), \(2,\)\], received \[\(4, 3\)",
        ),
        ([("first", HIDDEN), ("second", OUT[:1])], r"'logits': expected weights"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, layers: list, message: str) -> None:  # type: ignore[type-arg]
    path = write_legacy(tmp_path / "w.h5", layers)
    with pytest.raises(StageError, match=message):
        target(path).produce(run({DATASET: blank((2, 2, 1), 2)}))


def test_what_keras_3_saves_is_read_and_its_misfits_named(tmp_path: Path) -> None:
    info = blank((2, 2, 1), 2)
    source = Dense(dataset=DATASET, layers=1, units=3, epochs=0).produce(run({DATASET: info}))
    source.model.save_weights(path := tmp_path / "model.weights.h5")

    np.testing.assert_array_equal(target(path).produce(run({DATASET: info}, seed=5)).logits(X), source.logits(X))
    with pytest.raises(StageError, match="belongs to another network"):
        target(path).produce(run({DATASET: blank((2, 2, 1), 5)}))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_text("no weights")
    with pytest.raises(StageError, match="expected an HDF5 file, received something else"):
        hdf5_weights.by_layer(path)
