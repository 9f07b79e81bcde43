"""A run from file to tables: nothing is computed twice, and a failure skips only dependent stages."""

from __future__ import annotations

import csv
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from temper.engine.storage import garbage_collection
from tests.conftest import PARTS, PLAIN, start

Run = Callable[..., tuple[int, str]]
Write = Callable[..., Path]


def table(tmp_path: Path, experiment: str, name: str) -> list[list[str]]:
    with (tmp_path / "outputs" / experiment / f"{name}.csv").open(encoding="utf-8-sig") as stream:
        return list(csv.reader(stream))


def test_a_run_writes_its_tables_and_their_provenance(run: Run, write: Write, tmp_path: Path) -> None:
    code, said = run(write(PLAIN))
    assert code == 0, said
    rows = {tuple(row[:2]): row[2] for row in table(tmp_path, "plain", "shade")[1:]}
    # Shades 0, .2, ... 1 have mean .5; the lighter ones are clipped at 1.
    assert rows["grey", ""] == "0.5000"
    assert rows["lighter", "0.1"] == f"{(0.1 + 0.3 + 0.5 + 0.7 + 0.9 + 1) / 6:.4f}"
    assert rows["lighter", "0.2"] == f"{(0.2 + 0.4 + 0.6 + 0.8 + 1 + 1) / 6:.4f}"
    assert "±" in rows["random", ""]
    folder = tmp_path / "outputs" / "plain"
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["versions"]["numpy"]
    assert "grey" in provenance["store"]
    assert {p.name for p in folder.iterdir()} >= {
        "results.csv", "shade.csv", "shade.tex", "report.html", "experiment.resolved.yaml", "log.txt",
    }  # fmt: skip


def test_the_resolved_experiment_has_the_same_tasks(run: Run, write: Write, tmp_path: Path) -> None:
    run(write(PLAIN))
    resolved = tmp_path / "outputs" / "plain" / "experiment.resolved.yaml"
    code, said = run(resolved, "--plan")
    assert code == 0, said
    assert "0 to run" in said


def test_nothing_is_computed_twice(run: Run, write: Write, tmp_path: Path) -> None:
    counter = tmp_path / "count"
    text = PLAIN.replace("data: grey,", f"data: grey, counter: {counter},")
    run(write(text))
    done = counter.read_text(encoding="utf-8").splitlines()
    assert sorted(done) == ["lighter.test"] * 2 + ["random.test"] * 2
    tables = (tmp_path / "outputs" / "plain" / "results.csv").read_bytes()
    code, said = run(write("# a comment\n" + text))
    assert code == 0
    assert "0 computed" in said
    assert counter.read_text(encoding="utf-8").splitlines() == done
    assert (tmp_path / "outputs" / "plain" / "results.csv").read_bytes() == tables
    # Another experiment with the same stages finds them too.
    code, said = run(write(text.replace("name: plain", "name: other")))
    assert "0 computed" in said


def test_a_new_value_of_an_axis_runs_only_what_is_new(run: Run, write: Write) -> None:
    run(write(PLAIN))
    code, said = run(write(PLAIN.replace("[0.1, 0.2]", "[0.1, 0.2, 0.3]")), "--plan")
    assert code == 0
    assert "2 to run" in said


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("by: $by}", "by: 0.4}", "never run"),  # the axis is gone, and with it the labels
        ("{type: plain}", "{type: plain, images: 8}", "images 6 → 8"),
        ("examples: [grey, lighter, random]", "examples: [grey, lighter, random], scale: 2", "scale 1 → 2"),
    ],
)
def test_the_plan_states_reasons(run: Run, write: Write, old: str, new: str, reason: str) -> None:
    run(write(PLAIN))
    text = PLAIN.replace(old, new)
    if "$by" not in text:
        text = text.replace("axes:\n  by: [0.1, 0.2]\n", "")
    code, said = run(write(text), "--plan")
    assert code == 0, said
    assert f"run, because {reason}" in said


def test_estimates_are_based_on_past_runs(run: Run, write: Write) -> None:
    code, said = run(write(PLAIN), "--plan")
    assert "about" not in said
    run(write(PLAIN))
    code, said = run(write(PLAIN), "--plan", "--force", "random")
    assert code == 0
    assert "forced" in said
    assert "about" in said


TROUBLE = """
name: trouble
datasets:
  grey: {type: plain}
generate:
  bad: {type: trouble, data: grey, how: HOW, unless: UNLESS}
  worse: {type: shift, data: bad, noise: {type: fixed, by: 0.1}}
  good: {type: shift, data: grey, noise: {type: fixed, by: 0.1}}
evaluate:
  shade: {type: shade, examples: [grey, bad, worse, good]}
"""


def trouble(tmp_path: Path, how: str) -> str:
    return TROUBLE.replace("HOW", how).replace("UNLESS", str(tmp_path / "well"))


