"""Attacks, coverage and scores of a model in memory: closed forms, and the numbers of the same stage in an experiment."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import temper
from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.generators.fgsm_bim_pgd import PGD
from temper.system import backend

SIZE, CLASSES = 4, 3
EPS, STEP = 0.1, 0.03


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    x = rng.uniform(0.2, 0.8, (12, SIZE, SIZE, 1)).astype(np.float32)
    return x, rng.integers(0, CLASSES, 12)


def network(end: str | None = None, flat: bool = False, hidden: int = 5) -> Any:
    keras = backend.keras()
    keras.utils.set_random_seed(3)
    layers = keras.layers
    shape = (SIZE * SIZE,) if flat else (SIZE, SIZE, 1)
    inside = [] if flat else [layers.Flatten()]
    dense = [layers.Dense(hidden, "relu", name="hidden")] if hidden else []
    return keras.Sequential([keras.Input(shape), *inside, *dense, layers.Dense(CLASSES, end)])


@pytest.fixture(scope="module")
def model() -> Any:
    return network()


def test_fgsm_on_two_linear_logits_is_the_sign_of_their_difference(data: tuple[Any, Any]) -> None:
    keras = backend.keras()
    linear = keras.Sequential([keras.Input((SIZE, SIZE, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    weights = linear.layers[-1].get_weights()[0]
    x, y = data[0], np.arange(12) % 2
    # The loss of class 0 rises along w_1 - w_0, that of class 1 along w_0 - w_1.
    up = np.sign(weights[:, 1] - weights[:, 0]).reshape(1, SIZE, SIZE, 1)
    expected = x + EPS * up * np.where(y == 0, 1, -1)[:, None, None, None]
    np.testing.assert_allclose(temper.attack("fgsm", linear, x, y, eps=EPS), expected, atol=1e-6)


def test_an_attack_is_that_of_the_stage_of_an_experiment(model: Any, data: tuple[Any, Any]) -> None:
    x, y = data
    examples = Examples(x=x.copy(), y=y, index=np.arange(12))
    stage = PGD(model=Ref("m"), data=Ref("d", "test"), eps=EPS, eps_step=STEP, max_iter=3, batch_size=5)
    inputs = {"m": Classifier(model), "d": examples}
    run = Run("mine", 7, "test", lambda ref: inputs[ref.stage], lambda _: {}, lambda *_: None)
    made = temper.attack("pgd", model, x, y, eps=EPS, eps_step=STEP, max_iter=3, seed=7, stage="mine")
    np.testing.assert_array_equal(made, stage.produce(run).x)
    assert (np.abs(made - x) <= EPS + 1e-6).all()
    assert not np.array_equal(made, temper.attack("pgd", model, x, y, eps=EPS, eps_step=STEP, max_iter=3, seed=8))


@pytest.mark.parametrize("norm", [2, np.inf])
def test_softmax_and_logits_and_flat_inputs_give_the_same_images(norm: float, data: tuple[Any, Any]) -> None:
    models = [network(), network("softmax"), network(flat=True)]
    for other in models[1:]:
        other.set_weights(models[0].get_weights())
    settings: Any = {"eps": EPS, "norm": norm}
    first, *others = [temper.attack("fgsm", one, *data, **settings) for one in models]
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-6)


def test_a_model_that_learns_on_is_attacked_as_it_stands_and_stays_as_it_is(data: tuple[Any, Any]) -> None:
    changing = network("softmax")
    first = temper.attack("fgsm", changing, *data, eps=EPS)
    changing.set_weights([-w for w in changing.get_weights()])
    before = [w.copy() for w in changing.get_weights()]
    assert not np.array_equal(temper.attack("fgsm", changing, *data, eps=EPS), first)
    for now, then in zip(changing.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_what_is_given_stays_writable_and_unchanged(model: Any, data: tuple[Any, Any]) -> None:
    x = data[0].copy()
    made = temper.attack("fgsm", model, x, data[1].tolist(), eps=EPS)
    x += 0
    made += 0
    np.testing.assert_array_equal(x, data[0])
    assert made.dtype == np.float32


def test_a_remark_is_a_warning_of_the_caller(data: tuple[Any, Any]) -> None:
    blind = network(hidden=0)
    blind.set_weights([np.zeros_like(w) for w in blind.get_weights()])
    with pytest.warns(UserWarning, match=r"^temper.attack\('fgsm'\): the gradient of model is exactly 0") as found:
        temper.attack("fgsm", blind, *data, eps=EPS)
    assert [w.filename for w in found if "gradient of model" in str(w.message)] == [__file__]


def test_kmnc_counts_the_sections_that_values_lie_in(data: tuple[Any, Any]) -> None:
    x = data[0]
    one = network(hidden=2)
    train, seen = x[:8], x[8:]
    hidden = backend.keras().Model(one.inputs, one.get_layer("hidden").output)
    low, high = (f(hidden.predict(train, verbose=0), axis=0) for f in (np.min, np.max))
    k, values = 5, hidden.predict(seen, verbose=0)
    inside = (values >= low) & (values <= high) & (high > low)
    section = np.minimum(((values - low) * k / np.where(high > low, high - low, 1)).astype(int), k - 1)
    hit = {(unit, section[i, unit]) for i, unit in np.argwhere(inside)}
    found = temper.coverage("kmnc", one, seen, train=train, k=k, layers=["hidden"])
    assert found == len(hit) / (k * (high > low).sum())
    assert (found.covered, found.total) == (len(hit), k * (high > low).sum())
    assert temper.coverage("kmnc", one, seen, train=train, base=train, k=k, layers=["hidden"]) >= found


def test_a_criterion_that_reads_labels_demands_them(model: Any, data: tuple[Any, Any]) -> None:
    x, _ = data
    with pytest.raises(temper.SpecError, match=r"temper.coverage\('idc'\): train: expected a pair \(x, y\)"):
        temper.coverage("idc", model, x, train=x)
    right = model.predict(x, verbose=0).argmax(axis=1)
    assert 0 < temper.coverage("idc", model, x, train=(x, right), m=2) <= 1


def test_images_of_another_domain_are_arrays_too(model: Any, data: tuple[Any, Any]) -> None:
    x, _ = data
    found = temper.coverage("knw", model, x, train=x, zero_shot=x[::-1].copy(), min_inputs=1)
    assert 0 <= found <= 1
    with pytest.raises(temper.SpecError, match="zero_shot: expected arrays"):
        temper.coverage("knw", model, x, train=x, zero_shot="mnist")


def test_deepgini_is_one_minus_the_squares(data: tuple[Any, Any]) -> None:
    soft = network("softmax")
    p = soft.predict(data[0], verbose=0)
    np.testing.assert_allclose(temper.scores("deepgini", soft, data[0]), 1 - (p**2).sum(axis=1), atol=1e-6)


def test_dsa_is_a_ratio_of_distances_between_traces(data: tuple[Any, Any]) -> None:
    x = data[0]
    one = network()
    weights = one.get_weights()
    weights[-1] -= np.median(one.predict(x, verbose=0), axis=0)  # so that several classes are predicted
    one.set_weights(weights)
    trace = backend.keras().Model(one.inputs, one.get_layer("hidden").output)
    train, seen = x[:9], x[9:]
    known, asked = trace.predict(train, verbose=0), trace.predict(seen, verbose=0)
    of_known, of_asked = (one.predict(part, verbose=0).argmax(axis=1) for part in (train, seen))
    assert len(set(of_known)) > 1
    expected = []
    for a, label in zip(asked, of_asked, strict=True):
        own, others = known[of_known == label], known[of_known != label]
        if not len(own):
            expected.append(np.nan)
            continue
        near = own[np.linalg.norm(own - a, axis=1).argmin()]
        expected.append(np.linalg.norm(near - a) / np.linalg.norm(others - near, axis=1).min())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are nowhere predicted
        found = temper.scores("dsa", one, seen, train=(train, data[1][:9]))
        own = temper.scores("dsa", one, train, train=train)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert not (own == 0).any()  # a training image is not compared with itself


WRONG = {
    "an unknown attack": ({"name": "pdg"}, r"there is no attack 'pdg'; did you mean 'pgd'\?"),
    "another family": ({"name": "sample"}, "there is no attack 'sample', but a type of the section generate:"),
    "an unknown parameter": ({"epz": 1}, "epz: unknown key 'epz'; did you mean 'eps'"),
    "a missing parameter": ({"eps": ...}, "'eps' is missing"),
    "a bound": ({"eps": -1}, "eps: -1 must be greater than 0"),
    "a radius in bytes": ({"eps": 8}, "eps: expected at most 1, the range of a pixel"),
    "bytes": (
        {"x": np.zeros((2, 4, 4, 1), np.uint8)},
        "x: expected pixels as floats .* received uint8; divide bytes by 255",
    ),
    "bytes as floats": (
        {"x": np.full((2, 4, 4, 1), 255.0)},
        r"expected pixels in \[0, 1\], received \[255, 255\]; divide",
    ),
    "nan": ({"x": np.full((2, 4, 4, 1), np.nan)}, r"expected pixels in \[0, 1\], received nan in 2 images"),
    "normalised pixels": ({"x": np.full((2, 4, 4, 1), -0.5)}, "let the model undo it"),
    "pixels of 0 and 1": ({"x": np.ones((2, 4, 4, 1), bool)}, r"received bool; use x.astype\('float32'\)"),
    "one image": ({"x": np.zeros((4, 4, 1))}, r"received \(4, 4, 1\); make a batch of one image: x\[None\]"),
    "flat images": ({"x": np.zeros((2, 16))}, r"restore the image shape: x.reshape\(len\(x\), height"),
    "channels first": ({"x": np.zeros((2, 1, 4, 4))}, r"channels come last: x.transpose\(0, 2, 3, 1\)"),
    "labels in a column": ({"y": [[0], [1]]}, r"received \(2, 1\); use np.ravel\(y\)"),
    "names of classes": ({"y": ["cat", "dog"]}, "use the classes' numbers"),
    "a negative seed": ({"name": "pgd", "seed": -1}, "seed: expected a whole number from 0, received -1"),
    "half a seed": ({"name": "pgd", "seed": 1.5}, "seed: expected a whole number from 0, received 1.5"),
    "a model's path": ({"model": "mlp.keras"}, "received builtins.str; load it: keras.saving.load_model"),
    "only eps is missing": ({"name": "pgd", "eps": ...}, r"\A[^\n]*'eps' is missing[^\n]*\Z"),
    "only eps is wrong": ({"name": "bim", "eps": "big"}, r"\A[^\n]* eps: expected a number[^\n]*\Z"),
    "no channels": ({"x": np.zeros((2, 4, 4))}, r"received \(2, 4, 4\); add the channel axis: x\[\.\.\., None\]"),
    "no images": ({"x": np.zeros((0, 4, 4, 1))}, r"received \(0, 4, 4, 1\)"),
    "text": ({"x": "mnist.npz"}, "x: expected"),
    "another size": ({"x": np.zeros((2, 8, 8, 1))}, "model: the model takes 4x4x1 images, received 8x8x1 images"),
    "one-hot labels": ({"y": np.eye(3)[[0, 1]]}, r"received one-hot rows \(2, 3\); use y.argmax\(axis=1\)"),
    "too few labels": ({"y": [1]}, r"expected a label for each of 2 images, \(2,\), received \(1,\)"),
    "labels as floats": (
        {"y": [0.0, 1.0]},
        r"expected whole numbers from 0 to 2, received float64; use y.astype\('int64'\)",
    ),
    "a label too many": ({"y": [0, 3]}, "expected labels from 0 to 2, received 0 to 3; the model has 3 outputs"),
    "no model": ({"model": len}, "model: expected a Keras 3 model, received builtins.builtin_function_or_method"),
}


@pytest.mark.parametrize(
    ("name", "norm", "foolbox"),
    [
        ("pgd", "inf", "LinfPGD"),
        ("pgd", 2, "L2PGD"),
        ("pgd", 1, "L1PGD"),
        ("bim", "inf", "LinfBasicIterativeAttack"),
        ("bim", 2, "L2BasicIterativeAttack"),
        ("bim", 1, "L1BasicIterativeAttack"),
    ],
)
def test_steps_that_are_not_stated_are_those_of_foolbox(
    name: str, norm: Any, foolbox: str, model: Any, data: tuple[Any, Any]
) -> None:
    defaults = inspect.signature(getattr(pytest.importorskip("foolbox").attacks, foolbox)).parameters
    share, steps = (defaults[key].default for key in ("rel_stepsize", "steps"))
    stated = temper.attack(name, model, *data, eps=EPS, norm=norm, eps_step=EPS * share, max_iter=steps)
    np.testing.assert_array_equal(temper.attack(name, model, *data, eps=EPS, norm=norm), stated)


def test_an_attack_that_reaches_no_bound_by_default_warns(model: Any, data: tuple[Any, Any]) -> None:
    with pytest.warns(
        UserWarning, match=r"3 steps of 0.00333333 reach 0.01 of eps 0.1: eps_step is a default; state it"
    ):
        temper.attack("pgd", model, *data, eps=EPS, max_iter=3)
    with pytest.warns(UserWarning, match=r"10 steps of 0.001 reach 0.01 of eps 0.1: max_iter is a default; state it"):
        temper.attack("bim", model, *data, eps=EPS, eps_step=0.001)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        temper.attack("pgd", model, *data, eps=EPS, eps_step=0.001, max_iter=1)


def test_a_torch_module_is_to_be_wrapped(data: tuple[Any, Any]) -> None:
    module = type("Module", (), {"__module__": "torch.nn.modules.module"})
    with pytest.raises(temper.SpecError, match=r"with KERAS_BACKEND=torch, wrap it: .*keras.Input\(\(4, 4, 1\)\)"):
        temper.attack("fgsm", type("Net", (module,), {})(), *data, eps=EPS)


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case: str, model: Any) -> None:
    change, message = WRONG[case]
    given = {"name": "fgsm", "model": model, "x": np.zeros((2, 4, 4, 1)), "y": [0, 1], "eps": EPS} | change
    with pytest.raises(temper.SpecError, match=message):
        temper.attack(**{key: value for key, value in given.items() if value is not ...})


def test_a_model_without_inputs_and_one_that_is_no_classifier_are_refused(data: tuple[Any, Any]) -> None:
    keras = backend.keras()
    loose = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(temper.SpecError, match="layers of the model are not connected"):
        temper.attack("fgsm", loose, *data, eps=EPS)
    with pytest.raises(temper.StageError, match=r"temper.attack\('fgsm'\): model: layer .* ends the model in sigmoid"):
        temper.attack("fgsm", network("sigmoid"), *data, eps=EPS)


@pytest.mark.parametrize("call", [temper.coverage, temper.scores])
def test_missing_training_data_is_an_error(call: Any, model: Any, data: tuple[Any, Any]) -> None:
    name = {temper.coverage: "kmnc", temper.scores: "dsa"}[call]
    with pytest.raises(temper.SpecError, match="expected the training images it learns from, received none"):
        call(name, model, data[0])


@pytest.fixture(autouse=True)
def silence(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is printed unless it is asked for."""
    yield
    assert capsys.readouterr() == ("", "")


def test_progress_is_shown_on_request(model: Any, data: tuple[Any, Any], capsys: pytest.CaptureFixture[str]) -> None:
    temper.attack("fgsm", model, *data, eps=EPS, progress=True)
    assert "fgsm" in capsys.readouterr().out
