"""The command line: its output and exit codes, in this process or, where imports matter, in a new one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from temper.engine.catalogue.sections import SECTIONS
from temper.engine.command_line.main import main
from temper.system import installation
from tests.conftest import PARTS, PLAIN, ROOT

Run = Callable[..., tuple[int, str]]
Write = Callable[..., Path]

FAULTY = PLAIN.replace("type: shade,", "type: shad,")
FAILING = """
name: failing
datasets: {grey: {type: plain}}
generate: {bad: {type: trouble, data: grey, how: raise}}
"""


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


# Exit codes.


def test_exit_code_0_when_done(run: Run, write: Write) -> None:
    assert run(write(PLAIN))[0] == 0


def test_exit_code_1_for_a_failed_stage(run: Run, write: Write) -> None:
    code, output = run(write(FAILING))
    assert code == 1
    assert "1 failed" in output


def test_exit_code_2_for_an_invalid_file_and_nothing_runs(run: Run, write: Write, outputs: Path) -> None:
    code, output = run(write(FAULTY))
    assert code == 2
    assert "experiment.yaml:12: evaluate.shade.type: unknown type 'shad'; did you mean 'shade'?" in output
    assert not outputs.exists()


def test_number_of_reported_problems_is_limited(run: Run, write: Write) -> None:
    stages = "".join(f"  d{i}: {{type: none}}\n" for i in range(1234))
    code, output = run(write(f"name: a\ndatasets:\n{stages}"))
    assert code == 2
    assert output.count("datasets.d") == 50
    assert "and 1,184 more problems; fix these first" in output


def test_one_invalid_file_stops_all_files(run: Run, write: Write, outputs: Path) -> None:
    code, output = run(write(PLAIN, "good.yaml"), write(FAULTY, "bad.yaml"), write("seeds: x", "worse.yaml"))
    assert code == 2
    assert "bad.yaml:12:" in output
    assert "worse.yaml:1:" in output
    assert not (outputs / "plain").exists()


def test_several_files_run_in_sequence_and_return_the_highest_exit_code(run: Run, write: Write, outputs: Path) -> None:
    code, output = run(write(FAILING, "failing.yaml"), write(PLAIN, "plain.yaml"))
    assert code == 1, output
    assert (outputs / "plain" / "results.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "expected_text"),
    [
        ((), ": expected an experiment file; --help shows the usage"),
        (("none.yaml",), "none.yaml: cannot be read: No such file or directory"),
        (("--list", "generators"), "--list: unknown section 'generators'; did you mean 'generate'?"),
        (("--describe", "fsgm"), "--describe: unknown type 'fsgm'; did you mean 'fgsm'?"),
    ],
)
def test_exit_code_2_for_a_wrong_command(run: Run, arguments: tuple[str, ...], expected_text: str) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert expected_text in output


@pytest.mark.parametrize(
    ("arguments", "expected_text"),
    [
        (("--seeds", "a"), "expected different whole numbers such as 1,2,3, received 'a'"),
        (("--seeds", "1,1"), "expected different whole numbers"),
        (("--jobs", "0"), "expected a whole number from 1 to 4096, received '0'"),
        (("--no-such",), "unrecognized arguments: --no-such"),
    ],
)
def test_exit_code_2_for_a_wrong_option(
    run: Run, write: Write, arguments: tuple[str, ...], expected_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(write(PLAIN), *arguments)
    assert end.value.code == 2
    assert expected_text in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--only", "--force"])
def test_unknown_stage_is_reported_with_the_known_ones(run: Run, write: Write, option: str) -> None:
    code, output = run(write(PLAIN), option, "lightr,nothing_like_it")
    assert code == 2
    assert "no stage is called 'lightr'; did you mean 'lighter'?" in output
    assert "no stage is called 'nothing_like_it'; there is grey, lighter, random, shade" in output


def test_unknown_backend_is_reported_as_environment_problem(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    code, output = run(write(PLAIN), "--plan")
    assert code == 2
    assert "KERAS_BACKEND: expected tensorflow" in output
    assert "received 'theano'" in output


# Standard input.


class Typed:
    def __init__(self, text: str) -> None:
        self.buffer = io.BytesIO(text.encode())


@pytest.mark.parametrize("text", [PLAIN, json.dumps(yaml.safe_load(PLAIN))], ids=["yaml", "json"])
def test_experiment_is_read_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", Typed(text))
    code, output = run("-", "--plan")
    assert code == 0, output
    assert "to run, 0 cached" in output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FAULTY, "<stdin>:12: evaluate.shade.type: unknown type 'shad'"),
        (PLAIN.replace("name: plain", ""), "<stdin>:1: name: a folder of results cannot be called '<stdin>'"),
        ("", "<stdin>: the file is empty"),
        ("# " + "x" * 2**20, "<stdin>: the file has more than 1,048,576 bytes"),
    ],
)
def test_problems_in_standard_input_have_their_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Typed(text))
    code, found = run("-", "--plan")
    assert code == 2
    assert expected in found


def test_closed_standard_input_is_empty(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert run("-")[0] == 2


def test_job_script_rejects_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Typed(PLAIN))
    code, output = run("-", "--job-script", "slurm")
    assert code == 2
    assert "jobs cannot read standard input; use a file" in output


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"Temper {installation.version()}\n")


# Options.


def test_set_overrides_a_value_and_its_problems_name_the_option(run: Run, write: Write) -> None:
    code, output = run(write(PLAIN), "--plan", "--set", "datasets.grey.images=8", "--set", "axes.by=[0.3]")
    assert code == 0, output
    assert "lighter.test by=0.3" in output
    code, output = run(write(PLAIN), "--plan", "--set", "datasets.grey.images=none")
    assert code == 2
    assert "--set datasets.grey.images=none: expected a whole number, received 'none'" in output


def test_set_can_change_the_name(run: Run, write: Write, outputs: Path) -> None:
    assert run(write(PLAIN), "--set", "name=other", "--tables")[0] == 0
    assert (outputs / "other").is_dir()
    assert not (outputs / "plain").exists()


def test_seeds_override_those_of_the_file(run: Run, write: Write) -> None:
    code, output = run(write(PLAIN), "--plan", "--seeds", "7")
    assert code == 0, output
    assert "random.test seed=7" in output
    assert "seed=1" not in output


def test_plan_runs_nothing(run: Run, write: Write, outputs: Path) -> None:
    code, output = run(write(PLAIN), "--plan")
    assert code == 0, output
    assert "10 to run, 0 cached" in output
    assert not (outputs / "plain").exists()


def test_exit_code_2_for_only_adv_training_without_data(run: Run, write: Write) -> None:
    code, output = run(write(PLAIN), "--set", "mode=only_adv_training")
    assert code == 2
    assert "mode: generate.lighter: only_adv_training takes generated data from the store" in output


@pytest.mark.parametrize("section", [None, *SECTIONS, "noise"])
def test_list_shows_the_components_of_a_section(run: Run, section: str | None) -> None:
    code, output = run("--list", *([section] if section else []))
    assert code == 0
    named = [line.removesuffix(":") for line in output.splitlines() if line and not line.startswith(" ")]
    assert named == ([section] if section else [*SECTIONS, *named[len(SECTIONS) :]])
    if section in (None, "generate"):
        assert "  fgsm                   Fast gradient sign method" in output
    if section in (None, "noise"):
        assert "  drawn" in output


def test_describe_shows_every_parameter(run: Run) -> None:
    code, output = run("--describe", "pgd")
    assert code == 0
    for text in (
        "generate: type: pgd",
        "Source:",
        "parameter",
        "eps_step",
        "> 0",
        "required",
        "reference to Classifier",
    ):
        assert text in output


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("datasets.grey.type", "datasets.grey.type = 'plain'\n  from {file}:7\n  grey: {{type: plain}}"),
        ("axes.by[1]", "axes.by[1] = 0.2\n  from {file}:5"),
        ("axes.by.1", "axes.by.1 = 0.2\n  from {file}:5"),
        ("generate.lighter", "generate.lighter = a mapping\n  from {file}:9"),
        ("datasets.grey.images", "datasets.grey.images = 6\n  default of plain: images of each part"),
    ],
)
def test_explain_shows_the_origin_of_a_value(run: Run, write: Write, key: str, expected: str) -> None:
    file = write(PLAIN)
    code, output = run(file, "--explain", key)
    assert code == 0, output
    assert expected.format(file=file) in output


def test_explain_shows_overrides_and_layers(run: Run, write: Write) -> None:
    base = write(PLAIN, "base.yaml")
    file = write("extends: base.yaml\ngenerate:\n  random: {seconds: 0.0}\n")
    assert f"from {base}:7" in run(file, "--explain", "datasets.grey.type")[1]
    assert f"from {file}:3" in run(file, "--explain", "generate.random.seconds")[1]
    output = run(file, "--explain", "datasets.grey.images", "--set", "datasets.grey.images=8")[1]
    assert "datasets.grey.images = 8\n  from --set datasets.grey.images=8" in output


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("generate.lightr.data", "unknown key 'lightr'; did you mean 'lighter'?"),
        ("datasets.grey.imags", "no such value; did you mean 'images'?"),
        ("axes.by[5]", "unknown key '5'"),
        ("nothing", "unknown key 'nothing'"),
        ("datasets.grey.type.deeper", "unknown key 'deeper'"),
    ],
)
def test_exit_code_2_for_explain_of_an_unknown_key(run: Run, write: Write, key: str, expected: str) -> None:
    code, output = run(write(PLAIN), "--explain", key)
    assert code == 2
    assert expected in output


def test_user_schemas_are_written_next_to_the_components(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from temper.engine.command_line.main import main

    folder = tmp_path / "mine_with_schemas"
    folder.mkdir()
    assert main(["--write-schemas", "--components", str(folder)]) == 0
    assert (folder / "schemas" / "experiment.schema.json").exists()
    assert "wrote" in capsys.readouterr().out


def test_gc_of_an_empty_folder(run: Run) -> None:
    assert run("--gc") == (0, "removed 0 artefacts, 0.0 MiB\n")


# The program.


def program(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program, which lists the packages it imports on standard error."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", str(ROOT / "runner.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


HEAVY = ("tensorflow", "keras", "torch", "jax", "art", "pandas", "matplotlib", "sklearn", "scipy")


def imported(stderr: str) -> set[str]:
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in stderr.splitlines() if "|" in line}
    assert "numpy" in names  # the report is written
    return names & set(HEAVY)


MODELS = """
name: models
datasets: {grey: {type: plain}}
targets: {mlp: {type: dense, dataset: grey}}
generate: {pgd: {type: pgd, model: mlp, eps: 0.1, eps_step: 0.01, max_iter: 2}}
evaluate: {matrix: {type: robustness_matrix, models: [mlp], examples: [grey, pgd], protocol: white_box}}
"""


def test_plan_of_many_tasks_is_grouped_by_stage(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temper.engine.command_line.describe.MAX_LISTED", 9)
    assert run(write(PLAIN), "--only", "grey")[0] == 0
    code, output = run(write(PLAIN), "--plan")
    assert code == 0
    for line in (
        "grey             1 cached", "lighter          2 run, because not finished", "random           2 run, because not finished",
        "shade            5 run, because not finished", "10 tasks; --plan-all lists each", "9 to run, 1 cached",
    ):  # fmt: skip
        assert line in output
    code, output = run(write(PLAIN), "--plan-all")
    assert code == 0
    assert len([line for line in output.splitlines() if "run, because not finished" in line]) == 9


def test_most_common_reason_is_shown_for_grouped_tasks(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temper.engine.command_line.describe.MAX_LISTED", 1)
    assert run(write(PLAIN), "--only", "grey")[0] == 0
    output = run(write(PLAIN.replace("[0.1, 0.2]", "[0.1, 0.2, 0.3, 0.4, 0.5]")), "--plan")[1]
    assert "lighter          5 run, because never run, and 1 other reason\n" in output


def test_plan_imports_no_framework(write: Write, outputs: Path) -> None:
    done = program(write(MODELS), "--plan", "--components", PARTS, "--outputs", outputs)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "to run" in done.stdout
    assert imported(done.stderr) == set()


@pytest.mark.parametrize("arguments", [("--list",), ("--describe", "pgd"), ("--gc",)])
def test_inspection_imports_no_framework(arguments: tuple[str, ...], outputs: Path) -> None:
    done = program(*arguments, "--outputs", outputs)
    assert done.returncode == 0, done.stderr[-2000:]
    assert imported(done.stderr) == set()


def test_finished_run_imports_no_framework(run: Run, write: Write, outputs: Path) -> None:
    assert run(write(PLAIN))[0] == 0
    done = program(write(PLAIN), "--components", PARTS, "--outputs", outputs)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "0 computed, 10 cached" in done.stdout
    assert imported(done.stderr) == set()


def test_help_lists_all_options_sections_and_exit_codes() -> None:
    done = program("--help")
    assert done.returncode == 0
    for text in ("0 done", "1 a stage failed", "2 a problem in the input", "130 interrupted"):
        assert text in " ".join(done.stdout.split())
    for option in (
        "--plan", "--plan-all", "--explain", "--smoke", "--set", "--seeds", "--only", "--force", "--retry-failed", "--tables", "--diff",
        "--jobs", "--list", "--describe", "--write-schemas", "--gc", "--components", "--outputs",
    ):  # fmt: skip
        assert option in done.stdout


def test_problems_go_to_standard_error(write: Write, outputs: Path) -> None:
    done = program(write(FAULTY), "--components", PARTS, "--outputs", outputs)
    assert done.returncode == 2
    assert "unknown type 'shad'" in done.stderr
    assert done.stdout == ""


# Inputs and surroundings: names, folders, permissions, memory, streams.


@pytest.mark.parametrize(
    "arguments",
    [
        ("--grace", "nan"), ("--grace", "-1"), ("--grace", "1e300"), ("--grace", "inf"), ("--grace", "x"), ("--jobs", "²"), ("--jobs", "9" * 5000),
        ("--gpus", "-1"), ("--seeds", "1,"), ("--seeds", "1_0"), ("--seeds", "9" * 30), ("--seeds=-1",), ("--only", ","), ("--force", ""),
        ("--see", "1"), ("--pla",), ("--retry",),
    ],
)  # fmt: skip
def test_exit_code_2_for_invalid_and_abbreviated_options(run: Run, write: Write, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as end:
        run(write(PLAIN), *arguments)
    assert end.value.code == 2


def test_two_files_of_one_name_are_rejected_before_anything_runs(run: Run, write: Write, outputs: Path) -> None:
    first, second = write(PLAIN, "first.yaml"), write(PLAIN.replace("name: plain", "name: Plain"), "second.yaml")
    code, output = run(first, second)
    assert code == 2
    assert f"{second}: name: 'Plain' is also the name of {first}, whose results would be replaced; give" in output
    assert run(first, first, "--plan")[0] == 2
    assert not (outputs / "plain").exists()


def test_name_keeps_both_results_and_replacement_is_reported(run: Run, write: Write, outputs: Path) -> None:
    file = write(PLAIN)
    assert "replaces" not in run(file)[1]
    assert "replaces" not in run(file)[1]
    code, output = run(file, "--seeds", "3", "--name", "third")
    assert code == 0, output
    assert "replaces" not in output
    assert {path.name for path in outputs.iterdir()} == {".store", "plain", "third"}
    for option in ("--plan", "--tables"):
        output = run(file, "--seeds", "3", "--set", "datasets.grey.images=8", option)[1]
        notice = f"a run replaces the results of other settings in {outputs / 'plain'} (seeds: [1, 2] → [3], datasets.grey.images: 6 → 8); --name"
        assert notice in output


def test_name_takes_one_file(run: Run, write: Write) -> None:
    code, output = run(write(PLAIN, "a.yaml"), write(PLAIN, "b.yaml"), "--name", "c")
    assert code == 2
    assert "--name: expected one file, received 2" in output


def test_length_of_an_extends_chain_is_limited(run: Run, write: Write) -> None:
    for number in range(1500):
        write(f"extends: {number + 1}.yaml\n", f"{number}.yaml")
    file = write(PLAIN, "1500.yaml").with_name("0.yaml")
    code, output = run(file, "--plan")
    assert code == 2
    assert "49.yaml:1: extends: 50 files extend each other one by one, and this is not the last" in output
    assert run(file.with_name("1451.yaml"), "--plan")[0] == 0


@pytest.mark.parametrize("place", ["a\x1b[31mb", "file", "file/below", "link"])
@pytest.mark.parametrize("option", ["--plan", "--tables", "--seeds=1"])
def test_exit_code_2_for_an_unusable_results_folder(
    write: Write, tmp_path: Path, place: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    from temper.engine.command_line.main import main

    code = main([str(write(PLAIN)), option, "--components", str(PARTS), "--outputs", str(tmp_path / place)])
    output = capsys.readouterr()
    assert code == 2
    assert output.err.startswith("--outputs: ")
    assert "\x1b" not in output.err


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make all folders and files read-only, for the superuser as well."""

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(arguments[0]))

    def read_only() -> None:
        allowed = os.access
        monkeypatch.setattr(os, "access", lambda path, mode, **o: not mode & os.W_OK and allowed(path, mode, **o))
        for name in ("mkdir", "write_bytes", "write_text", "touch", "rename", "unlink"):
            monkeypatch.setattr(Path, name, refuse)
        monkeypatch.setattr("logging.FileHandler._open", refuse)

    return read_only


