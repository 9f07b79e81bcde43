"""What every component must honour, found by being there: a new one is covered without a change to this file.

A component whose parameters cannot be guessed from their types gets an entry in ``ARGUMENTS``.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator

from temper.artefacts.class_generators import ClassExamples
from temper.artefacts.corner_cases import CornerCases
from temper.core.artefacts import Artefact, Data, Examples, Results
from temper.core.attack import Attack
from temper.core.classifier import Classifier
from temper.core.cluster import Cluster
from temper.core.component import PARTS, Component, Field, Kind, Range, Ref, fields_of, summary
from temper.core.data_info import DataInfo
from temper.core.dataset import Dataset
from temper.core.families import Evaluation, Generator, Target
from temper.core.stage import Preparation, Stage
from temper.core.threat_model import ThreatModel
from temper.engine.catalogue.discovery import discover
from temper.engine.catalogue.json_schema import field_schema
from temper.engine.catalogue.sections import SECTIONS
from temper.engine.language.build import plain
from temper.engine.language.experiment_file import load
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.running.task import TaskSpec, perform
from temper.engine.storage.artefact_kinds import stored_kind
from temper.engine.storage.digests import Digests
from temper.engine.storage.store import Store
from temper.engine.workers import failed_jobs
from temper.nn.training.epochs import EpochSettings
from temper.system import backend
from tests.conftest import PARTS as COMPONENTS

CATALOGUE = discover([COMPONENTS])
LEAVES = CATALOGUE.leaves
STAGES = [leaf for leaf in LEAVES if issubclass(leaf, Stage) and not issubclass(leaf, Preparation)]
"""What stands in a file; a preparation is tried with the stage that makes it."""


def ids(leaf: type[Component]) -> str:
    return f"{getattr(leaf, 'section', 'nested')}.{leaf.tag}"


every = pytest.mark.parametrize("leaf", LEAVES, ids=ids)


def of(family: type[Component], *without: type[Component]) -> pytest.MarkDecorator:
    found = [leaf for leaf in LEAVES if issubclass(leaf, family) and not issubclass(leaf, without)]
    return pytest.mark.parametrize("leaf", found, ids=ids)


# How it is declared.


@every
def test_it_is_a_frozen_dataclass_of_keywords(leaf: type[Component]) -> None:
    assert leaf.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(field.kw_only for field in dataclasses.fields(leaf))  # type: ignore[arg-type]


@every
def test_it_inherits_from_no_other_component(leaf: type[Component]) -> None:
    assert not [base.__name__ for base in leaf.__mro__[1:] if "tag" in vars(base)]


@every
def test_its_tag_is_a_name_in_lower_case(leaf: type[Component]) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", leaf.tag)
    assert leaf.tag not in SECTIONS


@every
def test_it_says_what_it_does_and_where_it_comes_from(leaf: type[Component]) -> None:
    text = inspect.cleandoc(vars(leaf).get("__doc__") or "")
    assert not text.startswith(f"{leaf.__name__}("), "a dataclass without a docstring of its own"
    assert re.match(r"\S.*[.:]$", summary(leaf)), "the first line is a sentence"
    assert re.search(r"^Source: \S", text, re.MULTILINE)


@every
def test_its_fields_are_described(leaf: type[Component]) -> None:
    for field in fields_of(leaf):
        assert field.name != "type"
        if field.kind.name != "nested":
            assert len(field.help.split()) >= 2, f"{field.name}: {field.help!r} says too little"
            assert field.help[-1] not in ".;,", f"{field.name}: {field.help!r} is no sentence of its own"
        assert not (field.name == "as_published" and field.default is not False)


UNBOUNDED = {("saved", "scale"), ("saved", "offset"), ("lsc", "lower"), ("lsc", "upper")}
"""Numbers that may be anything, negative included."""


@every
def test_its_numbers_have_bounds(leaf: type[Component]) -> None:
    for field in fields_of(leaf):
        if _innermost(field.kind).name in ("int", "float") and field.kind.name != "many":
            assert field.bounds or (leaf.tag, field.name) in UNBOUNDED, field.name


@every
def test_its_schema_is_sound_and_its_defaults_satisfy_it(leaf: type[Component]) -> None:
    for field in fields_of(leaf):
        schema = field_schema(field)
        Draft202012Validator.check_schema(schema)
        if not field.required and _innermost(field.kind).name != "nested":
            value = list(field.default) if isinstance(field.default, tuple) else field.default
            assert Draft202012Validator(schema).is_valid(value), f"{field.name} = {value!r}"


@every
def test_every_field_is_read(leaf: type[Component]) -> None:
    modules = {base.__module__ for base in leaf.__mro__ if issubclass(base, Component) and base is not Component}
    if issubclass(leaf, Cluster):  # the engine reads the number of workers
        modules.add(failed_jobs.__name__)
    read = set().union(*map(_names_read, modules))
    assert not {field.name for field in fields_of(leaf)} - read


@cache
def _names_read(module: str) -> set[str]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    # getattr(self, name) over names in the source.
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    parts = set(PARTS) if "PARTS" in names else set()  # getattr(self, part) for each of them
    # SETTINGS.of(self) reads the fields of those names.
    settings = [vars(sys.modules[module]).get(node.id) for node in _takers(tree)]
    taken = {
        f.name
        for cls in settings
        if isinstance(cls, type) and issubclass(cls, EpochSettings)
        for f in dataclasses.fields(cls)
    }
    return attributes | {text for text in texts if text.isidentifier()} | parts | taken


def _takers(tree: ast.Module) -> Iterator[ast.Name]:
    """Yield the classes whose ``of`` a module calls on ``self``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".of") and node.args:
            assert isinstance(node.func, ast.Attribute)
            if isinstance(node.func.value, ast.Name) and ast.unparse(node.args[0]) == "self":
                yield node.func.value


