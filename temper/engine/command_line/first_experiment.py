"""Writes a first experiment for a model on disk and a data set: ``--try MODEL --data DATA``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temper.core.errors import SpecError, SpecProblem, StageError, did_you_mean
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.catalogue.sections import SECTIONS
from temper.engine.language import experiment_file
from temper.engine.language.build import build

_TEST_SIZE = 1000
_TEST_FOLDERS = ("test", "val", "valid", "validation")
# Settings of a model of which its file or the images may leave no choice, the simplest first.
_SETTINGS: tuple[Mapping[str, Any], ...] = (
    {},
    {"channels_first": True},
    {"grey": "luma"},
    {"grey": "luma", "channels_first": True},
)
_HEAD = """\
# yaml-language-server: $schema={schema}
#
{comments}
name: {name}
description: {description}

axes:
  eps: {eps}

datasets:
  data: {data}

targets:
  model: {model}

generate:
  fgsm: {{type: fgsm, model: model, eps: $eps}}
  pgd: {{type: pgd, model: model, eps: $eps, eps_step: {step}, max_iter: 20}}

evaluate:
  robustness: {{type: robustness_matrix, models: [model], examples: [data, fgsm, pgd], protocol: white_box}}

tables:
  robustness: {{from: robustness, rows: [eps, model], columns: examples, caption: Accuracy (%) on clean and attacked images.}}
