"""The door to the frameworks: its name, its silence, and that all backends agree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core import backend
from tests.conftest import ROOT
from tests.generators.models import small


def test_name_needs_no_framework_and_refuses_unknown_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; from core import backend; print(backend.name(), 'keras' in sys.modules)"
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert out.stdout.split() == ["tensorflow", "False"]
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(ValueError, match="expected tensorflow, jax, torch, received 'theano'"):
        backend.name()


def test_importing_keras_is_quiet() -> None:
    code = "from core import backend; backend.keras()"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (out.stdout, out.stderr) == ("", "")


SCRIPT = """
import sys
import numpy as np
from core import backend
from core.component import Ref
from generators.gradient import BIM, FGSM, PGD
from tests.generators.models import images, small

weights = np.load(sys.argv[1])
victim = small()
victim.model.set_weights([weights[f"w{i}"] for i in range(4)])
x, y = images(70)
out = {"logits": victim.logits(x), "gradient": victim.loss_gradient(x, y)}
for norm in ("inf", 2, 1):
    eps = {"inf": 0.1, 2: 0.6, 1: 4.0}[norm]
    common = {"model": Ref("m"), "eps": eps, "norm": norm}
    for attack in (FGSM(**common), BIM(**common, eps_step=eps / 4, max_iter=6),
                   PGD(**common, eps_step=eps / 4, max_iter=6, num_random_init=3)):
        out[f"{attack.tag} {norm}"] = attack.perturb(victim, x, y, np.random.default_rng(3))
victim.model.set_weights([0.5 * w for w in victim.model.get_weights()])
out["halved"] = victim.logits(x)
np.savez(sys.argv[2], **out)
"""


@pytest.mark.slow
def test_all_backends_give_the_same_images(tmp_path: Path) -> None:
    start = tmp_path / "weights.npz"
    np.savez(start, **{f"w{i}": w for i, w in enumerate(small().model.get_weights())})
    results = {}
    for name in backend.BACKENDS:
        command = [sys.executable, "-c", SCRIPT, str(start), str(tmp_path / f"{name}.npz")]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"KERAS_BACKEND": name, "PYTHONPATH": str(ROOT)}, check=True)
        with np.load(tmp_path / f"{name}.npz") as file:
            results[name] = dict(file)
    for name in ("jax", "torch"):
        for key, expected in results["tensorflow"].items():
            # A gradient entry within rounding of zero may take either sign, which moves its pixel by two steps.
            close = np.isclose(results[name][key], expected, atol=1e-4)
            assert close.mean() > 0.999, (name, key, close.mean())


WAITING = """
import resource, time
from core import backend

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
