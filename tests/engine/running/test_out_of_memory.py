"""Stages that run out of memory: detection, reduced settings of the retry, and the report."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.component import Ref
from temper.engine.running.out_of_memory import MAX_TRIES, OutOfMemoryRetry, changes, changes_in_words, is_out_of_memory
from temper.generators.art import Art
from tests.conftest import ROOT
from tests.parts.plain import Hungry

Run = Callable[..., tuple[int, str]]
Write = Callable[..., Path]

HUNGRY = """
name: hungry
datasets: {grey: {type: plain}}
generate:
  light: {type: hungry, data: grey, room: ROOM}
  after: {type: shift, data: light, noise: {type: fixed, by: 0.1}}
evaluate: {shade: {type: shade, examples: [light, after]}}
"""

DEMANDS = {
    "tensorflow": "import tensorflow as tf; tf.zeros([10**7, 10**7])",
    "torch": "import torch; torch.zeros(10**7, 10**7)",
    "jax": "import jax.numpy as jnp; jnp.zeros((10**7, 10**7)).block_until_ready()",
}


@pytest.mark.slow
@pytest.mark.parametrize("framework", DEMANDS)
def test_out_of_memory_errors_of_all_frameworks_are_detected(framework: str) -> None:
    pytest.importorskip(framework)
    code = f"""
from temper.engine.running.out_of_memory import is_out_of_memory
try:
    {DEMANDS[framework]}
except Exception as error:
    print(is_out_of_memory(error), type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("True "), done.stdout + done.stderr


def wrapped() -> None:
    try:
        np.zeros(10**16)
    except MemoryError as error:
        raise ValueError("wrapped") from error


def test_out_of_memory_is_detected_behind_another_exception() -> None:
    with pytest.raises(ValueError, match="wrapped") as caught:
        wrapped()
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(ValueError("the shop ran out of memory cards"))
    assert not is_out_of_memory(None)


def test_only_chunk_sizes_are_reduced_unless_the_stage_is_named() -> None:
    hungry = Hungry(data=Ref("grey"), batch_size=100, width=10)
    everywhere = OutOfMemoryRetry({"batch_size": 2, "width": 2}).reduce(hungry, "light")
    assert changes(hungry, everywhere) == {"batch_size": [100, 50]}
    named = OutOfMemoryRetry({"light.width": 5}).reduce(hungry, "light")
    assert changes(hungry, named) == {"width": [10, 2]}
    assert changes_in_words(changes(hungry, named)) == "width 2 instead of 10"
    assert OutOfMemoryRetry({"other.width": 5}).reduce(hungry, "light") is hungry
    least = Hungry(data=Ref("grey"), batch_size=1)
    assert OutOfMemoryRetry({"batch_size": 2}).reduce(least, "light") is least


def test_chunk_sizes_that_change_results_are_marked() -> None:
    common: dict[str, Any] = {"model": Ref("m"), "attack": "ProjectedGradientDescent", "batch_size": 100}
    for restarts, more in ((1, ""), (2, " and its results depend on it")):
        attack = Art(**common, params={"num_random_init": restarts})
        changed = changes(attack, OutOfMemoryRetry({"batch_size": 2}).reduce(attack, "pgd"))
        assert changes_in_words(changed) == f"batch_size 50 instead of 100{more}"


def shades(tmp_path: Path) -> bytes:
    return (tmp_path / "outputs" / "hungry" / "shade.csv").read_bytes()


def test_stage_is_retried_with_reduced_settings_and_the_report_warns(run: Run, write: Write, tmp_path: Path) -> None:
    assert run(write(HUNGRY.replace("ROOM", "1000")))[0] == 0
    whole = shades(tmp_path)
    file = write(HUNGRY.replace("ROOM", "300") + "on_out_of_memory: {batch_size: /2}\n")
    code, output = run(file)
    assert code == 0, output
    assert "light.test out of memory; retrying with batch_size 50 instead of 100" in output
    assert "warning: light.test: out of memory, so it ran with batch_size 25 instead of 100." in output
    assert shades(tmp_path) == whole
    results = tmp_path / "outputs" / "hungry"
    provenance = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["reduced"] == {"light.test": {"batch_size": [100, 25]}}
    assert "batch_size 25 instead of 100" in (results / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_fields_of_a_named_stage_are_reduced(run: Run, write: Write, tmp_path: Path, jobs: str) -> None:
    code, output = run(write(HUNGRY.replace("ROOM", "500") + "on_out_of_memory: {light.width: /2}\n"), "--jobs", jobs)
    assert code == 0, output
    assert "ran with width 5 instead of 10" in output
    assert run(write(HUNGRY.replace("ROOM", "500").replace("room", "width: 5, room")))[0] == 0


def test_number_of_retries_is_limited(run: Run, write: Write, tmp_path: Path) -> None:
    assert MAX_TRIES == 3
    code, output = run(write(HUNGRY.replace("ROOM", "100") + "on_out_of_memory: {batch_size: /2}\n"))
    assert code == 1
    assert output.count("light.test out of memory; retrying") == 3
    with (tmp_path / "outputs" / "hungry" / "failures.csv").open(encoding="utf-8-sig") as stream:
        (failure,) = csv.DictReader(stream)
    assert failure["cause"] == "out of memory; the last attempt used batch_size 12 instead of 100"


def test_nothing_is_retried_unless_the_file_allows_it(run: Run, write: Write) -> None:
    code, output = run(write(HUNGRY.replace("ROOM", "300")))
    assert code == 1
    assert "retrying" not in output


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{batch_size: 2}", "expected a divisor such as /2, received 2"),
        ("{batch_size: /1}", "expected a divisor such as /2, received '/1'"),
        ("{lihgt.width: /2}", "no stage is called 'lihgt'; did you mean 'light'?"),
        ("{light.witdh: /2}", "'light' has no whole number called 'witdh'; did you mean 'width'?"),
        ("{width: /2}", "no stage has a 'width' that says only how much is worked on at once; name the stage, if"),
    ],
)
def test_rules_without_effect_are_reported(run: Run, write: Write, rule: str, message: str) -> None:
    code, output = run(write(HUNGRY.replace("ROOM", "300") + f"on_out_of_memory: {rule}\n"))
    assert code == 2
    assert message in output
    assert "on_out_of_memory" in output


def test_rules_are_in_the_resolved_experiment(run: Run, write: Write, tmp_path: Path) -> None:
    run(write(HUNGRY.replace("ROOM", "1000") + "on_out_of_memory: {batch_size: /4}\n"))
    text = (tmp_path / "outputs" / "hungry" / "experiment.resolved.yaml").read_text(encoding="utf-8")
    assert "on_out_of_memory: {batch_size: /4}" in text