@pytest.mark.parametrize(("how", "cause"), [("raise", "RuntimeError: asked to fail"), ("memory", "out of memory")])
def test_a_failure_skips_only_dependent_stages(run: Run, write: Write, tmp_path: Path, how: str, cause: str) -> None:
    code, said = run(write(trouble(tmp_path, how)))
    assert code == 1
    assert cause in said
    cells = {row[0]: row[1] for row in table(tmp_path, "trouble", "shade")[1:]}
    assert cells["grey"] == "0.5000"
    assert cells["good"] == "0.5833"
    assert cells["bad"] == "skipped: bad.test failed"
    assert cells["worse"] == "skipped: bad.test failed"
    failures = table(tmp_path, "trouble", "failures")
    assert [row[:4] for row in failures[1:]] == [["bad", "bad.test", cause, socket.gethostname()]]
    assert "Traceback" in Path(failures[1][-1]).read_text(encoding="utf-8")


def test_a_failure_is_remembered_until_a_retry_is_requested(run: Run, write: Write, tmp_path: Path) -> None:
    file = write(trouble(tmp_path, "raise"))
    run(file)
    (tmp_path / "well").touch()
    code, said = run(file)
    assert code == 1
    assert "failed before" in said
    code, said = run(file, "--retry-failed")
    assert code == 0, said
    assert "4 computed" in said
    assert {row[1] for row in table(tmp_path, "trouble", "shade")[1:]} == {"0.5000", "0.5833"}
    assert not (tmp_path / "outputs" / "trouble" / "failures.csv").exists()


def test_a_corrupted_artefact_is_detected_and_recomputed(run: Run, write: Write, tmp_path: Path) -> None:
    run(write(PLAIN))
    expected = (tmp_path / "outputs" / "plain" / "results.csv").read_bytes()
    store = tmp_path / "outputs" / ".store"
    for array in store.glob("*/x.npy"):
        content = bytearray(array.read_bytes())
        content[-1] ^= 1
        array.write_bytes(content)
    # In a new process, which has nothing in memory.
    process = start(write(PLAIN), "--force", "shade", "--components", PARTS, "--outputs", tmp_path / "outputs")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "changed since it was written; it is recomputed" in said
    assert (tmp_path / "outputs" / "plain" / "results.csv").read_bytes() == expected


def test_a_missing_table_is_rewritten(run: Run, write: Write, tmp_path: Path) -> None:
    run(write(PLAIN))
    lost = tmp_path / "outputs" / "plain" / "shade.csv"
    content = lost.read_bytes()
    lost.unlink()
    run(write(PLAIN))
    assert lost.read_bytes() == content


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_results_corrupted_without_a_change_of_size_are_recomputed(
    run: Run, write: Write, tmp_path: Path, jobs: str
) -> None:
    run(write(PLAIN))
    before = table(tmp_path, "plain", "shade")
    store = tmp_path / "outputs" / ".store"
    damaged = sorted(store.glob("*/rows.json"))[:2]
    for path in damaged:
        path.write_bytes(path.read_bytes()[::-1])
    assert "2 to run" in run(write(PLAIN), "--plan")[1]
    code, said = run(write(PLAIN), "--jobs", jobs)
    assert code == 0, said
    assert "2 computed" in said
    assert table(tmp_path, "plain", "shade") == before
    assert "0 to run" in run(write(PLAIN), "--plan")[1]


def test_tables_can_be_written_before_anything_is_finished(run: Run, write: Write, tmp_path: Path) -> None:
    code, said = run(write(PLAIN), "--tables")
    assert code == 0, said
    assert {cell for row in table(tmp_path, "plain", "shade")[1:] for cell in row[2:]} == {"pending"}


def test_only_runs_a_stage_and_its_dependencies(run: Run, write: Write, tmp_path: Path) -> None:
    code, said = run(write(PLAIN), "--only", "random")
    assert code == 0
    assert "3 computed" in said  # the data set, and the stage for two seeds


def test_a_file_that_changes_content_changes_the_artefact(run: Run, write: Write, tmp_path: Path) -> None:
    (tmp_path / "number").write_text("2", encoding="utf-8")
    text = """
    name: file
    datasets: {grey: {type: plain}}
    generate: {copies: {type: from_file, data: grey, path: number}}
    """
    assert "2 computed" in run(write(text))[1]
    assert "0 computed" in run(write(text))[1]
    (tmp_path / "number").write_text("3", encoding="utf-8")
    code, said = run(write(text), "--plan")
    assert "because file changed" in said
    (tmp_path / "moved").write_text("2", encoding="utf-8")
    code, said = run(write(text.replace("path: number", "path: moved")), "--plan")
    assert code == 0
    assert "0 to run" in said  # the location does not matter


