from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Data
from temper.core.classifier import Classifier
from temper.core.data_info import DataInfo
from temper.core.errors import StageError
from temper.system import backend
from temper.targets.models.saved import Saved
from tests.targets.models.support import DATASET, blank, examples, given, run, write_legacy
from tests.targets.models.support import data as data_of

RNG = np.random.default_rng(0)
COLOUR = RNG.random((3, 6, 6, 3), np.float32)
GREY = RNG.random((3, 6, 6, 1), np.float32)


def network(shape: tuple[int | None, ...]) -> Any:
    keras = backend.keras()
    layers = keras.layers
    inputs = keras.Input(shape)
    a = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    b = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(a))
    pooled = layers.GlobalAveragePooling2D()(layers.Add()([a, b]))
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.Dropout(0.5)(pooled)))


def chain(shape: tuple[int, ...]) -> Any:
    keras = backend.keras()
    return keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(7, activation="relu"), keras.layers.Dense(5)]
    )


def load(path: Path, shape: tuple[int, int, int], **fields: Any) -> Classifier:
    component = Saved(dataset=DATASET, path=str(path), **fields)
    assert list(component.check()) == []
    assert list(component.fits(DataInfo(shape, tuple("abcde")))) == []
    return component.produce(run({DATASET: blank(shape, 5)}))


def probabilities(logits: np.ndarray) -> np.ndarray:
    exp = np.exp(logits)
    return exp / exp.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
def test_what_keras_3_saves_comes_back_as_logits(tmp_path: Path, suffix: str) -> None:
    model = network((6, 6, 3))
    model.save(path := tmp_path / f"model{suffix}")
    classifier = load(path, (6, 6, 3))

    assert (classifier.input_shape, classifier.num_classes) == ((6, 6, 3), 5)
    np.testing.assert_allclose(probabilities(classifier.logits(COLOUR)), given(model, COLOUR), rtol=1e-4)


def test_weights_of_keras_3_are_joined_with_their_architecture(tmp_path: Path) -> None:
    model = network((6, 6, 3))
    model.save_weights(path := tmp_path / "model.weights.h5")
    (tmp_path / "model.json").write_text(model.to_json())
    classifier = load(path, (6, 6, 3), architecture=str(tmp_path / "model.json"))
    np.testing.assert_allclose(probabilities(classifier.logits(COLOUR)), given(model, COLOUR), rtol=1e-4)


@pytest.mark.parametrize("build", [network, chain])
def test_scale_and_offset_are_applied_to_pixels(tmp_path: Path, build: Any) -> None:
    model = build((6, 6, 3))
    model.save(path := tmp_path / "model.keras")
    plain, scaled = load(path, (6, 6, 3)), load(path, (6, 6, 3), scale=2.0, offset=-1.0)
    np.testing.assert_allclose(scaled.logits(COLOUR), plain.logits(2 * COLOUR - 1), rtol=1e-4, atol=1e-5)