"""


@dataclass(frozen=True)
class _Choice:
    """The values of a stage, what was read from its files, and what was assumed."""

    values: Mapping[str, Any]
    read: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def write(model: Path, data: str, out: Path | None, catalogue: Catalogue, schema: str) -> Path:
    """Write an experiment file with clean accuracy, FGSM, PGD and a table; return its path.

    Raises:
        SpecError: the model or the data cannot be read or do not fit, or the file exists.
    """
    name = _name(out.stem if out else f"try-{model.stem}")
    path = out or Path(f"{name}.yaml")
    if path.exists():
        raise _problem("--out", f"{path} exists and would be overwritten; name another file with --out")
    if not path.parent.is_dir():
        raise _problem("--out", f"there is no folder {path.parent}; create it, or name another file")
    if not model.exists():
        raise _problem("--try", f"there is no file {model}; expected a saved model (.onnx, .keras, .h5, .hdf5)")
    images, target, shape = _fitted(model, _data(data, catalogue), catalogue)
    grey = shape[2] == 1
    choices = [
        *images.assumed,
        *target.assumed,
        "eps: " + ("0.1 and 0.3, usual for grey images" if grey else "8/255, usual for colour images"),
    ]
    comments = ["Read from the files:", *(f"  {line}" for line in (*target.read, *images.read))]
    comments += ["Assumed; change what is wrong:", *(f"  {line}" for line in choices)]
    text = _HEAD.format(
        schema=schema,
        comments="\n".join(f"# {line}" for line in comments),
        name=name,
        description=json.dumps(f"Robustness of {model.name} on {Path(data).name} to FGSM and PGD."),
        eps="[0.1, 0.3]" if grey else "[8/255]",
        step="0.03" if grey else "2/255",
        data=_flow(images.values),
        model=_flow(target.values),
    )
    path.write_text(text, encoding="utf-8")
    experiment_file.load(path, catalogue)
    return path


def _name(stem: str) -> str:
    """Return the name of the experiment, which is that of its file, so that two files do not share a results folder."""
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "try"


def _data(data: str, catalogue: Catalogue) -> _Choice:
    """Return the data set of a folder of images, an ``.npz`` file or the type of a built-in data set."""
    path = Path(data)
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _Choice({"type": "npz", "path": str(path.resolve())})
    types = catalogue.of(SECTIONS["datasets"])
    if data in types:
        return _Choice({"type": data})
    hint = (
        did_you_mean(data, list(types))
        or f"; data sets that need no path: {', '.join(t for t in types if t not in ('npz', 'image_folder'))}"
    )
    raise _problem(
        "--data", f"expected a folder of images, an .npz file or the name of a data set, received '{data}'{hint}"
    )


def _folder(path: Path) -> _Choice:
    values: dict[str, Any] = {"type": "image_folder", "root": str(path.resolve())}
    if not (path / "train").is_dir():
        values |= {"train_folder": ".", "test_share": 0.5}
        return _Choice(
            values, assumed=("half of the images, stratified, are the test part, as the folder has no train/",)
        )
    test = next((name for name in _TEST_FOLDERS if (path / name).is_dir()), None)
    if test is None:
        return _Choice(
            values | {"test_share": 0.5},
            assumed=("half of the training images are the test part, as there is no test/",),
        )
    return (
        _Choice(values)
        if test == "test"
        else _Choice(values | {"test_folder": test}, assumed=(f"{test}/ is the test part",))
    )


def _fitted(model: Path, images: _Choice, catalogue: Catalogue) -> tuple[_Choice, _Choice, tuple[int, int, int]]:
    """Return the data set and the model, with the settings under which they fit, and the shape of the images."""
    base = {"type": "saved", "dataset": "data", "path": str(model.resolve())}
    saved = _saved(base, catalogue)
    architecture = model.with_suffix(".json")
    if list(saved.check()) and architecture.is_file():
        base["architecture"] = str(architecture.resolve())
        saved = _saved(base, catalogue)
    _refuse("--try", saved.check())
    shape, outputs = saved.stated()
    stated = "x".join("any" if side is None else str(side) for side in shape)
    read = (f"the model takes {stated} and has {outputs or 'an unstated number of'} outputs",)
    messages: list[str] = []
    sides = [side for side in shape if side not in (1, 3, None)]
    for resize in (None, *dict.fromkeys(sides)) if images.values["type"] == "image_folder" else (None,):
        values = dict(images.values) | ({"resize": resize} if resize else {})
        leaf = catalogue.of(SECTIONS["datasets"])[str(values["type"])]
        dataset: Any = build(leaf, values, catalogue)
        problems = list(dataset.check())
        if any(field == "resize" for field, _ in problems) and not resize and sides:
            messages += [message for _, message in problems]
            continue
        _refuse("--data", problems)
        try:
            info, sizes = dataset.info(), dataset.sizes()
        except StageError as error:
            raise _problem("--data", str(error)) from None
        for setting in _SETTINGS:
            found = list(_saved({**base, **setting}, catalogue).fits(info))
            messages += [] if setting else [message for _, message in found]
            if found:
                continue
            kept = {"test_size": _TEST_SIZE} if sizes and sizes[1] > _TEST_SIZE else {}
            given = _Choice(
                values | kept,
                (
                    *images.read,
                    f"the images are {'x'.join(map(str, info.shape))} in {info.num_classes} classes: {_few(info.class_names)}",
                ),
                (
                    *images.assumed,
                    *([f"images are resized to {resize} pixels, as the model takes them"] if resize else []),
                    *(
                        [f"{_TEST_SIZE} test images suffice; remove test_size for all {sizes[1]:,}"]
                        if kept and sizes
                        else []
                    ),
                ),
            )
            assumed = (
                *(
                    f"{key}: {_scalar(value)}, without which the images do not fit the model"
                    for key, value in setting.items()
                ),
                *([f"{architecture.name} describes the architecture"] if "architecture" in base else []),
                "the model takes pixels in [0, 1] (else set scale and offset); the report says so if it does not fit",
                "its outputs are in the order of these classes (else set classes)",
            )
            return given, _Choice({**base, **setting}, read, assumed), info.shape
    raise _problem("--try", f"{model}: {messages[-1] if messages else 'the images do not fit the model'}")


def _saved(values: Mapping[str, Any], catalogue: Catalogue) -> Any:
    return build(catalogue.of(SECTIONS["targets"])["saved"], values, catalogue)


def _refuse(where: str, problems: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> None:
    if found := [SpecProblem(where, 0, field, message) for field, message in problems]:
        raise SpecError(found)


def _problem(where: str, message: str) -> SpecError:
    return SpecError([SpecProblem(where, 0, "", message)])


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def _flow(values: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in values.items()) + "}"


def _scalar(value: Any) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[a-z_][\w]*", value)
    return str(value) if plain else json.dumps(value)