def test_a_file_of_a_nested_component_changes_the_artefact(run: Run, write: Write, tmp_path: Path) -> None:
    (tmp_path / "shift").write_text("0.5", encoding="utf-8")
    text = """
    name: nested
    datasets: {grey: {type: plain}}
    generate: {lighter: {type: shift, data: grey, noise: {type: written, path: shift}}}
    """
    assert "2 computed" in run(write(text))[1]
    (tmp_path / "shift").rename(tmp_path / "moved")
    code, said = run(write(text), "--plan")
    assert code == 2
    assert "generate.lighter.noise.path: there is no file" in said
    text = text.replace("path: shift", "path: moved")
    assert "0 to run" in run(write(text), "--plan")[1]
    (tmp_path / "moved").write_text("0.25", encoding="utf-8")
    assert "because file changed" in run(write(text), "--plan")[1]


@pytest.mark.parametrize(("how", "code"), [("untaught", 0), ("raise", 1)])
def test_a_smoke_run_tolerates_undertrained_models(run: Run, write: Write, tmp_path: Path, how: str, code: int) -> None:
    troubled = PLAIN.replace("generate:", f"generate:\n  troubled: {{type: trouble, data: grey, how: {how}}}")
    text = write(troubled.replace("random]", "random, troubled]"))
    assert run(text)[0] == 1, "a failure as any other"
    found, said = run(text, "--smoke")
    assert found == code, said
    assert ("1 of these failures result from hardly trained models" in said) == (code == 0)


def test_smoke_results_never_mix_with_real_ones(run: Run, write: Write, tmp_path: Path) -> None:
    code, said = run(write(PLAIN), "--smoke")
    assert code == 0, said
    assert not (tmp_path / "outputs" / "plain").exists()
    rows = table(tmp_path, "plain.smoke", "results")
    assert {row[0] for row in rows[1:]} == {"plain.smoke"}


def test_gc_keeps_artefacts_of_the_last_runs(
    run: Run, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(garbage_collection, "MIN_AGE", -1.0)
    run(write(PLAIN))
    assert "removed 0 artefacts" in run("--gc")[1]
    run(write(PLAIN.replace("[0.1, 0.2]", "[0.1]")))
    assert "removed 2 artefacts" in run("--gc")[1]
    assert "0 to run" in run(write(PLAIN.replace("[0.1, 0.2]", "[0.1]")), "--plan")[1]


def test_gc_during_a_long_run_keeps_its_inputs(run: Run, write: Write, tmp_path: Path) -> None:
    run(write(PLAIN))
    store = tmp_path / "outputs" / ".store"
    shade = next(store.glob("*/rows.json")).parent.name
    held, old = store / ".leases" / shade, time.time() - 30 * 86400
    kept = [store / ".dask" / "certificate.pem", store / ".attempts" / "run" / shade, store / ".checkpoints" / shade]
    lost = store / ".checkpoints" / "of_no_run"
    held.touch()
    for folder in (*kept, lost):
        folder.mkdir(parents=True)
    for path in (*kept, lost, store / ".attempts" / "run"):
        os.utime(path, (old, old))
    run("--gc")
    assert all(path.exists() for path in kept)
    assert not lost.exists()
    # Once nothing is running, only interrupted tasks that are still needed keep their state.
    os.utime(held, (old, old))
    run("--gc")
    assert [path.exists() for path in kept] == [False, False, True]


def test_generated_sets_can_be_exported(run: Run, write: Write, tmp_path: Path) -> None:
    run(write(PLAIN))
    code, said = run(write(PLAIN), "--only", "lighter", "--export", tmp_path / "sets")
    assert code == 0, said
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == [
        "lighter.test-by-0.1.npz",
        "lighter.test-by-0.2.npz",
    ]
    with np.load(tmp_path / "sets" / "lighter.test-by-0.1.npz") as found:
        assert set(found) == {"x_adv", "y", "index"}
        np.testing.assert_allclose(found["x_adv"][:, 0, 0, 0], [0.1, 0.3, 0.5, 0.7, 0.9, 1.0], atol=1e-6)


def test_an_export_overwrites_nothing(run: Run, write: Write, tmp_path: Path) -> None:
    sets, name = tmp_path / "sets", "lighter.test-by-0.1.npz"
    run(write(PLAIN))
    run(write(PLAIN), "--only", "lighter", "--export", sets)
    before = {path.name: path.stat().st_mtime_ns for path in sets.iterdir()}
    assert run(write(PLAIN), "--only", "lighter", "--export", sets)[0] == 0
    assert {path.name: path.stat().st_mtime_ns for path in sets.iterdir()} == before
    (sets / name).write_text("mine", encoding="utf-8")
    code, said = run(write(PLAIN), "--only", "lighter", "--export", sets)
    assert code == 2
    assert f"{name} exists with other content; export into another folder" in said.replace("\n", " ")
    assert (sets / name).read_text(encoding="utf-8") == "mine"
    assert {path.name for path in sets.iterdir()} == before.keys()


def test_diff_names_settings_and_numbers(run: Run, write: Write, tmp_path: Path) -> None:
    run(write(PLAIN))
    run(write(PLAIN.replace("name: plain", "name: other").replace("{type: plain}", "{type: plain, images: 8}")))
    code, said = run("--diff", "plain", "other")
    assert code == 0, said
    assert "datasets.grey.images: 6 → 8" in said
    assert "0.5833 → 0.5" in said
