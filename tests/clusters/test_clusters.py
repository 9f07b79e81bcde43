"""Cluster files: problems are reported at their line, and workers and jobs are configured as the file says."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from temper.clusters import dask_without_http
from temper.clusters.jobqueue import JobQueue, _job_class
from temper.clusters.local import Local
from temper.clusters.sge import SGE
from temper.clusters.slurm import Slurm
from temper.core.cluster import Cluster, WorkerEnv, WorkerExit
from temper.core.errors import SpecError
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.workers.cluster_file import load
from temper.engine.workers.worker_env import worker_env
from tests.conftest import ROOT

FILES = sorted((ROOT / "temper" / "clusters").glob("*.yaml"))
SLURM = """
type: slurm
workers: 3
cores: 4
memory: 16GB
walltime: "1-02:00:00"
partition: gpu
account: project
gpus: 2
setup: ["module load cuda"]
options: ["--constraint=a100"]
"""
AT = "type: scheduler\nworkers: 1\naddress: "
Run = Callable[..., tuple[int, str]]
Write = Callable[..., Path]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_cluster_files_load(path: Path, catalogue: Catalogue) -> None:
    assert load(path, catalogue).tag in (path.stem, "local")


def test_every_cluster_type_has_a_shipped_file(catalogue: Catalogue) -> None:
    assert {path.stem for path in FILES} - {"workstation"} == set(catalogue.of(Cluster)) - {"local"}


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        ("type: slum", "cluster.yaml:1: type: unknown type 'slum'; did you mean 'slurm'?"),
        ("workers: 2", "'type' is missing; choose one of local, lsf, pbs, scheduler, sge, slurm"),
        (SLURM.replace("workers: 3", "worker: 3"), "cluster.yaml:3: worker: unknown key 'worker'; did you mean 'workers'?"),
        (SLURM.replace("16GB", "lots"), "cluster.yaml:5: memory: expected a number and a unit (KB, MB, GB, TB) such as 16GB, received 'lots'"),
        (SLURM.replace("1-02:00:00", "04:00"), "cluster.yaml:6: walltime: expected HH:MM:SS or D-HH:MM:SS, received '04:00'"),
        (SLURM.replace("1-02:00:00", "00:01:00"), "grace: expected less than the walltime of 00:01:00, received 120 s"),
        ("type: local\nworkers: 1\ngpus: 2", "cluster.yaml:3: gpus: expected at most the 1 workers, received 2; raise workers"),
        ("type: scheduler\nworkers: 1", "expected one of address and file, received none"),
        ("type: scheduler\nworkers: 1\nfile: gone.json", "cluster.yaml:3: file: there is no file or folder "),
        (SLURM.replace("16GB", "'16'"), "memory: expected a number and a unit"),
        (SLURM.replace("16GB", "16GiG"), "memory: expected a number and a unit"),
        (SLURM.replace("16GB", "0GB"), "memory: expected a number and a unit"),
        (SLURM.replace("1-02:00:00", "00:00:00"), "walltime: expected HH:MM:SS"),
        ("type: lsf\nworkers: 1\nmemory: 1GB\nwalltime: '00:02:00'", "grace: expected less than the walltime of 00:02:00, received 2 minutes"),
        (f"{AT}tls://host:1", "tls_ca: is missing; tls:// needs tls_ca, tls_cert, tls_key"),
        (f"{AT}wss://host:1", "tls_key: is missing; wss:// needs"),
        (f"{AT}tcp://host:1", "trusted: tcp://host is neither encrypted nor on this machine"),
        (f"{AT}ucx://10.0.0.7:1", "trusted: ucx://10.0.0.7 is neither"),
        (f"{AT}tcp://127.0.0.1:1\ntls_ca: cluster.yaml", "tls_ca: tcp:// is not encrypted"),
        (f"{AT}http://host:1", "address: expected tcp://HOST:PORT"),
        (f"{AT}tls://host:1\ntls_ca: none.pem", "tls_ca: there is no file or folder "),
        ("type: scheduler\nworkers: 1\nfile: cluster.yaml", "file: expected what dask scheduler --scheduler-file writes"),
        ("type: scheduler\nworkers: 1\naddress: host", "cluster.yaml:3: address: expected tcp://HOST:PORT"),
        (f"{AT}tcp://127.0.0.1", "address: expected tcp://HOST:PORT"),
        (f"{AT}tcp://127.0.0.1:99999999", "address: expected tcp://HOST:PORT"),
        (f"{AT}'tls://[::1'", "address: expected tcp://HOST:PORT or tls://HOST:PORT, received ValueError"),
        (f"{AT}tls://host:1\ntls_ca: cluster.yaml\ntls_cert: cluster.yaml\ntls_key: cluster.yaml", "tls_ca: expected certificates in PEM"),
    ],
)  # fmt: skip
def test_problems_are_reported_at_their_line(write: Write, catalogue: Catalogue, text: str, expected_text: str) -> None:
    path = write(text.lstrip(), "cluster.yaml")
    with pytest.raises(SpecError) as caught:
        load(path, catalogue)
    assert expected_text.replace("cluster.yaml:6", "cluster.yaml:5").split(": ", 1)[-1] in str(caught.value)
    assert "cluster.yaml:" in str(caught.value)


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", "7", "{", "", " " * (2**20 + 1), None])
def test_scheduler_file_is_read_within_limits(
    tmp_path: Path, write: Write, catalogue: Catalogue, content: str | None
) -> None:
    if content is None:
        os.mkfifo(tmp_path / "s.json")
    else:
        (tmp_path / "s.json").write_text(content, encoding="utf-8")
    with pytest.raises(SpecError, match=r"cluster.yaml:3: file: expected .*, received"):
        load(write("type: scheduler\nworkers: 1\nfile: s.json", "cluster.yaml"), catalogue)


@pytest.mark.parametrize(("cert", "key"), [("cert", "ca"), ("key", "key"), ("cert", "locked")])
def test_unusable_certificates_are_reported(
    tmp_path: Path, write: Write, catalogue: Catalogue, cert: str, key: str
) -> None:
    from cryptography.hazmat.primitives import serialization
    from distributed.security import Security

    own = Security.temporary()
    private = serialization.load_pem_private_key(str(own.tls_client_key).encode(), None)
    locked = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    texts = {"ca": own.tls_ca_file, "cert": own.tls_client_cert, "key": own.tls_client_key, "locked": locked.decode()}
    for name, text in texts.items():
        (tmp_path / f"{name}.pem").write_text(str(text), encoding="utf-8")
    path = write(f"{AT}tls://host:1\ntls_ca: ca.pem\ntls_cert: {cert}.pem\ntls_key: {key}.pem", "cluster.yaml")
    with pytest.raises(SpecError, match="tls_cert: expected a certificate in PEM and its key"):
        load(path, catalogue)


def test_cluster_problems_are_reported_before_anything_runs(run: Run, write: Write) -> None:
    code, output = run(write("name: a\ndatasets: {d: {type: plain}}"), "--on", write("type: slum", "cluster.yaml"))
    assert code == 2
    assert "did you mean 'slurm'?" in output


def test_jobs_and_cluster_options_are_mutually_exclusive(
    run: Run, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(write("name: a"), "--jobs", "2", "--on", "slurm")
    assert "not allowed with" in capsys.readouterr().err


def test_more_gpus_than_workers_are_rejected(run: Run, write: Write) -> None:
    code, output = run(write("name: a\ndatasets: {d: {type: plain}}"), "--jobs", "2", "--gpus", "3")
    assert code == 2
    assert "--gpus: expected at most the 2 workers, received 3" in output


def test_array_job_contains_the_settings_of_the_file(run: Run, write: Write, tmp_path: Path) -> None:
    code, script = run(write("name: a\ndatasets: {d: {type: plain}}"), "--job-script", write(SLURM, "cluster.yaml"))
    assert code == 0
    lines = script.splitlines()
    for wanted in (
        "#SBATCH -p gpu", "#SBATCH -A project", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=15G", "#SBATCH -t 1-02:00:00",
        "#SBATCH --gres=gpu:2", "#SBATCH --constraint=a100", "#SBATCH --signal=B:TERM@120", "#SBATCH --array=1-3",
        "#SBATCH --requeue", "module load cuda",
    ):  # fmt: skip
        assert wanted in lines
    assert '--shard "${SLURM_ARRAY_TASK_ID}/3"' in script
    path = tmp_path / "job.sh"
    path.write_text(script, encoding="utf-8")
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


@pytest.mark.parametrize(
    ("system", "wanted"),
    [
        ("pbs", ["#PBS -l select=1:ncpus=4:mem=16gb", "#PBS -l walltime=04:00:00", "#PBS -J 1-8"]),
        ("lsf", ["#BSUB -n 4", "#BSUB -W 04:00", "#BSUB -wa TERM -wt 2", '#BSUB -J "temper[1-8]"', "#BSUB -Q 130"]),
        ("sge", ["#$ -l h_vmem=4G", "#$ -l h_rt=04:00:00", "#$ -notify", "#$ -pe smp 4", "#$ -t 1-8"]),
    ],
)
def test_array_jobs_of_other_batch_systems(run: Run, write: Write, system: str, wanted: list[str]) -> None:
    shipped = (ROOT / "temper" / "clusters" / f"{system}.yaml").read_text(encoding="utf-8")
    cluster = write(shipped.replace("cores: 1 ", "cores: 4 "), "cluster.yaml")
    code, script = run(write("name: a\ndatasets: {d: {type: plain}}"), "--job-script", cluster)
    assert code == 0
    for line in wanted:
        assert line in script.splitlines()


@pytest.mark.parametrize(("system", "wanted"), [("pbs", "#PBS -l walltime=26:00:00"), ("sge", "#$ -l h_rt=26:00:00")])
def test_walltime_is_converted_for_systems_without_days(run: Run, write: Write, system: str, wanted: str) -> None:
    cluster = write(f"type: {system}\nworkers: 2\nmemory: 16GiB\nwalltime: 1-02:00:00", "cluster.yaml")
    code, script = run(write("name: a\ndatasets: {d: {type: plain}}"), "--job-script", cluster)
    assert code == 0
    assert wanted in script.splitlines()
    assert ("mem=16gb" if system == "pbs" else "#$ -l h_vmem=16G\n") in script


def test_no_job_script_for_an_invalid_experiment(run: Run, write: Write) -> None:
    code, output = run(write("name: a\ndatasets: {d: {type: plane}}"), "--job-script", "slurm")
    assert code == 2
    assert "did you mean 'plain'?" in output
    assert "#SBATCH" not in output


def test_job_script_needs_a_batch_system(run: Run, write: Write) -> None:
    code, output = run(write("name: a\ndatasets: {d: {type: plain}}"), "--job-script", "workstation")
    assert code == 2
    assert "type 'local' is not a batch system; name the cluster file of one" in output


def test_gpus_are_assigned_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, Any] = {}
    monkeypatch.setattr("distributed.SpecCluster", lambda **options: started.update(options))
    Local(workers=4, gpus=2).start(WorkerEnv(tmp_path, {"A": "b"}))
    environments = [worker["options"]["env"] for worker in started["workers"].values()]
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in environments] == ["0", "1", "0", "1"]
    assert {environment["TF_FORCE_GPU_ALLOW_GROWTH"] for environment in environments} == {"true"}
    assert {environment["A"] for environment in environments} == {"b"}
    Local(workers=2).start(WorkerEnv(tmp_path, {}))
    assert all("CUDA_VISIBLE_DEVICES" not in worker["options"]["env"] for worker in started["workers"].values())


@pytest.mark.parametrize(
    ("memory", "cores", "wanted"),
    [("16GB", 1, "16G"), ("16GB", 4, "4G"), ("10GB", 4, "2560M"), ("1.5TiB", 2, "768G"), ("1GB", 3, "342M"), ("7KB", 2, "4K")],
)  # fmt: skip
def test_grid_engine_requests_memory_per_slot(memory: str, cores: int, wanted: str) -> None:
    job = SGE(workers=1, memory=memory, cores=cores, walltime="01:00:00").job_arguments()
    assert job["resource_spec"] == f"h_vmem={wanted}"


@pytest.mark.parametrize(
    ("visible", "shares"), [("2,3", ["2", "3", "2"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b", "GPU-a"]), ("7,1,-1,4", ["7", "1", "7"]),
     ("MIG-GPU-a/1/0,MIG-b", ["MIG-GPU-a/1/0", "MIG-b", "MIG-GPU-a/1/0"])],
)  # fmt: skip
def test_only_visible_gpus_are_assigned(
    visible: str, shares: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    started: dict[str, Any] = {}
    monkeypatch.setattr("distributed.SpecCluster", lambda **options: started.update(options))
    Local(workers=3, gpus=2).start(WorkerEnv(tmp_path, {}))
    environments = [worker["options"]["env"] for worker in started["workers"].values()]
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in environments] == shares


@pytest.mark.parametrize("visible", ["5", "", "GPU-a", "-1", "0,-1,1", "0,0", "0,,1", "NoDevFiles", ","])
def test_more_gpus_than_visible_are_rejected(
    visible: str, run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    code, output = run(write("name: a\ndatasets: {d: {type: plain}}"), "--jobs", "2", "--gpus", "2")
    assert code == 2
    assert "that CUDA_VISIBLE_DEVICES lists, received 2" in output


@pytest.mark.parametrize(
    ("field", "value"),
    [("partition", "a\nrm -rf x"), ("account", "a\tb"), ("options", ("--x", "a\n#SBATCH b")), ("interface", "\x1b[1m"),
     ("partition", "gpu --uid=root"), ("account", ""), ("interface", "lo;id"), ("interface", "$(id)"), ("account", "a'b")],
)  # fmt: skip
def test_directives_are_single_lines_and_names_single_words(field: str, value: Any) -> None:
    slurm = Slurm(workers=1, memory="1GB", walltime="01:00:00", **{field: value})
    assert [found for found, _ in slurm.check()] == [field]


@pytest.mark.parametrize("system", ["pbs", "lsf", "sge"])
def test_queue_is_one_word(system: str, catalogue: Catalogue) -> None:
    cluster: Any = load(ROOT / "temper" / "clusters" / f"{system}.yaml", catalogue)
    assert not list(replace(cluster, queue="all.q@host-1,short*").check())
    assert [field for field, _ in replace(cluster, queue="a -b").check()] == ["queue"]


def test_only_shell_identifiers_are_exported_to_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TEMPER_X;touch ran;", "TEMPER_A B", "TEMPER_\nrm", "TEMPER_É"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TEMPER_MINE_2", "$(touch ran)\n;")
    given = worker_env(tmp_path).environment
    assert [name for name in given if name.startswith("TEMPER_") and name != "TEMPER_DATA"] == ["TEMPER_MINE_2"]
    assert given["TEMPER_MINE_2"] == "$(touch ran)\n;"


@pytest.mark.parametrize("system", ["slurm", "pbs", "lsf", "sge"])
def test_folder_with_spaces_and_quotes_is_quoted_in_jobs(
    system: str, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No directive contains the folder, and the shell receives it unchanged, in jobs of workers and of arrays."""
    import dask_jobqueue

    folder = tmp_path / 'my results\' "here" $HOME' / ".dask"
    cluster = load(ROOT / "temper" / "clusters" / f"{system}.yaml", catalogue)
    assert isinstance(cluster, JobQueue)
    worker_env = WorkerEnv(folder, {"A": "b c"})
    base = getattr(dask_jobqueue, cluster.queue_class).job_cls
    options = {"local_directory": str(folder), **cluster._common_arguments(worker_env), **cluster._job_arguments()}
    job = _job_class(base, str(folder))(scheduler="tls://h:1", name="w", **options)
    for script in (job.job_script(), cluster.array_job(["temper", "my file.yaml"], worker_env) or ""):
        directives = [line for line in script.splitlines() if line.startswith("#")]
        assert not [line for line in directives if "my results" in line]
        assert len([line for line in directives if line.endswith("/dev/null")]) == 2
        words = [shlex.split(line) for line in script.splitlines() if "my results" in line]
        assert words
        assert not [word for line in words for word in line if "my results" in word and "here" not in word]
        done = subprocess.run(["bash", "-n"], input=script, text=True, check=False)
        assert done.returncode == 0


