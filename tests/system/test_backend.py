"""The door to the frameworks: its name, its silence, and that all backends agree."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from temper.system import backend
from tests.conftest import ROOT


def test_name_needs_no_framework_and_refuses_unknown_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; from temper.system import backend; print(backend.name(), 'keras' in sys.modules)"
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert out.stdout.split() == ["tensorflow", "False"]
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(ValueError, match="expected tensorflow, jax, torch, received 'theano'"):
        backend.name()


def test_importing_keras_is_quiet() -> None:
    code = "from temper.system import backend; backend.keras()"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (out.stdout, out.stderr) == ("", "")


WAITING = """
import resource, time
from temper.system import backend

torch = backend.torch()
print(torch.get_num_threads(), backend.torch_device() in ("cpu", "cuda"))
torch.set_num_threads(2)
x = torch.ones(400_000)
x.add_(1)  # starts the second thread
end, before = time.perf_counter() + 1, resource.getrusage(resource.RUSAGE_SELF).ru_utime
while time.perf_counter() < end:
    x.add_(1)
    time.sleep(0.002)
print(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
"""


def test_torch_keeps_to_its_cores_and_leaves_them_to_others_while_it_waits() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WAITING]
    out = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    threads, known, seconds = out.stdout.split()
    assert (threads, known) == ("1", "True")
    assert float(seconds) < 0.3  # of CPU in one second; threads that spin take 0.4 and more