def test_finished_results_are_shown_without_write_permission(
    run: Run, write: Write, read_only: Callable[[], None]
) -> None:
    file, changed = write(PLAIN), write(PLAIN.replace("[1, 2]", "[1, 2, 3]"), "changed.yaml")
    assert run(file)[0] == 0
    read_only()
    assert run(file, "--plan")[0] == 0
    code, output = run(file)
    assert (code, "10 cached" in output) == (0, True), output
    assert run(file, "--tables")[0] == 0
    assert run(changed, "--plan")[0] == 0
    for option in ("--tables", "--seeds=7"):
        code, output = run(changed, option)
        assert code == 2
        assert "cannot be written to; name another folder" in output


def test_export_skips_damaged_sets_only(run: Run, write: Write, tmp_path: Path) -> None:
    file = write(PLAIN)
    run(file)
    places = json.loads((tmp_path / "outputs" / "plain" / "provenance.json").read_text(encoding="utf-8"))["store"]
    damaged = tmp_path / "outputs" / ".store" / places["lighter.test by=0.1"] / "x.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    code, output = run(file, "--export", tmp_path / "sets")
    assert code == 1
    assert "x.npy has changed since it was written; not exported" in output
    assert output.count("wrote ") == len(list((tmp_path / "sets").iterdir())) > 0