def test_layers_may_have_the_names_of_those_put_in_front(tmp_path: Path) -> None:
    keras = backend.keras()
    inputs = keras.Input((36,), name="image")
    tensor = inputs
    for name in ("input_scale", "input_flat", "input_grey"):
        tensor = keras.layers.Dense(5, name=name)(tensor)
    model = keras.Model(inputs, tensor)
    model.save(path := tmp_path / "model.keras")
    classifier = load(path, (6, 6, 3), scale=2.0, grey="luma")
    grey = COLOUR @ np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(classifier.logits(COLOUR), model(2 * grey.reshape(3, 36)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("order", "luma"), [("luma", (0.299, 0.587, 0.114)), ("luma_bgr", (0.114, 0.587, 0.299))])
def test_colour_images_reach_a_grey_model_as_luma(tmp_path: Path, order: str, luma: tuple[float, ...]) -> None:
    network((6, 6, 1)).save(path := tmp_path / "model.keras")
    grey = (COLOUR @ np.array(luma, np.float32))[..., None]
    expected = load(path, (6, 6, 1)).logits(grey)
    converted = load(path, (6, 6, 3), grey=order)
    np.testing.assert_allclose(converted.logits(COLOUR), expected, rtol=1e-4, atol=1e-5)

    again = backend.keras().models.clone_model(converted.model)
    np.testing.assert_allclose(again.get_layer("input_grey").get_weights()[0].ravel(), luma, rtol=1e-6)


def test_channels_first_and_flat_inputs_are_rearranged(tmp_path: Path) -> None:
    keras = backend.keras()
    kernel = RNG.normal(size=(108, 5)).astype(np.float32)
    model = keras.Sequential([keras.Input((108,)), keras.layers.Dense(5, use_bias=False)])
    model.set_weights([kernel])
    model.save(path := tmp_path / "model.keras")

    np.testing.assert_allclose(
        load(path, (6, 6, 3)).logits(COLOUR), COLOUR.reshape(3, 108) @ kernel, rtol=1e-4, atol=1e-5
    )
    first = load(path, (6, 6, 3), channels_first=True).logits(COLOUR)
    expected = COLOUR.transpose(0, 3, 1, 2).reshape(3, 108) @ kernel
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_model_without_a_channel_axis_takes_grey_images(tmp_path: Path, suffix: str) -> None:
    """That of TensorFlow's tutorial for beginners is one: Flatten(input_shape=(28, 28))."""
    keras = backend.keras()
    model = keras.Sequential([keras.Input((6, 6)), keras.layers.Flatten(), keras.layers.Dense(5, use_bias=False)])
    kernel = RNG.normal(size=(36, 5)).astype(np.float32)
    model.set_weights([kernel])
    model.save(path := tmp_path / f"model{suffix}")

    expected = GREY.reshape(3, 36) @ kernel
    np.testing.assert_allclose(load(path, (6, 6, 1)).logits(GREY), expected, rtol=1e-4, atol=1e-5)
    first = load(path, (6, 6, 1), channels_first=True).logits(GREY)
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-5)
    ((_, said),) = Saved(dataset=DATASET, path=str(path)).fits(DataInfo((6, 6, 3), tuple("abcde")))
    assert "set grey: luma" in said


def test_every_layer_of_a_model_behind_conventions_still_has_one_output(tmp_path: Path) -> None:
    """Coverage criteria read the output of each layer from the input of the model."""
    network((6, 6, 1)).save(path := tmp_path / "model.keras")
    model = load(path, (6, 6, 3), grey="luma", scale=255.0).model
    keras = backend.keras()
    observed = keras.Model(model.inputs[0], [layer.output for layer in model.layers[1:]])
    np.testing.assert_array_equal(np.array(keras.ops.convert_to_numpy(observed(COLOUR)[-1])), given(model, COLOUR))


def test_a_model_of_any_image_size_takes_the_size_of_the_data(tmp_path: Path) -> None:
    network((None, None, 1)).save(path := tmp_path / "model.keras")
    assert load(path, (6, 6, 1)).input_shape == (6, 6, 1)


@pytest.mark.parametrize(
    ("shape", "classes", "fields", "message"),
    [
        ((6, 6, 3), 5, {}, "takes 6x6x1 images, but gets 6x6x3 images; set grey: luma"),
        ((6, 1, 6), 5, {}, "takes 6x6x1 images, but gets 6x1x6 images; set channels_first: true"),
        ((8, 8, 1), 5, {}, "takes 6x6x1 images, but gets 8x8x1 images; resize the data set"),
        ((6, 6, 1), 5, {"grey": "luma"}, "expected images of 3 channels, received 1; remove `grey`"),
        ((6, 6, 1), 7, {}, "the model has 5 outputs, but the data set 7 classes"),
    ],
)
def test_the_error_for_unsuitable_data_names_the_mismatch(
    tmp_path: Path, shape: tuple[int, int, int], classes: int, fields: Any, message: str
) -> None:
    network((6, 6, 1)).save(path := tmp_path / "model.keras")
    component = Saved(dataset=DATASET, path=str(path), **fields)
    ((_, said),) = component.fits(DataInfo(shape, tuple(map(str, range(classes)))))

    assert message in said
    with pytest.raises(StageError, match=r"model\.keras: "):
        component.produce(run({DATASET: blank(shape, classes)}))


