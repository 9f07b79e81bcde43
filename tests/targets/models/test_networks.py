from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.core.data_info import DataInfo
from temper.system import backend
from temper.targets.models.alexnet import AlexNet
from temper.targets.models.allconvnet import AllConvNet
from temper.targets.models.convnet import ConvNet
from temper.targets.models.dense import Dense
from temper.targets.models.guided_retraining_networks import (
    GuidedCIFAR10,
    GuidedFashionMNIST,
    GuidedGTSRB,
    GuidedIntel,
    GuidedMNIST,
)
from temper.targets.models.leafnet import LeafNet
from temper.targets.models.lenet import LeNet1, LeNet4, LeNet5
from temper.targets.models.resnet import ResNet18
from temper.targets.models.vgg import VGG16, VGG19
from tests.targets.models.support import DATASET, data, examples, run

MNIST = DataInfo((28, 28, 1), tuple("0123456789"))
CIFAR = DataInfo((32, 32, 3), tuple("0123456789"))
GREY_CIFAR = DataInfo((32, 32, 1), CIFAR.class_names)
GTSRB = DataInfo((48, 48, 1), tuple(map(str, range(43))))
INTEL = DataInfo((48, 48, 1), tuple("012345"))
LEAVES = DataInfo((256, 256, 3), ("black rot", "esca", "healthy", "leaf blight"))


@pytest.mark.parametrize(
    ("target", "info", "parameters"),
    [
        (Dense(dataset=DATASET), MNIST, 27_580),
        (Dense(dataset=DATASET, bias=False), MNIST, 27_420),
        (Dense(dataset=DATASET, layers=3, units=50, bias=False, activation="leaky_relu"), MNIST, 44_700),
        (LeNet1(dataset=DATASET), MNIST, 3_246),
        (LeNet4(dataset=DATASET), MNIST, 25_010),
        (LeNet5(dataset=DATASET), MNIST, 44_426),
        (LeNet5(dataset=DATASET), CIFAR, 62_006),
        (LeNet1(dataset=DATASET, padding="same"), MNIST, 7_206),
        (LeNet4(dataset=DATASET, padding="same"), MNIST, 69_362),
        (LeNet5(dataset=DATASET, padding="same"), MNIST, 107_786),
        (ConvNet(dataset=DATASET), CIFAR, 122_570),
        (AllConvNet(dataset=DATASET), CIFAR, 1_369_738),
        (VGG19(dataset=DATASET), CIFAR, 20_292_170),
        (VGG16(dataset=DATASET), CIFAR, 14_714_688 + 4 * 4_224 + 513 * 512 + 5_130),
        (AlexNet(dataset=DATASET), MNIST, 3_713_216 + 2_305 * 4_096 + 4_097 * 4_096 + 40_970),
        (ResNet18(dataset=DATASET), CIFAR, 11_173_962 + 2 * 4_800),
        (LeafNet(dataset=DATASET), LEAVES, 103_652),
        (GuidedMNIST(dataset=DATASET), MNIST, 1_625_866),
        (GuidedFashionMNIST(dataset=DATASET), MNIST, 448_010),
        (GuidedCIFAR10(dataset=DATASET), GREY_CIFAR, 675_722),
        (GuidedGTSRB(dataset=DATASET), GTSRB, 2_788_619),
        (GuidedIntel(dataset=DATASET), INTEL, 882_498),
    ],
)
def test_the_number_of_parameters_is_the_published_one(target: Any, info: DataInfo, parameters: int) -> None:
    model = target.network(info)
    assert model.count_params() == parameters
    assert (model.input_shape, model.output_shape) == ((None, *info.shape), (None, info.num_classes))