def test_control_characters_of_a_file_are_escaped(run: Run, write: Write) -> None:
    text = PLAIN.replace("description", "d").replace("by: [0.1, 0.2]", r'by: ["\x1b[31m[red]", 0.2]')
    code, output = run(write(text.replace("grey:", r'"gr\x9bey":', 1)), "--plan")
    assert code == 2
    assert r"gr\x9bey" in output
    assert not set("\x1b\x9b") & set(output)


def test_unreadable_folder_is_reported(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    (write(PLAIN).parent / "outputs" / ".store").mkdir(parents=True)
    monkeypatch.setattr(Path, "iterdir", refuse)
    code, output = run(write(PLAIN), "--plan")
    assert code == 2
    assert "/.store: Permission denied; make it readable" in output


@pytest.mark.parametrize(
    "option", ["--name", "--outputs", "--export", "--components", "--on", "--job-script", "--explain"]
)
def test_empty_name_is_rejected(
    option: str, write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An unset shell variable expands to it; it must not mean the current folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([str(write(PLAIN)), option, ""])
    assert ended.value.code == 2
    assert f"argument {option}: expected a name, received ''" in capsys.readouterr().err


def test_out_of_memory_outside_stages_is_reported(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise MemoryError

    monkeypatch.setattr("temper.engine.planning.plan.make", refuse)
    code, output = run(write(PLAIN))
    assert code == 1
    assert "out of memory; finished tasks are saved" in output
    assert "Resume with: " in output


def in_a_shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a shell command, in which ``$temper`` stands for it."""
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
        env=os.environ | {"temper": f"{sys.executable} {ROOT / 'runner.py'}"} | environment,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("$temper --list | head -1 >/dev/null; exit ${PIPESTATUS[0]}", 0, ""),
        ("$temper --list >&-", 0, ""),
        ("$temper --list >&- <&-", 0, ""),
        ("$temper --list >/dev/full", 3, "standard output cannot be written: No space left on device\n"),
        ("ulimit -n 16; $temper --list", 2, "environment: the limit of open files is 16; raise it: ulimit -n 1024\n"),
        ("LC_ALL=C PYTHONIOENCODING=ascii $temper --describe pgd; LC_ALL=C PYTHONIOENCODING=ascii $temper --help", 0, ""),
    ],
)  # fmt: skip
def test_program_runs_with_any_standard_streams(line: str, code: int, error: str) -> None:
    done = in_a_shell(line)
    assert (done.returncode, done.stderr) == (code, error)