def _innermost(kind: Kind) -> Kind:
    while kind.item is not None:
        kind = kind.item
    return kind


@pytest.mark.parametrize("leaf", STAGES, ids=ids)
def test_a_stage_has_a_section_and_an_artefact(leaf: type[Stage]) -> None:
    assert leaf.section in SECTIONS
    assert issubclass(leaf.produces, Artefact)


@of(Attack)
def test_an_attack_of_a_radius_stays_within_it(leaf: type[Attack], tmp_path: Path) -> None:
    """A field `eps` is the radius of the ball that `craft` holds the images to: in the norm of the field, or else in inf."""
    fields = {field.name: field for field in fields_of(leaf)}
    if "eps" not in fields:
        return
    chosen = {"eps": 0.25, **({"norm": 2} if "norm" in fields else {})}
    made = values(leaf, tmp_path, dict.fromkeys([Classifier, Examples], "it")) | chosen
    attack = CATALOGUE.of(Attack)[leaf.tag](
        **{k: v for k, v in made.items() if k not in ("type", "model")}, model=Ref("it")
    )
    assert attack.threat == ThreatModel(chosen.get("norm", "inf"), 0.25)
    info = DataInfo((2, 2, 1), ("a", "b"))
    large = dataclasses.replace(attack, eps=3.0)
    assert [field for field, _ in large.fits(info)] == ["eps"], "more than the distance between any two images"


@of(Generator)
def test_a_generator_says_what_it_starts_from(leaf: type[Component]) -> None:
    # Evaluations that compare with the originals ask for it.
    assert "data" in {field.name for field in fields_of(leaf)}


@of(Evaluation)
def test_an_evaluation_says_what_it_measures_and_how_to_show_it(leaf: type[Evaluation]) -> None:
    assert leaf.metrics
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", metric) for metric in leaf.metrics)
    assert len(set(leaf.metrics)) == len(leaf.metrics)
    assert leaf.rows
    assert leaf.columns
    assert not set(leaf.rows) & set(leaf.columns)


# How it behaves: every stage is run by the engine, on tiny data.

ARGUMENTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "apricot": lambda folder: {"holdout": "data.train"},
    "art": lambda folder: {"attack": "FastGradientMethod"},
    "auto_attack": lambda folder: {"version": "custom", "attacks": ["apgd_ce", "square"], "queries": 10},
    "corruption": lambda folder: {"severity": 3},
    "corruption_error": lambda folder: {"metric": "shade", "corruption": "examples", "severity": None},
    "curve_summary": lambda folder: {"metric": "shade", "along": "seed"},
    "ddpm": lambda folder: {"channels": [8], "train_steps": 2, "steps": 2},
    "examples_file": lambda folder: {
        "test": _npz(folder / "examples.npz", x_adv=np.linspace(0, 1, 1280, dtype=np.float32).reshape(20, 8, 8, 1))
    },
    "from_file": lambda folder: {"path": _text(folder / "number", "3")},
    "gtsrb": lambda folder: {"root": _images(folder / "gtsrb", classes=("00000", "00042"))},
    "intel": lambda folder: {
        "root": _images(
            folder / "intel",
            parts=("seg_train", "seg_test"),
            classes=("buildings", "forest", "glacier", "mountain", "sea", "street"),
        )
    },
    "pruning": lambda folder: {"shares": {"dense_1": 0.5}},
    "quantisation": lambda folder: {"activations": True},
    "supplementary_training": lambda folder: {"data": "data.train"},
    "svhn": lambda folder: {"root": _mats(folder / "svhn")},
    "coco": lambda folder: {"root": _coco(folder / "coco"), "categories": ["cat", "dog"], "resize": 16},
    "camvid": lambda folder: {"root": _camvid(folder / "camvid"), "categories": ["car", "sign"], "resize": 16},
    "class_incremental": lambda folder: {"tasks": 2},
    "continual": lambda folder: {"examples": ["noise.train"]},
    "task_incremental": lambda folder: {"tasks": 2},
    "guided_retraining": lambda folder: {"order": {"type": "entropy"}, "inputs": 0.5},
    "image_folder": lambda folder: {"root": _images(folder / "images")},
    "npz": lambda folder: {"path": _splits(folder / "splits.npz", (8, 8))},
    "coverage": lambda folder: {"criteria": [{"type": "nc"}, {"type": "nbc"}, {"type": "tknc"}]},
    "deephunter": lambda folder: {"reference": "older", "guidance": {"type": "kmnc"}},
    "diffchaser": lambda folder: {"reference": "older", "beta": 1.0, "mutation_rate": 0.5},
    "drfuzz": lambda folder: {"reference": "older"},
    "label_leak": lambda folder: {"examples": ["learnt"]},
    "mnist": lambda folder: {"root": _splits(folder / "mnist.npz", (28, 28))},
    "fashion_mnist": lambda folder: {"root": _splits(folder / "fashion_mnist.npz", (28, 28))},
    "cifar10": lambda folder: {"root": _splits(folder / "cifar10.npz", (32, 32, 3))},
    "published": lambda folder: {
        "file": _text(folder / "published.csv", "metric,value\nshade,0.5\n"),
        "names": {},
        "where": {},
    },
    "random_fuzzer": lambda folder: {"reference": "older"},
    "saved": lambda folder: {"path": _model(folder / "model.keras")},
    "significance": lambda folder: {"metric": "shade", "compare": "examples"},
    "trouble": lambda folder: {"unless": _text(folder / "well", "")},
}