@pytest.mark.parametrize(
    "target",
    [
        Dense(dataset=DATASET),
        LeNet1(dataset=DATASET),
        LeNet5(dataset=DATASET, padding="same"),
        ConvNet(dataset=DATASET),
        AllConvNet(dataset=DATASET, width=0.1),
        VGG19(dataset=DATASET, width=0.05),
        VGG16(dataset=DATASET, width=0.05),
        AlexNet(dataset=DATASET, width=0.01),
        ResNet18(dataset=DATASET, width=0.05),
        LeafNet(dataset=DATASET),
        GuidedMNIST(dataset=DATASET),
        GuidedIntel(dataset=DATASET),
    ],
)
def test_the_smallest_image_is_exactly_the_one_the_network_can_be_built_for(target: Any) -> None:
    side = target.smallest_side
    fitting, small = (DataInfo((s, s, 1), ("a", "b")) for s in (side, side - 1))

    assert list(target.fits(fitting)) == []
    assert target.network(fitting).output_shape == (None, 2)
    if small.shape[0]:
        assert [field for field, _ in target.fits(small)] == ["dataset"]
        with pytest.raises(ValueError, match=r"shape|negative|dimension"):
            target.network(small)


def test_guided_networks_drop_where_the_paper_does() -> None:
    network = GuidedIntel(dataset=DATASET).network(INTEL)
    kinds = [(layer.name, getattr(layer, "rate", None)) for layer in network.layers]
    assert [(name, rate) for name, rate in kinds if rate] == [
        ("block3_dropout", 0.3),
        ("block4_dropout", 0.3),
        ("flat_dropout", 0.5),
        ("dense_1_dropout", 0.5),
    ]
    assert network.get_layer("flatten").output.shape[1] == 1152
    assert [name for name, _ in kinds][-4:] == ["dense_1", "dense_1_dropout", "dense_2", "logits"]


def test_leaky_hidden_layers_let_a_hundredth_through() -> None:
    target = Dense(dataset=DATASET, layers=1, units=1, activation="leaky_relu", bias=False)
    model = target.network(DataInfo((1, 1, 1), ("a", "b")))
    model.set_weights([np.array([[-1.0]]), np.array([[1.0, 2.0]])])
    logits = Classifier(model).logits(np.full((1, 1, 1, 1), 0.5, np.float32))
    np.testing.assert_allclose(logits, [[-0.005, -0.01]], rtol=1e-6)


def test_training_learns_depends_on_the_seed_alone_and_leaves_the_test_part_alone() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = (rng.random((300, 4, 4, 1)) * 0.3 + y[:, None, None, None] * 0.3).astype(np.float32)
    target = Dense(dataset=DATASET, layers=2, units=16, epochs=12, batch_size=16, learning_rate=0.01)
    loaded = {DATASET: data(examples(x, y))}
    first, again, other = (target.produce(run(loaded, seed)) for seed in (0, 0, 1))

    assert (first.predict(x) == y).mean() > 0.9
    np.testing.assert_array_equal(first.logits(x), again.logits(x))
    assert not np.array_equal(first.logits(x), other.logits(x))


@pytest.mark.parametrize(
    ("kind", "info", "parameters"),
    [
        # By hand: maps in * 9 * maps out + maps out, and so on, with every hidden layer half as wide.
        (AllConvNet, CIFAR, 1_344 + 2 * 20_784 + 41_568 + 3 * 83_040 + 9_312 + 970),
        (LeafNet, LEAVES, 448 + 3 * 2_320 + 144 * 128 + 128 + 128 * 4 + 4),
    ],
)
def test_half_the_width_is_half_of_every_hidden_layer(kind: Any, info: DataInfo, parameters: int) -> None:
    assert kind(dataset=DATASET, width=0.5).network(info).count_params() == parameters


def test_a_network_of_minimal_width_has_one_unit_in_each_layer() -> None:
    model = VGG19(dataset=DATASET, width=1e-6).network(CIFAR)
    assert {layer.output.shape[-1] for layer in model.layers if layer.weights} == {1, 10}


def test_the_body_of_vgg19_is_that_of_keras_layer_by_layer() -> None:
    theirs = backend.keras().applications.VGG19(include_top=False, weights=None, input_shape=CIFAR.shape)
    ours = VGG19(dataset=DATASET).network(CIFAR)
    shapes = {layer.name: [tuple(v.shape) for v in layer.weights] for layer in theirs.layers[1:]}
    assert len(shapes) == 21
    assert {layer.name: [tuple(v.shape) for v in layer.weights] for layer in ours.layers[: len(shapes)]} == shapes
    assert ours.get_layer("block5_pool").output.shape[1:] == theirs.output.shape[1:] == (1, 1, 512)