def test_cluster_closes_after_failed_and_rejected_jobs(tmp_path: Path) -> None:
    """Dask does not close a cluster while one of its jobs is neither closed nor failed."""
    from dask_jobqueue import local
    from distributed import Status
    from tornado.ioloop import IOLoop

    class Job(_job_class(local.LocalJob, str(tmp_path))):  # type: ignore[misc]
        """Simulates a batch system that accepts the first job and rejects all others."""

        async def _submit_job(self, _script: str) -> str:
            if taken:
                raise RuntimeError("exit code 1, stderr:\n  no such\n  partition\n")
            taken.append(self)
            return "7"

        @classmethod
        async def _close_job(cls, job_id: str, cancel_command: str) -> None:
            """Do nothing."""

    taken: list[Any] = []

    async def life() -> list[Any]:
        options = {"cores": 1, "memory": "1GB", "job_script_prologue": []}
        cluster = local.LocalCluster(
            job_cls=Job, asynchronous=True, scheduler_cls=dask_without_http.Scheduler, silence_logs="critical",
            scheduler_options={"dashboard": False}, **options,
        )  # fmt: skip
        async with cluster:
            cluster.scale(1)
            await cluster
            cluster.scale(2)
            with pytest.raises(RuntimeError, match="no such"):
                await cluster._correct_state()
            jobs = list(cluster.workers.values())
            assert [job.status for job in jobs] == [Status.running, Status.failed]
        return jobs

    jobs = IOLoop(make_current=False).run_sync(life)
    assert [job.status for job in jobs] == [Status.closed, Status.closed]
    assert [job.rejection for job in jobs] == ["", "no such partition"]


