"""Attacks, coverage and scores of a Keras model in memory, each in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.api import given_arrays, in_memory
from temper.api.attack_defaults import with_default_steps
from temper.api.in_memory import InMemory
from temper.api.process_state import adopt_backend, adopt_threads
from temper.core.artefacts import Examples, Images
from temper.core.attack import Attack
from temper.core.classifier import Classifier
from temper.core.component import Component, Ref
from temper.core.data_info import DataInfo
from temper.core.errors import SpecError, SpecProblem
from temper.nn.adequacy.coverage import Criterion
from temper.nn.adequacy.score import Score
from temper.nn.shared_stages.activation_readout import ActivationReadout
from temper.nn.shared_stages.input_scores import InputScoring
from temper.nn.shared_stages.training_profile import CriterionProfile

_MODEL, _DATA, _SEEN = "model", "data", "examples"
_SHOWN = {_DATA: "train", _SEEN: "x"}
_Folders = Sequence[str | Path]


class Covered(float):
    """The share covered, in [0, 1], as a number; ``covered`` of ``total`` things, with ``remarks`` on what was left out."""

    covered: int
    total: int
    remarks: tuple[str, ...]


def attack(
    name: str,
    model: Any,
    x: Any,
    y: Any,
    *,
    seed: int = 1,
    stage: str | None = None,
    components: _Folders = (),
    progress: bool = False,
    **parameters: Any,
) -> NDArray[np.float32]:
    """Return images perturbed so that a model errs on them, float32 like ``x``, in [0, 1] and inside the attack's ball.

    ``name`` is the attack's type (``pgd``) and ``parameters`` are its fields (``eps=8/255, eps_step=2/255, max_iter=10,
    norm="inf"``), in input units. ``pgd`` and ``bim`` without ``eps_step`` or ``max_iter`` take Foolbox's: 40 steps of eps / 30 for ``pgd``
    (50 of eps / 40 in norm 1 and 2), 10 of eps / 5 for ``bim``; ``eps`` (``std`` of ``gaussian_noise``) has no default. ``model`` is a Keras model from images to logits or probabilities, which stays as it is;
    ``x`` are floats (n, height, width, channels) in [0, 1], ``y`` whole numbers (n,), the true labels. The result is the same as that of
    a stage called ``stage`` (by default like its type) at ``seed``. ``components`` are folders of your own attacks.

    Raises:
        SpecError: arrays, the model or a parameter are not what is expected.
        StageError: the attack cannot be carried out on this model.
    """
    where = f"temper.attack('{name}')"
    complete, remark = with_default_steps(name, parameters)
    built, given = _component(where, Attack, name, complete, components, model=_MODEL, data=_DATA)
    seed = given_arrays.whole_number(f"{where}: seed", seed, 0)
    images, classifier, remarks = _given(where, model, x)
    seeds = given_arrays.examples(where, (images, y), classifier.num_classes, labelled=True)
    _fit(where, built, seeds.shape, classifier.num_classes)
    with in_memory.reported(where, progress) as report:
        artefacts = {_MODEL: classifier, _DATA: seeds, **_artefacts(where, given, classifier, images)}
        memory = InMemory(artefacts, stage or name, seed, report)
        made = memory.perform(built, "test")
    in_memory.warn([remark, *remarks, *memory.remarks], where)
    return np.array(made.x)


def coverage(
    name: str,
    model: Any,
    x: Any,
    *,
    train: Any = None,
    base: Any = None,
    components: _Folders = (),
    progress: bool = False,
    **parameters: Any,
) -> Covered:
    """Return the share in [0, 1] that images cover of a model by a test adequacy criterion; nan where nothing can be covered.

    ``name`` is the criterion's type (``kmnc``) and ``parameters`` are its fields. ``model`` and ``x`` are as of ``attack``;
    ``train`` are the images that the criterion learns from, as ``x`` or as a pair ``(x, y)`` where it reads labels (``idc``);
    with ``base``, images like ``x``, what they and ``x`` cover together. The result has ``covered``, ``total`` and ``remarks``, too.

    Raises:
        SpecError: arrays, the model or a parameter are not what is expected.
        StageError: the criterion cannot judge this model.
    """
    where = f"temper.coverage('{name}')"
    criterion, given = _component(where, Criterion, name, parameters, components)
    _demand_train(where, train, criterion.learns)
    images, classifier, remarks = _given(where, model, x)
    sets = {_SEEN: images, "base": base, _DATA: train}
    artefacts = _artefacts(where, given, classifier, images) | {
        key: given_arrays.examples(
            f"{where}: {_SHOWN.get(key, key)}",
            arrays,
            classifier.num_classes,
            labelled=key == _DATA and criterion.reads_labels,
        )
        for key, arrays in sets.items()
        if arrays is not None
    }
    own = Ref[Any](_MODEL)
    with in_memory.reported(where, progress) as report:
        memory = InMemory(artefacts | {_MODEL: classifier}, name, 0, report)
        learnt = CriterionProfile(model=own, data=Ref(_DATA), criterion=criterion)
        profile = memory.perform(learnt).arrays if criterion.learns else {}

        def seen(key: str) -> Any:
            return memory.perform(ActivationReadout(model=own, examples=Ref(key), positions=criterion.positions))

        last = seen(_SEEN)
        state = criterion.coverage(profile, last)
        if base is not None:
            state.update(seen("base"))
        state.update(last)
    in_memory.warn([*remarks, *memory.remarks], where)
    result = Covered(state.value)
    result.covered, result.total, result.remarks = state.covered, state.total, tuple(state.remarks)
    return result


def scores(
    name: str,
    model: Any,
    x: Any,
    *,
    train: Any = None,
    seed: int = 1,
    stage: str | None = None,
    components: _Folders = (),
    progress: bool = False,
    **parameters: Any,
) -> NDArray[np.float64]:
    """Return how much each image is worth a label, float64 (n,): the higher, the sooner; nan where it cannot be judged.

    ``name`` is the score's type (``dsa``) and ``parameters`` are its fields. ``model`` and ``x`` are as of ``attack``; ``train`` are
    the images that the score learns from, as ``x`` or as a pair ``(x, y)``. Where ``x`` and they are the same images, each
    is compared with the others only. ``seed`` and ``stage`` are as of ``attack``, for scores that draw numbers.

    Raises:
        SpecError: arrays, the model or a parameter are not what is expected.
        StageError: the score cannot judge this model.
    """
    where = f"temper.scores('{name}')"
    score, given = _component(where, Score, name, parameters, components)
    _demand_train(where, train, score.learns)
    seed = given_arrays.whole_number(f"{where}: seed", seed, 0)
    images, classifier, remarks = _given(where, model, x)
    judged = given_arrays.examples(f"{where}: x", images, classifier.num_classes, labelled=False)
    artefacts = {_MODEL: classifier, _SEEN: judged, **_artefacts(where, given, classifier, images)}
    if train is not None:
        artefacts[_DATA] = given_arrays.examples(f"{where}: train", train, classifier.num_classes, labelled=False)
    is_train = train is not None and np.array_equal(artefacts[_DATA].x, images)
    examples = Ref[Any](_DATA if is_train else _SEEN)
    with in_memory.reported(where, progress) as report:
        memory = InMemory(artefacts, stage or name, seed, report)
        made = memory.perform(InputScoring(model=Ref(_MODEL), data=Ref(_DATA), examples=examples, score=score))
    in_memory.warn([*remarks, *memory.remarks, *made.remarks], where)
    return np.array(made.values)


def _component(
    where: str, family: type[Component], name: str, parameters: Mapping[str, Any], folders: _Folders, **references: str
) -> tuple[Any, dict[str, tuple[Any, Any]]]:
    """Return a checked component, and what its own references stand for: values by name, with their types.

    ``references`` are those that the call fills in. It comes first, as it takes over the backend of a framework that is loaded.
    """
    adopt_backend(where)
    adopt_threads()
    found = in_memory.catalogue(folders)
    named, given = in_memory.references(where, family, name, parameters, found)
    return in_memory.component(where, family, name, {**named, **references}, found), given


def _given(where: str, model: Any, x: Any) -> tuple[Images, Classifier, list[str]]:
    """Return images and a model as Temper's stages read them, with what is to be remarked on the model."""
    images = given_arrays.images(f"{where}: x", x)
    remarks: list[str] = []
    return images, given_arrays.classifier(f"{where}: model", model, images, remarks.append), remarks


def _artefacts(where: str, given: Mapping[str, tuple[Any, Any]], model: Classifier, x: Images) -> dict[str, Any]:
    """Return what a component's own references lead to: images, models, and artefacts as they are."""
    found: dict[str, Any] = {}
    for key, (value, target) in given.items():
        place = f"{where}: {key.removeprefix('given_')}"
        if target is Classifier:
            found[key] = given_arrays.classifier(place, value, x, lambda text: None)
        elif target is Examples:
            found[key] = given_arrays.examples(place, value, model.num_classes, labelled=False)
        elif isinstance(value, target):
            found[key] = value
        else:
            raise SpecError.at(place, 0, f"expected a {target.__name__}, received {type(value).__name__}")
    return found


def _fit(where: str, built: Component, shape: tuple[int, int, int], classes: int) -> None:
    info = DataInfo(shape, tuple(map(str, range(classes))))
    problems = [SpecProblem(where, 0, field, text) for field, text in built.fits(info)]
    if problems:
        raise SpecError(problems)


def _demand_train(where: str, train: Any, learns: bool) -> None:
    if learns and train is None:
        raise SpecError.at(where, 0, "expected the training images it learns from, received none; give train=(x, y)")