def with_layer(path: Path, **layer: Any) -> Path:
    """Save a chain with one more layer slipped into its configuration, as somebody with ill intent would."""
    chain((6, 6, 1)).save(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    config["config"]["layers"].insert(2, {"config": {"name": "evil"}, "registered_name": None, **layer})
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (files | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"module": "keras.layers", "class_name": "Lambda"}, "a Lambda layer runs code of the file's author"),
        ({"module": "keras.layers", "class_name": "TFSMLayer"}, "a TFSMLayer layer runs code"),
        (
            {"module": "os", "class_name": "system"},
            "system of module 'os' is not a supported layer or operation of Keras",
        ),
        ({"module": "keras.src.utils.file_utils", "class_name": "get_file"}, "get_file of module 'keras.src"),
        ({"module": "keras.src.ops.core", "class_name": "Map"}, "Map of module 'keras.src.ops.core'"),
        ({"module": None, "class_name": "Mine", "registered_name": "my>Mine"}, "my>Mine is a custom object"),
    ],
)
def test_archives_that_would_run_code_are_refused_before_keras_sees_them(
    tmp_path: Path, layer: Any, message: str
) -> None:
    path = with_layer(tmp_path / "model.keras", **layer)
    component = Saved(dataset=DATASET, path=str(path))
    ((field, said),) = component.check()

    assert field == "path"
    assert message in said
    with pytest.raises(StageError, match=r"model\.keras"):
        component.produce(run({DATASET: blank((6, 6, 1), 5)}))


def test_a_real_lambda_layer_is_refused_in_both_formats(tmp_path: Path) -> None:
    keras = backend.keras()
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Lambda(lambda x: x), keras.layers.Flatten()])
    for suffix in (".keras", ".h5"):
        model.save(path := tmp_path / f"model{suffix}")
        assert "Lambda" in " ".join(message for _, message in Saved(dataset=DATASET, path=str(path)).check())


def test_a_loss_of_the_authors_own_is_no_obstacle(tmp_path: Path) -> None:
    def loss(y: Any, z: Any) -> Any:
        return z

    model = chain((6, 6, 1))
    model.compile("adam", loss)
    model.save(path := tmp_path / "model.keras")
    np.testing.assert_allclose(load(path, (6, 6, 1)).logits(GREY), given(model, GREY), rtol=1e-4, atol=1e-6)


def test_weights_alone_ask_for_their_architecture(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "net.h5", [("d", [np.zeros((2, 2))])])
    ((field, message),) = Saved(dataset=DATASET, path=str(path)).check()
    assert (field, "name the JSON file of its architecture" in message) == ("path", True)

    (tmp_path / "net.json").write_text("{}")
    ((_, message),) = Saved(dataset=DATASET, path=str(path)).check()
    assert "name its architecture: net.json" in message


@pytest.mark.parametrize(
    ("name", "content"), [("a.h5", b"text"), ("a.keras", b"text"), ("a.tflite", b"text"), ("a.keras", None)]
)
def test_damaged_and_foreign_files_are_reported(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "[1]")
    else:
        path.write_bytes(content)
    component = Saved(dataset=DATASET, path=str(path))

    ((field, message),) = component.check()
    assert field == "path"
    assert str(path) in message
    assert list(component.fits(DataInfo((6, 6, 1), tuple("abcde")))) == []