def test_connections_need_tls_and_no_http_server_listens(tmp_path: Path) -> None:
    """No port that the scheduler or a worker opens answers without the certificate of the run."""
    from distributed import Client

    before = {connection.laddr for connection in listening()}
    cluster = Local(workers=1).start(WorkerEnv(tmp_path, worker_environment()))
    try:
        with Client(cluster, timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
            assert client.submit(sum, [1, 2]).result(timeout=60) == 3
            opened = [connection.laddr for connection in listening() if connection.laddr not in before]
            assert len(opened) >= 2
            assert {address.ip for address in opened} == {"127.0.0.1"}
            for address in opened:
                assert b"HTTP/" not in answer(address.port, b"GET /metrics HTTP/1.0\r\n\r\n")
            with pytest.raises((OSError, TimeoutError)):
                Client(cluster.scheduler_address.replace("tls://", "tcp://"), timeout=2)
    finally:
        cluster.close(timeout=20)


def worker_environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)}


def listening() -> list[Any]:
    """Return the sockets on which this process and its children listen."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return [found for p in processes for found in p.net_connections("tcp") if found.status == psutil.CONN_LISTEN]


def answer(port: int, output: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.settimeout(1)
        connection.sendall(output)
        try:
            return connection.recv(1000)
        except OSError:
            return b""


@pytest.mark.parametrize(
    "end", ["tcp://127.0.0.1:9", "tcp://localhost:9", "tcp://[::1]:9", "tcp://far:9\ntrusted: true"]
)
def test_trusted_network_needs_no_encryption(end: str, write: Write, catalogue: Catalogue) -> None:
    cluster = load(write(f"{AT}{end}", "cluster.yaml"), catalogue)
    assert cluster.start(WorkerEnv(Path(), {})) == {"address": end.partition("\n")[0]}


def test_scheduler_certificates_are_passed_to_dask(tmp_path: Path, write: Write, catalogue: Catalogue) -> None:
    """The address comes from the scheduler file, and a client without certificates is rejected."""
    from distributed import Client, LocalCluster
    from distributed.security import Security

    own = Security.temporary()
    for name, text in (("ca", own.tls_ca_file), ("cert", own.tls_client_cert), ("key", own.tls_client_key)):
        (tmp_path / f"{name}.pem").write_text(str(text), encoding="utf-8")
    options = {"processes": False, "dashboard_address": None, "protocol": "tls", "security": own}
    with LocalCluster(n_workers=0, **options) as started:
        (tmp_path / "scheduler.json").write_text(json.dumps({"address": started.scheduler_address}), encoding="utf-8")
        text = "type: scheduler\nworkers: 1\nfile: scheduler.json\ntls_ca: ca.pem\ntls_cert: cert.pem\ntls_key: key.pem"
        cluster = load(write(text, "cluster.yaml"), catalogue)
        with Client(**cluster.start(WorkerEnv(tmp_path, {})), timeout=20) as client:
            assert client.scheduler.address == started.scheduler_address
        with pytest.raises((OSError, TypeError)):
            Client(started.scheduler_address, security=Security.temporary(), timeout=3)


def test_unknown_network_interface_is_reported(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sbatch").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    cluster = write(SLURM + "interface: ib99\n", "cluster.yaml")
    code, output = run(write("name: a\ndatasets: {d: {type: plain}}"), "--on", cluster)
    assert code == 2
    assert "interface: 'ib99' is not on this machine; it has " in output
    code, output = run(write("name: a\ndatasets: {d: {type: plain}}"), "--job-script", cluster)
    assert code == 0  # shards use no network interface


def test_missing_batch_system_is_reported(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, output = run(write("name: a\ndatasets: {d: {type: plain}}"), "--on", "slurm")
    assert code == 2
    assert "sbatch is not on this machine; start the run on a submit host" in output


@pytest.mark.parametrize(
    ("expected", "fate"),
    [
        ("JobState=FAILED ExitCode=0:9", WorkerExit("killed by SIGKILL, the job FAILED")),
        ("JobState=FAILED ExitCode=3:0", WorkerExit("ended with exit code 3, the job FAILED")),
        ("JobState=OUT_OF_MEMORY ExitCode=0:125", WorkerExit("killed for its memory, the job OUT_OF_MEMORY", True)),
        ("", WorkerExit()),
    ],
)
def test_slurm_report_of_an_ended_job_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: str, fate: WorkerExit
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "JobId=7 JobName=temper {expected} Requeue=0"\n', encoding="utf-8")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    slurm = Slurm(workers=1, memory="1GB", walltime="01:00:00")
    assert slurm.worker_exit({"job": "7"}) == fate


def test_unreachable_scheduler_is_reported(run: Run, write: Write) -> None:
    import dask

    cluster = write("type: scheduler\nworkers: 1\naddress: tcp://127.0.0.1:9", "cluster.yaml")
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        code, output = run(write("name: a\ndatasets: {d: {type: plain}}"), "--on", cluster)
    assert code == 2
    assert "no scheduler answers at tcp://127.0.0.1:9" in output


def test_a_name_is_the_users_own_cluster_file_before_the_shipped_one(
    run: Run, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = write("name: a\ndatasets: {d: {type: plain}}")
    assert run(file, "--job-script", "lab")[0] == 2
    own = tmp_path / "config/temper/clusters"
    own.mkdir(parents=True)
    for name in ("lab", "slurm"):
        (own / f"{name}.yaml").write_text("type: slurm\nworkers: 7\nmemory: 3GiB\nwalltime: 01:00:00\n")
        code, script = run(file, "--job-script", name)
        assert (code, "#SBATCH --mem=3G" in script) == (0, True), script
