from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.repair.pruning import Pruning, kept_units, kernel_norms, nonzero_shares
from temper.system import backend
from tests.repair.support import DATA, MODEL, examples, run, small_model, weights

RNG = np.random.default_rng(0)


def prune(**fields: Any) -> Pruning:
    return Pruning(**{"model": MODEL, "data": DATA, "epochs": 0} | fields)


def produced(component: Pruning, model: Any, **known: Any) -> Classifier:
    return component.produce(run(component, {MODEL: Classifier(model), DATA: examples()} | known))


def with_dead_maps() -> Any:
    """Return a model whose maps 1 and 3 of conv2 are 0 whatever they see, by a large kernel with a larger negative bias."""
    model = small_model()
    kernel, bias = model.get_layer("conv2").get_weights()
    kernel[..., [1, 3]], bias[[1, 3]] = 2.0, -1e3
    model.get_layer("conv2").set_weights([kernel, bias])
    return model


def test_the_share_of_nonzero_values_covers_positions_and_images() -> None:
    keras = backend.keras()
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((1, 2, 1)), layers.Conv2D(2, 1, activation="relu"), layers.Flatten(), layers.Dense(2)]
    )
    # Map 0 is x - 0.5, map 1 is 0.25 - x: above 0 at 3 and at 2 of 6 positions.
    model.set_weights([np.array([[[[1.0, -1.0]]]]), np.array([-0.5, 0.25]), np.zeros((4, 2)), np.zeros(2)])
    x = np.array([[0.6, 0.7], [0.8, 0.3], [0.1, 0.2]], np.float32).reshape(3, 1, 2, 1)
    (found,) = nonzero_shares(model, x).values()
    np.testing.assert_allclose(found, [3 / 6, 2 / 6])


def test_the_norm_is_that_of_the_units_own_kernel() -> None:
    model = small_model()
    kernel = RNG.normal(size=(3, 3, 4, 6))
    model.get_layer("conv2").set_weights([kernel, np.zeros(6)])
    np.testing.assert_allclose(
        kernel_norms(model)["conv2"], [np.abs(kernel[..., i]).sum() for i in range(6)], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("needs", "share", "kept"),
    [
        ([3, 1, 2, 4], 0.5, [0, 3]),
        ([3, 1, 2, 4], 0.25, [0, 2, 3]),
        ([1, 1, 1, 1], 0.5, [0, 1]),  # of equal ones the last go
        ([3, 1], 0.99, [0]),  # one stays
        ([0.0] * 10 + [1.0] * 6, 0.625, [10, 11, 12, 13, 14, 15]),  # LeNet-5's second convolution, 16 to 6
        ([3, 1, 2], 0.0, [0, 1, 2]),
    ],
)
def test_the_most_important_units_are_kept(needs: Any, share: float, kept: list[int]) -> None:
    assert kept_units(np.array(needs, float), share).tolist() == kept


def test_dead_maps_are_removed_first_without_changing_the_logits() -> None:
    model, x = with_dead_maps(), examples().x
    v2 = produced(prune(share=0.0, shares={"conv2": 1 / 3}), model)
    assert v2.model.get_layer("conv2").filters == 4
    kernel = model.get_layer("conv2").get_weights()[0]
    np.testing.assert_array_equal(v2.model.get_layer("conv2").get_weights()[0], kernel[..., [0, 2, 4, 5]])
    np.testing.assert_allclose(v2.logits(x), Classifier(model).logits(x), atol=1e-5)

    by_norm = produced(prune(criterion="l1", share=0.0, shares={"conv2": 1 / 3}), model)
    assert not np.allclose(by_norm.logits(x), Classifier(model).logits(x), atol=1e-3), "large kernels are dead here"


def test_every_convolution_loses_its_share_and_dense_layers_only_if_named() -> None:
    v2 = produced(prune(share=0.5), small_model())
    assert [v2.model.get_layer(name).kernel.shape for name in ("conv1", "conv2", "dense", "logits")] == [
        (3, 3, 1, 2), (3, 3, 2, 3), (12, 8), (8, 3),
    ]  # fmt: skip
    v2 = produced(prune(share=0.5, shares={"conv1": 0.0, "dense": 0.25}), small_model())
    assert [v2.model.get_layer(name).kernel.shape[-1] for name in ("conv1", "conv2", "dense")] == [4, 3, 6]


def test_fine_tuning_changes_the_copy_and_not_the_first_version() -> None:
    model = small_model()
    before = weights(Classifier(model))
    component = prune(epochs=25, learning_rate=0.01, batch_size=16)
    v2, again = produced(component, model), produced(component, model)
    images = examples()
    np.testing.assert_array_equal(weights(Classifier(model)), before)
    np.testing.assert_array_equal(weights(v2), weights(again))
    assert (v2.predict(images.x) == images.y).mean() > 0.9


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"shares": {"conv3": 0.5}},
            "shares: no layer with units is called 'conv3'; expected one of conv1, conv2, dense, logits",
        ),
        ({"shares": {"logits": 0.5}}, "shares: layer 'logits' cannot be pruned: .*the logits"),
        ({"share": 0.0}, "share: nothing would be pruned"),
    ],
)
def test_layers_that_cannot_be_pruned_are_reported(fields: Any, message: str) -> None:
    with pytest.raises(StageError, match=message):
        produced(prune(**fields), small_model())


@pytest.mark.parametrize("share", ["half", 1.0, -0.1, None])
def test_an_invalid_share_is_reported_before_anything_runs(share: Any) -> None:
    ((field, message),) = prune(shares={"conv1": share}).check()
    assert field == "shares"
    assert "layer 'conv1'" in message


def test_training_on_the_test_images_is_rejected() -> None:
    assert [field for field, _ in prune(data=Ref("data", part="test")).check()] == ["data"]