def _text(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def _npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def _splits(path: Path, shape: tuple[int, ...]) -> str:
    rng = np.random.default_rng(0)
    sizes = {"train": 60, "test": 20}
    arrays = {f"x_{part}": rng.integers(0, 256, (n, *shape), np.uint8) for part, n in sizes.items()}
    return _npz(path, **arrays, **{f"y_{part}": np.arange(n) % 10 for part, n in sizes.items()})


def _images(
    folder: Path, *, parts: tuple[str, str] = ("train", "test"), classes: tuple[str, ...] = ("cat", "dog")
) -> str:
    """Write four images of each class into each part, of four things."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part in parts:
        for name in classes:
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for i in range(4):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / part / name / f"{i}_0.png")
    return str(folder)


def _coco(folder: Path) -> str:
    """Write eight photographs of an animal each into each part."""
    from PIL import Image

    rng = np.random.default_rng(0)
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for part in ("train2017", "val2017"):
        (folder / part).mkdir(exist_ok=True)
        found: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
        for i in range(8):
            Image.fromarray(rng.integers(0, 256, (48, 48, 3), np.uint8)).save(folder / part / f"{i}.png")
            found["images"].append({"id": i, "file_name": f"{i}.png", "height": 48, "width": 48})
            outline = [[4, 4, 40, 4, 40, 30, 4, 30]]
            about = {"image_id": i, "category_id": i % 2, "bbox": [4, 4, 36, 26], "area": 936, "segmentation": outline}
            found["annotations"].append(about)
        kinds = {"categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]}
        path = folder / "annotations" / f"instances_{part}.json"
        path.write_text(json.dumps(found | kinds), encoding="utf-8")
    return str(folder)


def _camvid(folder: Path) -> str:
    """Write frames of two films, with a car and a sign in each, into each part."""
    from PIL import Image

    rng, mask = np.random.default_rng(0), np.full((48, 64), 11, np.uint8)
    mask[4:24, 4:24], mask[4:24, 40:60] = 8, 6
    for part in ("train", "test"):
        for kind in ("images", "masks"):
            (folder / part / kind).mkdir(parents=True, exist_ok=True)
        for name in ("one_1", "one_2", "two_1", "two_2"):
            Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(folder / part / "images" / f"{name}.png")
            Image.fromarray(mask).save(folder / part / "masks" / f"{name}.png")
    return str(folder)


def _mats(folder: Path) -> str:
    from scipy.io import savemat

    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for part, n in (("train", 60), ("test", 20)):
        arrays = {"X": rng.integers(0, 256, (32, 32, 3, n), np.uint8), "y": (np.arange(n) % 10 + 1)[:, None]}
        savemat(folder / f"{part}_32x32.mat", arrays)
    return str(folder)


def _model(path: Path) -> str:
    keras = backend.keras()
    backend.seed(0)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    keras.Sequential(layers).save(path)
    return str(path)


def smoke_limits(leaf: type[Component]) -> Mapping[str, int]:
    """Return the limits of a component, which depend on no parameter but a data set's."""
    return {} if issubclass(leaf, Dataset) else leaf.smoke_limits(object.__new__(leaf))


@every
def test_a_limit_of_smoke_runs_is_one_of_a_parameter(leaf: type[Component]) -> None:
    fields = {field.name for field in fields_of(leaf)}
    mapped = any(field.kind.name == "mapping" for field in fields_of(leaf))
    assert mapped or set(smoke_limits(leaf)) <= fields


def values(leaf: type[Component], folder: Path, stages: dict[type, str]) -> dict[str, Any]:
    """Return parameters for a component: those it needs, guessed from their types, and small ones for long work."""
    chosen: dict[str, Any] = {"type": leaf.tag}
    limits = smoke_limits(leaf)
    for field in fields_of(leaf):
        if field.required:
            chosen[field.name] = _guess(field, field.kind, folder, stages)
        elif field.name in limits and isinstance(field.default, int) and field.default > limits[field.name]:
            chosen[field.name] = limits[field.name]
        elif field.name == "width" and isinstance(field.default, float):  # of a published network
            chosen[field.name] = 0.1
    return chosen | (ARGUMENTS[leaf.tag](folder) if leaf.tag in ARGUMENTS else {})


def _guess(field: Field, kind: Kind, folder: Path, stages: dict[type, str]) -> Any:
    bounds = field.bounds or Range()
    low = next((bound for bound in (bounds.ge, bounds.gt) if bound is not None), None)
    high = next((bound for bound in (bounds.le, bounds.lt) if bound is not None), None)
    match kind.name:
        case "bool":
            return False
        case "int":
            return int(low or 0) + 1
        case "float" if high is not None:
            return ((low or 0.0) + high) / 2
        case "float":
            return (low or 0.0) + 0.05
        case "str":
            return "x"
        case "choice":
            return kind.choices[0]
        case "mapping":
            return {}
        case "optional":
            return None
        case "many":
            assert kind.item is not None
            return [_guess(field, kind.item, folder, stages)]
        case "nested":
            assert kind.target is not None
            return values(next(iter(CATALOGUE.of(kind.target).values())), folder, stages)
        case _:
            assert kind.target is not None
            if field.name == "data":
                return "data"
            return next(name for made, name in stages.items() if issubclass(made, kind.target))


class Bench:
    """Runs the works of an experiment one after another, in a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")

    def graph(self, document: dict[str, Any], seed: int = 1) -> TaskGraph:
        file = self.folder / "bench.yaml"
        file.write_text(yaml.safe_dump(document | {"seeds": [seed]}), encoding="utf-8")
        return TaskGraph(load(file, CATALOGUE), Digests(self.folder / "digests.json"))

    def make(self, graph: TaskGraph, disturb: bool = False) -> None:
        for fingerprint, work in graph.tasks.items():
            if self.store.has(fingerprint):
                continue
            if disturb:  # what another stage may have left behind
                np.random.seed(99)  # noqa: NPY002
                if work.component.framework:
                    backend.seed(99)
            outcome = perform(TaskSpec.of(work, "run", CATALOGUE), self.store.root, lambda *_: None)
            assert outcome.status == "done", outcome.log or outcome.cause

    def artefact(self, work: Task, kind: type[Artefact]) -> Any:
        assert stored_kind(self.store, work.fingerprint) == kind.kind
        return Store(self.store.root).load(work.fingerprint, kind)  # a fresh store reads and checks it anew


SURROUNDINGS: dict[str, Any] = {
    "datasets": {"data": {"type": "digits", "train_size": 60, "test_size": 20}},
    # Trained enough to be right on some images of a class and wrong on others, which is what localisers live on.
    "targets": {
        "model": {
            "type": "dense",
            "dataset": "data",
            "layers": 1,
            "units": 8,
            "epochs": 4,
            "batch_size": 4,
            "learning_rate": 0.01,
        }
    },
    "generate": {"noise": {"type": "uniform_noise", "model": "model", "eps": 0.1}},
    "evaluate": {"shades": {"type": "shade", "examples": ["data", "noise"]}},
}
_OLDER = {"targets": {"older": SURROUNDINGS["targets"]["model"] | {"epochs": 3}}}
BESIDES: dict[str, dict[str, dict[str, Any]]] = {
    "label_leak": {
        "generate": {
            "learnt": {"type": "dgn", "model": "model", "eps": 0.01, "epochs": 1, "loss": {"type": "nce"}},
        }
    },
    "fuzzing": {
        "generate": {
            "found": {
                "type": "fuzzer",
                "model": "model",
                "augmenter": {"type": "gaussian_noise", "std": 0.01},
                "seed_count": 2,
            },
        }
    },
    "deephunter": _OLDER,
    "diffchaser": _OLDER,
    "drfuzz": _OLDER,
    "random_fuzzer": _OLDER,
}
"""Stages that a component needs for its work, by section."""
ORIGINS: dict[type, str] = {
    Classifier: "model", Examples: "noise", Data: "data", Results: "shades", ClassExamples: "learnt", CornerCases: "found"
}  # fmt: skip


def document(leaf: type[Stage], folder: Path) -> dict[str, Any]:
    """Return an experiment with one stage of a component, called ``it``, and what it needs."""
    chosen = values(leaf, folder, ORIGINS | dict(_special(leaf)))
    whole = copy.deepcopy(SURROUNDINGS)
    if issubclass(leaf, Target) and leaf.tag != "saved":
        # Large enough for any network of the trade.
        whole["datasets"]["data"]["resize"] = {"leafnet": 96}.get(leaf.tag, 32)
    add_needed(whole, leaf, folder)
    whole.setdefault(leaf.section, {})["it"] = chosen
    return whole


def add_needed(whole: dict[str, Any], leaf: type[Component], folder: Path) -> None:
    """Add the stages that a component needs beside the surroundings."""
    for section, stages in BESIDES.get(leaf.tag, {}).items():
        whole.setdefault(section, {}).update(stages)
    for kind, name in _special(leaf):
        maker = next(made for made in STAGES if made.produces is kind)
        whole.setdefault(maker.section, {})[name] = values(maker, folder, ORIGINS)
        add_needed(whole, maker, folder)


def _special(leaf: type[Component]) -> Iterator[tuple[type, str]]:
    """Yield the artefacts of its own kind that a component reads, with a name for a stage that makes each."""
    for field in fields_of(leaf):
        kind = _innermost(field.kind)
        if kind.name == "nested" and kind.target is not None:
            yield from _special(next(iter(CATALOGUE.of(kind.target).values())))
        elif kind.name == "ref" and kind.target not in (*ORIGINS, Artefact) and kind.target is not None:
            yield kind.target, kind.target.__name__.lower()


def its(graph: TaskGraph) -> Task:
    return next(
        work for work in graph.tasks.values() if work.stage == "it" and not isinstance(work.component, Preparation)
    )


def content(artefact: Artefact) -> list[Any]:
    """Return what an artefact consists of, for comparison."""
    if isinstance(artefact, Classifier):
        return [np.array(weights) for weights in artefact.model.get_weights()]
    if isinstance(artefact, Examples):
        masks = [] if artefact.masks is None else [artefact.masks]
        return [artefact.x, artefact.y, artefact.index, *masks]
    if isinstance(artefact, Data):
        return [part for name in ("train", "validation", "test") for part in content(getattr(artefact, name))]
    assert dataclasses.is_dataclass(artefact)
    return [getattr(artefact, field.name) for field in dataclasses.fields(artefact)]


def same(one: list[Any], two: list[Any]) -> bool:
    return len(one) == len(two) and all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") if isinstance(a, np.ndarray) else a == b
        for a, b in zip(one, two, strict=True)
    )


MEASURES_TIME = {"cost"}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.mark.slow
@pytest.mark.parametrize("leaf", STAGES, ids=ids)
def test_it_runs_the_same_again_and_touches_nothing_else(leaf: type[Stage], context: Bench, tmp_path: Path) -> None:
    written = document(leaf, context.folder)
    graph = context.graph(written)
    context.make(graph)
    work = its(graph)
    made = content(context.artefact(work, leaf.produces))
    # What was written to the store can still be read, inputs included: nobody has written into them.
    for other in graph.tasks.values():
        context.artefact(other, other.component.produces)
    # The same in another store, with other random streams disturbed and another stage beside it.
    again = Bench(tmp_path)
    written.setdefault("generate", {})["beside"] = {"type": "gaussian_noise", "model": "model", "std": 0.1}
    repeated = again.graph(written)
    assert its(repeated).fingerprint == work.fingerprint
    for fingerprint in work.needs:
        needed = graph.tasks[fingerprint]
        again.store.publish(
            fingerprint, context.artefact(needed, needed.component.produces), context.store.meta(fingerprint)
        )
    again.make(repeated, disturb=True)
    assert leaf.tag in MEASURES_TIME or same(content(again.artefact(work, leaf.produces)), made)


@pytest.mark.slow
@of(Dataset)
def test_a_data_set_is_what_it_says(leaf: type[Dataset], context: Bench) -> None:
    written = document(leaf, context.folder)
    written["datasets"]["it"] |= {"validation": 0.25}
    graph = context.graph(written)
    context.make(graph)
    work = its(graph)
    data = context.artefact(work, Data)
    assert isinstance(work.component, Dataset)
    assert data.info == work.component.info()
    for part in (data.train, data.validation, data.test):
        assert part.shape == data.info.shape
        assert len(part) > 0
        assert set(part.y) <= set(range(data.info.num_classes))
    assert not set(data.train.index) & set(data.validation.index)


@pytest.mark.slow
@of(Generator)
def test_a_generator_says_which_image_each_was_made_from(leaf: type[Generator], context: Bench) -> None:
    graph = context.graph(document(leaf, context.folder))
    context.make(graph)
    work = its(graph)
    made = context.artefact(work, leaf.produces)
    assert isinstance(made, Examples)
    clean = context.artefact(next(w for w in graph.tasks.values() if w.stage == "data"), Data).test
    assert len(made) > 0
    rows = clean.rows_of(made.index)
    assert len(rows) == len(made)
    if (eps := getattr(work.component, "eps", None)) is not None:  # a radius, whatever the family
        threat = ThreatModel(getattr(work.component, "norm", "inf"), eps)
        assert threat.contains(made.x - clean.x[rows]).all()
        assert (made.info["norm"], made.info["eps"]) == (threat.norm, threat.eps)


@pytest.mark.slow
@of(Attack)
def test_an_attack_keeps_labels_and_bounds(leaf: type[Attack], context: Bench) -> None:
    graph = context.graph(document(leaf, context.folder))
    context.make(graph)
    work = its(graph)
    made = context.artefact(work, Examples)
    clean = context.artefact(next(w for w in graph.tasks.values() if w.stage == "data"), Data).test
    assert made.x.shape == clean.x.shape
    assert made.x.dtype == np.float32
    assert np.array_equal(made.y, clean.y)
    assert np.array_equal(made.index, clean.index)
    assert made.x.min() >= 0.0
    assert made.x.max() <= 1.0
    assert isinstance(work.component, Attack)
    threat: ThreatModel | None = work.component.threat
    assert threat is None or threat.contains(made.x - clean.x).all()
    assert made.info.get("eps") == (threat.eps if threat else None)
    assert not np.array_equal(made.x, clean.x), "an attack that changes nothing"
    assert made.info["attack"] == leaf.tag


def shades(constant: bool) -> Classifier:
    """Return a classifier of shades that is always right, or that says the same of every image."""
    keras = backend.keras()
    layers = keras.layers
    model = keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten(), layers.Dense(2), layers.Dense(2)])
    slope = 0.0 if constant else 1.0
    weights = slope * np.array([[-1.0, 1.0]] * 4, np.float32)
    model.set_weights([weights, np.array([0.5, 0.0] if constant else [2.0, -2.0]), np.eye(2), np.zeros(2)])
    return Classifier(model)


def evaluated(leaf: type[Evaluation], context: Bench, model: Classifier) -> TaskGraph:
    """Return the graph of an evaluation of images and of noise on them, with the model in the store."""
    whole: dict[str, Any] = {
        "datasets": {"data": {"type": "plain", "images": 6}},
        "targets": {"model": {"type": "dense", "dataset": "data"}},
        "generate": {"noise": {"type": "uniform_noise", "model": "model", "eps": 0.01}},
    }
    whole["evaluate"] = {
        **SURROUNDINGS["evaluate"],
        "it": values(leaf, context.folder, ORIGINS | dict(_special(leaf))),
    }
    add_needed(whole, leaf, context.folder)
    graph = context.graph(whole)
    target = next(work for work in graph.tasks.values() if work.stage == "model")
    cost = {"seconds": 1.0, "cpu_seconds": 1.0, "peak_memory": 2**20, "images": 6}
    context.store.publish(target.fingerprint, model, {"cost": cost})
    return graph


KNOWN = {False: {"accuracy": 1.0, "clean_accuracy": 1.0, "robust_accuracy": 1.0, "attack_success_rate": 0.0}, True: {}}


@pytest.mark.slow
@pytest.mark.parametrize("constant", [False, True], ids=["perfect", "constant"])
@of(Evaluation)
def test_an_evaluation_gives_numbers_in_range(leaf: type[Evaluation], constant: bool, tmp_path: Path) -> None:
    context = Bench(tmp_path)
    graph = evaluated(leaf, context, shades(constant))
    context.make(graph)
    cells = [w for w in graph.tasks.values() if w.stage == "it" and not isinstance(w.component, Preparation)]
    rows = [row for w in cells for row in context.artefact(w, Results).rows]
    assert {row.metric for row in rows} <= set(leaf.metrics)
    assert leaf.metrics[0] in {row.metric for row in rows}, "the headline is there"
    for row in rows:
        assert row.unit
        assert row.n > 0 or row.metric == "published", "only what is quoted was measured on nothing"
        assert np.isfinite(row.value)
        if row.unit == "proportion":
            assert 0.0 <= row.value <= 1.0
        if row.lower is not None and row.upper is not None:
            assert row.lower - 1e-9 <= row.value <= row.upper + 1e-9
        assert row.value == pytest.approx(KNOWN[constant].get(row.metric, row.value)), row.metric


OF_NOTHING = ("published", "coverage")
"""Metrics that have a value for an empty set: what is quoted, and the 0 units that no input covers."""


@pytest.mark.slow
@of(Evaluation)
def test_an_evaluation_of_a_generator_that_found_nothing_gives_no_number_or_says_why(
    leaf: type[Evaluation], tmp_path: Path
) -> None:
    context = Bench(tmp_path)
    graph = evaluated(leaf, context, shades(constant=False))
    info = {"attack": "uniform_noise", "eps": 0.01, "norm": "inf"}
    none = Examples(x=np.empty((0, 2, 2, 1), np.float32), y=np.empty(0, int), index=np.empty(0, int), info=info)
    for work in graph.tasks.values():
        if work.stage == "noise" and not isinstance(work.component, Preparation):
            context.store.publish(work.fingerprint, none, {})
    for fingerprint, work in graph.tasks.items():
        if context.store.has(fingerprint):
            continue
        if not all(context.store.has(task.fingerprint) for task in work.inputs.values()):
            continue  # of a stage that said why
        outcome = perform(TaskSpec.of(work, "run", CATALOGUE), context.store.root, lambda *_: None)
        assert outcome.status == "done" or outcome.cause.startswith(("StageError", "UndertrainedModelError")), (
            outcome.log
        )
        if outcome.status == "done" and stored_kind(context.store, fingerprint) == Results.kind:
            for row in context.artefact(work, Results).rows:
                assert row.n or row.unit == "count" or row.metric in OF_NOTHING or np.isnan(row.value), row


@every
def test_plain_values_of_a_built_component_are_valid(leaf: type[Component]) -> None:
    fields = {field.name: field.default for field in fields_of(leaf) if not field.required}
    if len(fields) == len(fields_of(leaf)):  # nothing to guess: its defaults are a component
        assert plain(leaf()).keys() == {"type", *fields}
