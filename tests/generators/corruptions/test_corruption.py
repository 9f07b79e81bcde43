"""The corruptions as a stage: which parameters, whatever the batch; what is refused and what is remarked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from temper.core.artefacts import Examples
from temper.core.component import Ref
from temper.core.data_info import DataInfo
from temper.core.errors import StageError
from temper.core.run import Run
from temper.generators.corruptions import corruption as module
from temper.generators.corruptions.corruption import Corruption
from temper.generators.corruptions.severities import SETS, CorruptionName, set_for

EVERY = [(of, name) for of, each in SETS.items() for name in each.names]


def images(*shape: int, n: int = 6) -> Examples:
    x = np.random.default_rng(0).random((n, *shape), np.float32)
    return Examples(x=x, y=np.arange(n) % 3, index=100 + np.arange(n))


def run_of(generator: Corruption, data: Examples, seed: int = 1, part: Any = "test") -> Run:
    return Run("it", seed, part, lambda ref: data, lambda _: {}, lambda *_: None, stream=generator.stream("it"))


def corrupted(data: Examples, seed: int = 1, part: Any = "test", **fields: Any) -> Examples:
    generator = Corruption(data=Ref("data"), **fields)
    return generator.produce(run_of(generator, data, seed, part))


def fields_of(of: Any, name: Any, severity: int) -> dict[str, Any]:
    return {"set": of, "name": name} | ({"severity": severity} if SETS[of].leveled(name) else {})


@pytest.mark.parametrize(("of", "name"), EVERY)
def test_every_corruption_works_on_small_and_oblong_images(of: Any, name: Any) -> None:
    # Saturation needs colours; the plan refuses it for grey images.
    for shape in ((8, 8, 3 if name == "saturate" else 1), (10, 13, 3)):
        data = images(*shape, n=2)
        for severity in (1, 5):
            found = corrupted(data, **fields_of(of, name, severity))
            assert found.x.shape == data.x.shape
            assert found.x.dtype == np.float32
            assert found.x.min() >= 0
            assert found.x.max() <= 1
            np.testing.assert_array_equal(found.index, data.index)
            np.testing.assert_array_equal(found.y, data.y)


@pytest.mark.parametrize(("of", "name"), EVERY)
def test_an_image_does_not_depend_on_its_batch(of: Any, name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data, fields = images(8, 8, 3), fields_of(of, name, 3)
    whole = corrupted(data, **fields)
    monkeypatch.setattr(module, "BLOCK", 4)
    np.testing.assert_array_equal(corrupted(data, **fields).x, whole.x)


@pytest.mark.parametrize(("of", "name"), EVERY)
def test_it_is_random_if_it_says_so(of: Any, name: Any) -> None:
    same = Examples(x=np.repeat(images(12, 12, 3, n=1).x, 8, 0), y=np.zeros(8, np.int64), index=np.arange(8))
    fields = fields_of(of, name, 4)
    found = corrupted(same, **fields).x
    assert Corruption(data=Ref("data"), **fields).stochastic == bool((found != found[0]).any())
    np.testing.assert_array_equal(corrupted(same, **fields).x, found, err_msg="the same seed")


def test_seeds_and_parts_differ_and_severities_share_their_draws() -> None:
    data = images(8, 8, 1)
    first, harder = (corrupted(data, name="gaussian_noise", severity=s).x - data.x for s in (1, 5))
    inside = (np.abs(data.x - 0.5) < 0.2) & (np.abs(harder) < 0.29)
    np.testing.assert_allclose(harder[inside], first[inside] * 0.1 / 0.04, atol=1e-5)
    for other in ({"seed": 2}, {"part": "train"}):
        assert (corrupted(data, name="gaussian_noise", severity=1, **other).x - data.x != first).any()


def test_the_size_decides_the_parameters() -> None:
    assert [set_for(side) for side in (8, 32, 64, 84, 85, 224)] == ["cifar10_c"] * 4 + ["imagenet_c"] * 2
    assert [SETS["cifar10_c"].factor(side) for side in (8, 32, 64)] == [1, 1, 2]
    assert [SETS["imagenet_c"].factor(side) for side in (112, 224)] == [0.5, 1]
    assert [SETS["mnist_c"].factor(side) for side in (14, 28)] == [0.5, 1]
    data = images(8, 8, 1)
    found = corrupted(data, name="contrast", severity=5)
    assert found.info["set"] == "cifar10_c"
    np.testing.assert_array_equal(found.x, corrupted(data, name="contrast", severity=5, set="cifar10_c").x)
    assert (found.x != corrupted(data, name="contrast", severity=5, set="imagenet_c").x).any()


def test_mnist_c_has_a_published_severity_of_its_own() -> None:
    data = images(28, 28, 1, n=2)
    default = corrupted(data, name="scale", set="mnist_c")
    assert default.info["severity"] == 3
    np.testing.assert_array_equal(default.x, corrupted(data, name="scale", set="mnist_c", severity=3).x)


@pytest.mark.parametrize(
    ("fields", "field", "part"),
    [
        ({"name": "fog"}, "severity", "expected 1 to 5, received none"),
        ({"name": "rotate", "severity": 1}, "name", "set: mnist_c"),
        ({"name": "snow", "severity": 1, "set": "mnist_c"}, "name", "set: imagenet_c"),
        ({"name": "zigzag", "severity": 1, "set": "mnist_c"}, "severity", "remove `severity`"),
        ({"name": "fog", "severity": 1, "frost_folder": "."}, "frost_folder", "set name: frost"),
        ({"name": "frost", "severity": 1, "frost_folder": "/nowhere"}, "frost_folder", "contains no photograph"),
    ],
)
def test_what_cannot_be_is_refused_by_the_plan(fields: dict[str, Any], field: str, part: str) -> None:
    ((found, message),) = Corruption(data=Ref("data"), **fields).check()
    assert found == field
    assert part in message


def test_images_that_do_not_fit_are_refused_by_the_plan() -> None:
    def problems(name: Any, *shape: Any) -> list[str]:
        return [field for field, _ in Corruption(data=Ref("data"), name=name, severity=1).fits(DataInfo(shape, ("a",)))]

    assert problems("fog", 8, 8, 1) == problems("saturate", 8, 8, 3) == []
    assert problems("saturate", 8, 8, 1) == ["name"]
    assert problems("fog", 7, 9, 3) == ["data"]
    assert problems("fog", 8, 8, 2) == ["data"]


def test_a_corruption_without_effect_is_remarked() -> None:
    data = images(8, 8, 1)
    for name, severity, remarks in (("zoom_blur", 1, 1), ("zoom_blur", 5, 0), ("contrast", 1, 0)):
        generator = Corruption(data=Ref("data"), name=name, severity=severity)  # type: ignore[arg-type]
        generator.produce(run := run_of(generator, data))
        assert len(run.remarks) == remarks, name


def test_frost_comes_from_photographs_or_a_texture_which_is_remarked(tmp_path: Path) -> None:
    data = images(8, 8, 3)
    Image.new("RGB", (40, 30), (51, 102, 204)).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no photograph")
    photographed = Corruption(data=Ref("data"), name="frost", severity=3, frost_folder=str(tmp_path))
    generator = Corruption(data=Ref("data"), name="frost", severity=3)
    found, remarks = [], []
    for each in (photographed, generator):
        assert not list(each.check())
        found.append(each.produce(run := run_of(each, data)).x)
        remarks.append(len(run.remarks))
    np.testing.assert_allclose(found[0], np.clip(0.9 * data.x + 0.4 * np.array([0.2, 0.4, 0.8]), 0, 1), atol=1e-5)
    assert remarks == [0, 1]
    (tmp_path / "b.jpg").write_text("no image")
    with pytest.raises(StageError, match=r"b\.jpg: the photograph of frost is corrupted"):
        photographed.produce(run_of(photographed, data))


def test_every_name_is_of_a_set_and_every_set_is_complete() -> None:
    assert set(get_args(CorruptionName)) == {name for _, name in EVERY}
    assert [len(SETS[of].names) for of in ("imagenet_c", "cifar10_c", "mnist_c")] == [19, 19, 15]
    assert SETS["imagenet_c"].names == SETS["cifar10_c"].names
    assert set(SETS["mnist_c"].published or ()) == set(SETS["mnist_c"].names)


def test_an_interrupted_run_resumes_with_the_same_images(monkeypatch: pytest.MonkeyPatch) -> None:
    data = images(8, 8, 1)
    whole = corrupted(data, name="fog", severity=3).x
    generator = Corruption(data=Ref("data"), name="fog", severity=3)
    run = run_of(generator, data)
    monkeypatch.setattr(run.checkpoint, "load", lambda: ({"rows": whole[:4]}, {"streams": []}))
    np.testing.assert_array_equal(generator.produce(run).x, whole)


def test_an_empty_set_stays_empty() -> None:
    assert len(corrupted(images(8, 8, 1, n=0), name="fog", severity=1)) == 0