def test_vgg16_normalises_between_each_convolution_and_its_relu() -> None:
    kinds = [type(layer).__name__ for layer in VGG16(dataset=DATASET, width=0.05).network(CIFAR).layers]
    block = ["Conv2D", "BatchNormalization", "ReLU"]
    body = [kind for count in (2, 2, 3, 3, 3) for kind in (*count * block, "MaxPooling2D")]
    assert kinds == [*body, "Flatten", "Dense", "Dense"]


def test_alexnet_has_the_maps_and_kernels_of_its_page() -> None:
    layers = AlexNet(dataset=DATASET, width=0.5).network(MNIST).layers
    found = [(layer.kernel.shape[0], layer.filters) for layer in layers if hasattr(layer, "filters")]
    assert found == [(3, 48), (5, 128), (3, 192), (3, 192), (3, 128)]
    assert [layer.units for layer in layers if hasattr(layer, "units")] == [2048, 2048, 10]
    assert [layer.rate for layer in layers if hasattr(layer, "rate")] == [0.5, 0.5]


def test_resnet18_adds_eight_times_and_projects_where_the_image_is_halved() -> None:
    model = ResNet18(dataset=DATASET, width=0.05).network(CIFAR)
    adds = {layer.name: layer.output.shape[1] for layer in model.layers if layer.name.endswith("_add")}
    assert list(adds.values()) == [32, 32, 16, 16, 8, 8, 4, 4]
    projections = [layer.name for layer in model.layers if layer.name.endswith("_projection")]
    assert projections == [f"stage{stage}_block1_projection" for stage in (2, 3, 4)]
    assert [layer.filters for layer in model.layers if hasattr(layer, "filters")][::5] == [3, 6, 13, 26]


@pytest.mark.parametrize("kind", [VGG16, AlexNet, ResNet18])
def test_an_epoch_changes_every_layer_and_the_statistics(kind: Any) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(10), 2)
    x = rng.random((20, 32, 32, 3), np.float32)
    loaded = {DATASET: data(examples(x, y))}
    before, after = (kind(dataset=DATASET, width=0.05, epochs=epochs).produce(run(loaded)) for epochs in (0, 1))
    pairs = zip(before.model.get_weights(), after.model.get_weights(), strict=True)
    assert all(not np.array_equal(old, new) for old, new in pairs)
    assert np.isfinite(after.logits(x)).all()


def test_allconvnet_halves_the_image_by_strides_and_ends_in_the_mean_of_class_maps() -> None:
    model = AllConvNet(dataset=DATASET, width=0.1).network(CIFAR)
    sides = {layer.name: layer.output.shape[1] for layer in model.layers if len(layer.output.shape) == 4}
    assert [sides[name] for name in ("block1_conv2", "block1_conv3", "block2_conv3", "block3_conv1")] == [32, 16, 8, 6]
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == [0.2, 0.5, 0.5]
    x = np.random.default_rng(0).random((3, 32, 32, 3), np.float32)
    maps = backend.keras().Model(model.inputs, model.get_layer("class_maps").output)
    logits, means = (backend.keras().ops.convert_to_numpy(m(x)) for m in (model, maps))
    np.testing.assert_allclose(logits, means.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "side"),
    [
        (AllConvNet(dataset=DATASET, width=0.2, epochs=15, batch_size=16), 16),
        (VGG19(dataset=DATASET, width=0.1, epochs=15, batch_size=16, learning_rate=5e-4), 32),
        (LeafNet(dataset=DATASET, width=0.25, epochs=4, batch_size=16), 82),
    ],
    ids=lambda value: getattr(value, "tag", None),
)
def test_deep_networks_begin_to_learn(target: Any, side: int) -> None:
    # Bright and dark images: what a network that learns anything at all can tell.
    rng, y = np.random.default_rng(0), np.arange(160) % 2
    x = (0.5 * rng.random((160, side, side, 1)) + 0.5 * y[:, None, None, None]).astype(np.float32)
    model = target.produce(run({DATASET: data(examples(x, y))}))
    assert (model.predict(x) == y).mean() > 0.95