def test_a_damaged_architecture_is_its_own_fault(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text("{")
    path = write_legacy(tmp_path / "net.h5", [("d", [np.zeros((2, 2))])])
    component = Saved(dataset=DATASET, path=str(path), architecture=str(tmp_path / "net.json"))
    assert [field for field, _ in component.check()] == ["architecture"]
    assert list(component.files()) == [path, tmp_path / "net.json"]
    assert not component.stochastic


def test_an_archive_has_its_own_architecture(tmp_path: Path) -> None:
    chain((6, 6, 1)).save(path := tmp_path / "model.keras")
    (tmp_path / "net.json").write_text(chain((6, 6, 1)).to_json())
    component = Saved(dataset=DATASET, path=str(path), architecture=str(tmp_path / "net.json"))
    assert [field for field, _ in component.check()] == ["architecture"]
    with pytest.raises(StageError, match="remove this one"):
        component.produce(run({DATASET: blank((6, 6, 1), 5)}))


def test_checking_a_file_imports_no_framework(tmp_path: Path) -> None:
    network((6, 6, 3)).save(path := tmp_path / "model.keras")
    script = (
        "import sys; from temper.core.artefacts import Data, DataInfo; from temper.core.component import Ref; "
        "from temper.targets.models.saved import Saved; "
        f"s = Saved(dataset=Ref('d'), path={str(path)!r}); "
        "assert not list(s.check()) and not list(s.fits(DataInfo((6, 6, 3), tuple('abcde')))); "
        "assert not {'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True)


@pytest.mark.parametrize("fields", [{}, {"scale": 255.0}])
def test_models_that_were_adapted_to_other_data_keep_apart(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Equal layers and weights, but the constants of the normalisation: neither order of loading may mix them up."""
    keras = backend.keras()
    shared = chain((6, 6, 3))
    models = []
    for k, images in enumerate((COLOUR, 7 * COLOUR**2)):
        first = keras.layers.Normalization()
        first.adapt(images)
        inputs = keras.Input((6, 6, 3), name=f"pixels_{k}")
        models.append(keras.Model(inputs, shared(first(inputs))))
        models[-1].save(tmp_path / f"{k}.keras")
    for k in (1, 0):
        expected = given(models[k], COLOUR * fields.get("scale", 1.0))
        classifier = load(tmp_path / f"{k}.keras", (6, 6, 3), **fields)
        np.testing.assert_allclose(classifier.logits(COLOUR), expected, rtol=1e-4, atol=1e-4)
        classifier.save(tmp_path)
        np.testing.assert_allclose(Classifier.load(tmp_path).logits(COLOUR), expected, rtol=1e-4, atol=1e-4)


def test_a_model_that_calls_a_layer_twice_takes_a_scale(tmp_path: Path) -> None:
    keras = backend.keras()
    inputs = keras.Input((6, 6, 3))
    convolution = keras.layers.Conv2D(3, 3, padding="same")
    twice = keras.ops.maximum(convolution(convolution(inputs)), 0.1)
    keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(twice))).save(path := tmp_path / "model.keras")
    plain, scaled = load(path, (6, 6, 3)), load(path, (6, 6, 3), scale=2.0)
    np.testing.assert_allclose(scaled.logits(COLOUR), plain.logits(2 * COLOUR), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_a_quantised_model_comes_back(tmp_path: Path, mode: str) -> None:
    model = chain((6, 6, 3))
    model.layers[1].quantize(mode)
    model.save(path := tmp_path / "model.keras")
    np.testing.assert_allclose(load(path, (6, 6, 3)).logits(COLOUR), given(model, COLOUR), rtol=1e-4, atol=1e-5)


def probabilities_of(name: str) -> Any:
    keras = backend.keras()
    layers = keras.layers
    inputs = keras.Input((6, 6, 3))
    p = [layers.Dense(5, activation="softmax")(layers.Flatten()(inputs)) for _ in range(2)]
    maps = layers.Conv2D(5, 3, padding="same", activation="softmax")(inputs)
    squared = keras.ops.square(layers.Dense(5)(layers.Flatten()(inputs)))
    mixture = np.full((5, 5), 0.1, np.float32) + 0.5 * np.eye(5, dtype=np.float32)
    ends = {
        "average": lambda: layers.Average()(p),
        "windows": lambda: layers.GlobalAveragePooling2D()(layers.AveragePooling2D(2)(maps)),
        "label noise": lambda: layers.Dense(
            5, use_bias=False, kernel_initializer=keras.initializers.Constant(mixture.tolist())
        )(p[0]),
        "percentages": lambda: 100 * p[0],
        "logits": lambda: layers.Dense(5)(p[0]),
        "softmax": lambda: p[0],
        "lengths": lambda: squared / (1 + squared),
        "log-softmax": lambda: keras.ops.log_softmax(layers.Dense(5)(p[0])),
    }
    return keras.Model(inputs, ends[name]())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("average", "ends in probabilities that are not one softmax"),
        ("percentages", "ends in probabilities that are not one softmax"),
        ("windows", "gradients vanish where float32 rounds"),
        ("label noise", "gradients vanish where float32 rounds"),
    ],
)
def test_a_model_of_probabilities_gives_their_logarithms_and_says_so(tmp_path: Path, name: str, said: str) -> None:
    model = probabilities_of(name)
    model.save(path := tmp_path / "model.keras")
    data = several((6, 6, 3))
    surroundings = run({DATASET: data})
    classifier = Saved(dataset=DATASET, path=str(path)).produce(surroundings)
    outputs = given(model, data.train.x)
    expected = outputs / outputs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(classifier.logits(data.train.x)), expected, rtol=1e-4)
    assert len(surroundings.remarks) == 1
    assert said in next(iter(surroundings.remarks))


@pytest.mark.parametrize("name", ["logits", "softmax", "log-softmax"])
def test_nothing_is_said_of_logits_and_of_one_softmax(tmp_path: Path, name: str) -> None:
    probabilities_of(name).save(path := tmp_path / "model.keras")
    surroundings = run({DATASET: several((6, 6, 3))})
    Saved(dataset=DATASET, path=str(path)).produce(surroundings)
    assert surroundings.remarks == {}


def test_outputs_between_0_and_1_taken_for_logits_cause_a_warning(tmp_path: Path) -> None:
    probabilities_of("lengths").save(path := tmp_path / "model.keras")
    surroundings = run({DATASET: several((6, 6, 3))})
    Saved(dataset=DATASET, path=str(path)).produce(surroundings)
    (said,) = surroundings.remarks
    assert "all outputs of the model are between 0 and 1" in said


def several(shape: tuple[int, int, int]) -> Data:
    x = np.random.default_rng(5).random((30, *shape), np.float32)
    return data_of(examples(x, np.arange(30) % 5))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_of_weights_that_are_not_finite_is_refused(tmp_path: Path, suffix: str) -> None:
    model = chain((6, 6, 3))
    kernel = model.layers[1].get_weights()[0]
    kernel[3, 2] = np.nan
    model.layers[1].set_weights([kernel, model.layers[1].get_weights()[1]])
    model.save(path := tmp_path / f"model{suffix}")
    said = rf"model{suffix}: layer '{model.layers[1].name}': 1 of 756 values of its weight 'kernel'"
    with pytest.raises(StageError, match=said):
        load(path, (6, 6, 3))


def two_shades(n: int = 200) -> Data:
    """Dark and bright images, 0.3 and 0.6 on average."""
    y = np.arange(n) % 2
    x = (0.3 * (1 + y)[:, None, None, None] + RNG.uniform(-0.05, 0.05, (n, 4, 4, 1))).astype(np.float32)
    return data_of(examples(x, y), examples(x, y))


def bright_above(path: Path, threshold: float) -> Path:
    """Write a model whose second logit is the mean pixel minus a threshold."""
    keras = backend.keras()
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    weights = np.stack([np.zeros(16), np.full(16, 1 / 16)], axis=1)
    model.layers[-1].set_weights([weights, np.array([0.0, -threshold])])
    model.save(path)
    return path


def reviewed(path: Path, **fields: Any) -> list[str]:
    component, stage = Saved(dataset=DATASET, path=str(path), **fields), run({DATASET: two_shades()})
    component.review(component.produce(stage), stage)
    return list(stage.remarks)


def test_review_reports_accuracy_confidence_and_input_range(tmp_path: Path) -> None:
    (remark,) = reviewed(bright_above(tmp_path / "model.keras", 0.45))
    assert "On 200 test images: clean accuracy 100.00%, mean confidence 0.53" in remark
    assert "receives values from 0.25" in remark


@pytest.mark.parametrize(
    ("threshold", "fields", "advice"),
    [
        (0.45 * 255, {}, "`scale: 255`"),
        (-0.1, {}, "`scale: 2, offset: -1`"),
        (0.45, {"scale": 255.0}, "`no scale, offset"),
        (0.45, {"mean_std": "mnist"}, "`no scale, offset"),
        (0.45 * 255, {"mean": (0.5,), "std": (0.5,)}, "`scale: 255`"),
    ],
)
def test_review_names_the_input_format_that_fits(
    tmp_path: Path, threshold: float, fields: dict[str, Any], advice: str
) -> None:
    remarks = reviewed(bright_above(tmp_path / "model.keras", threshold), **fields)
    assert any(advice in remark and "100.00% of 200 images instead of 50.00%" in remark for remark in remarks), remarks


def shallow(shape: tuple[int, ...], units: int = 5, **last: Any) -> Any:
    keras = backend.keras()
    return keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(units, name="last", **last)]
    )


@pytest.mark.parametrize("ending", ["dense", "layer", "logit", "shifted"])
def test_one_output_for_two_classes_becomes_the_logits_0_and_z(tmp_path: Path, ending: str) -> None:
    keras = backend.keras()
    activation = "sigmoid" if ending == "dense" else None
    model = shallow((6, 6, 3), 1, activation=activation)
    if ending == "layer":
        model = keras.Sequential([model, keras.layers.Dropout(0.1), keras.layers.Activation("sigmoid")])
    if ending == "shifted":
        model = keras.Model(model.inputs[0], keras.ops.sigmoid(model.outputs[0] - 0.5))
    model.save(path := tmp_path / "model.keras")
    output = given(model, COLOUR)[:, 0].astype(np.float64)
    z = output if ending == "logit" else np.log(output / (1 - output))

    component = Saved(dataset=DATASET, path=str(path))
    assert list(component.fits(DataInfo((6, 6, 3), ("a", "b")))) == []
    made = component.produce(one := run({DATASET: blank((6, 6, 3), 2)}))
    assert any("log-odds of the second class" in remark for remark in one.remarks) == (ending == "logit")
    np.testing.assert_allclose(made.logits(COLOUR), np.stack([np.zeros(3), z], 1), rtol=1e-4, atol=1e-5)
    assert made.model.layers[-1].weights
    swapped = Saved(dataset=DATASET, path=str(path), classes=("1", "0")).produce(run({DATASET: blank((6, 6, 3), 2)}))
    np.testing.assert_allclose(swapped.logits(COLOUR), made.logits(COLOUR)[:, ::-1], rtol=1e-5, atol=1e-6)


def test_one_output_is_refused_where_there_are_not_two_classes_or_it_is_bounded_otherwise(tmp_path: Path) -> None:
    shallow((6, 6, 1), 1, activation="tanh").save(path := tmp_path / "model.keras")
    component = Saved(dataset=DATASET, path=str(path))
    ((field, said),) = component.fits(DataInfo((6, 6, 1), tuple("abc")))
    assert (field, "one output, which tells two classes apart" in said) == ("dataset", True)
    with pytest.raises(
        StageError, match="'last' ends the model of one output in tanh; expected one logit or one sigmoid"
    ):
        component.produce(run({DATASET: blank((6, 6, 1), 2)}))


def test_a_sigmoid_for_each_class_is_refused_with_what_to_do(tmp_path: Path) -> None:
    shallow((6, 6, 1), 5, activation="sigmoid").save(path := tmp_path / "model.keras")
    with pytest.raises(
        StageError, match="if each image has one class only, save the model with the last activation linear"
    ):
        Saved(dataset=DATASET, path=str(path)).produce(run({DATASET: blank((6, 6, 1), 5)}))


IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.25, 2.0)}, (COLOUR - [0.1, 0.2, 0.3]) / [0.5, 0.25, 2.0]),
        ({"mean": (0.1,), "std": (0.5, 0.25, 2.0)}, (COLOUR - 0.1) / [0.5, 0.25, 2.0]),
        ({"mean": (0.5,)}, COLOUR - 0.5),
        ({"std": (0.25,)}, COLOUR * 4),
        ({"mean_std": "imagenet"}, (COLOUR - IMAGENET[0]) / IMAGENET[1]),
        ({"mean_std": "imagenet", "bgr": True}, ((COLOUR - IMAGENET[0]) / IMAGENET[1])[..., ::-1]),
        ({"scale": 255.0, "bgr": True}, 255 * COLOUR[..., ::-1]),
        ({"mean_std": "mnist"}, (COLOUR - 0.1307) / 0.3081),
    ],
)
def test_mean_and_std_are_taken_from_pixels_and_channels_are_swapped(
    tmp_path: Path, fields: dict[str, Any], expected: np.ndarray
) -> None:
    (model := shallow((6, 6, 3))).save(path := tmp_path / "model.keras")
    classifier = load(path, (6, 6, 3), **fields)
    np.testing.assert_allclose(
        classifier.logits(COLOUR), given(model, expected.astype(np.float32)), rtol=1e-4, atol=1e-4
    )


def test_a_layer_resizes_in_front_of_the_model_as_opencv_does(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    (model := shallow((9, 4, 3))).save(path := tmp_path / "model.keras")
    ((_, said),) = Saved(dataset=DATASET, path=str(path)).fits(DataInfo((6, 6, 3), tuple("abcde")))
    assert "takes 9x4x3 images, but gets 6x6x3 images; resize the data set, or set resize: [9, 4]" in said
    classifier = load(path, (6, 6, 3), resize=(9, 4))
    resized = np.stack([cv2.resize(image, (4, 9), interpolation=cv2.INTER_LINEAR) for image in COLOUR])
    assert classifier.input_shape == (6, 6, 3)
    np.testing.assert_allclose(classifier.logits(COLOUR), given(model, resized), rtol=1e-4, atol=1e-5)

    labels, step = np.array([0, 1, 2]), np.zeros((6, 6, 3), np.float32)
    step[2, 3, 1] = 0.02

    def losses(x: np.ndarray) -> np.ndarray:
        return -np.log(probabilities(classifier.logits(x))[np.arange(3), labels])  # type: ignore[no-any-return]

    slope = (losses(COLOUR + step) - losses(COLOUR - step)) / 0.04
    np.testing.assert_allclose(classifier.loss_gradient(COLOUR, labels)[:, 2, 3, 1], slope, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"mean": (0.5,), "scale": 2.0}, "mean"),
        ({"std": (0.5,), "offset": 2.0}, "std"),
        ({"mean_std": "mnist", "scale": 2.0}, "mean_std"),
        ({"mean_std": "mnist", "mean": (0.5,)}, "mean_std"),
        ({"std": (0.5, 0.0, 1.0)}, "std"),
        ({"mean": (0.5, 0.5), "std": (1.0, 1.0, 1.0)}, "std"),
        ({"bgr": True, "grey": "luma"}, "bgr"),
        ({"resize": (6,)}, "resize"),
        ({"resize": (6, 0)}, "resize"),
    ],
)
def test_conventions_that_contradict_each_other_are_refused(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    shallow((6, 6, 3)).save(path := tmp_path / "model.keras")
    assert [name for name, _ in Saved(dataset=DATASET, path=str(path), **fields).check()] == [field]


@pytest.mark.parametrize(
    ("shape", "fields", "field"),
    [
        ((6, 6, 1), {"bgr": True}, "bgr"),
        ((6, 6, 1), {"mean_std": "imagenet"}, "mean_std"),
        ((6, 6, 3), {"mean": (0.5, 0.5)}, "mean"),
        ((6, 6, 3), {"grey": "luma", "std": (0.5, 0.5, 0.5)}, "std"),
    ],
)
def test_conventions_for_other_channels_are_refused(
    tmp_path: Path, shape: tuple[int, int, int], fields: dict[str, Any], field: str
) -> None:
    shallow((6, 6, 1)).save(path := tmp_path / "model.keras")
    found = Saved(dataset=DATASET, path=str(path), **fields).fits(DataInfo(shape, tuple("abcde")))
    assert [name for name, _ in found] == [field]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", ["convolution", "permute"])
def test_a_model_whose_layers_say_channels_first_gets_them_first(tmp_path: Path, suffix: str, kind: str) -> None:
    keras, layers = backend.keras(), backend.keras().layers
    inputs = keras.Input((3, 6, 6))
    if kind == "permute":
        tensor = layers.Permute((2, 3, 1))(inputs)
    else:
        tensor = layers.ZeroPadding2D(1, data_format="channels_first")(inputs)
    model = keras.Model(inputs, layers.Dense(5)(layers.Flatten()(tensor)))
    model.save(path := tmp_path / f"model{suffix}")
    expected = given(model, COLOUR.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(load(path, (6, 6, 3)).logits(COLOUR), expected, rtol=1e-4, atol=1e-5)
    refused = Saved(dataset=DATASET, path=str(path), channels_first=False).fits(DataInfo((6, 6, 3), tuple("abcde")))
    assert "set channels_first: true" in next(refused)[1]
