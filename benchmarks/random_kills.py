"""A campaign of random kills and corruption: is anything finished lost or recomputed, is a number in a table wrong?

Run:  python benchmarks/random_kills.py [--kills 220] [--seed 1] [--folder FOLDER]

Two experiments fill stores again and again, one of sleeping stages without a framework (its start takes a second) and one that trains,
attacks and fuzzes on scikit-learn's digits; a third shares most of its stages with the first. They run alone, with two workers, in four shards, and two of
them in one store. Runners, shards and workers are killed (SIGKILL, some runners stopped with SIGTERM first) at moments drawn over what a life was
measured to take; `--gc` of an aged store and `--tables` run alongside; between lives files of the store are cut, changed, removed or left
over. Each store is then finished, and compared with one that nothing disturbed. Checkpoints are saved every 0.2 seconds here.
The choices are those of the seed; what they hit depends on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from temper.core.artefacts import read_json, write_json
from temper.engine.planning.history import referred
from temper.engine.storage.leases import LEASES
from temper.engine.storage.store import CHECKPOINTS, META, STORE, Store
from temper.system.installation import IMPORT_FOLDER as ROOT

HURRY = """
from temper.core.checkpoint import Checkpoint

Checkpoint.__init__.__defaults__ = (None, 0.2)
"""
SLEEPING = """
name: sleeping
seeds: [1, 2, 3]
axes: {by: [0.1, 0.2, 0.3]}
datasets:
  grey: {type: plain, images: 300}
generate:
  lighter: {type: shift, data: grey, noise: {type: fixed, by: $by}, seconds: 0.3}
  long: {type: walk, data: lighter, steps: 20, seconds: 0.05}
  drawn: {type: shift, data: lighter, noise: {type: drawn, like: lighter}, seconds: 0.3}
  last: {type: shift, data: drawn, noise: {type: drawn}, seconds: 0.2}
  turned: {type: learner, data: last}
evaluate:
  shade: {type: shade, examples: [grey, lighter, long, drawn, last, turned]}
  compared: {type: significance, of: shade, metric: shade, compare: examples, baseline: long}
"""
SHARING = SLEEPING.replace("name: sleeping", "name: sharing").replace("[0.1, 0.2, 0.3]", "[0.2, 0.3, 0.4]")
DIGITS = """
name: working
seeds: [1, 2]
datasets:
  digits: {type: digits, validation: 0.2}
targets:
  mlp: {type: dense, dataset: digits, layers: 1, units: 24, epochs: 4}
  small: {type: dense, dataset: digits, layers: 1, units: 12, epochs: 3}
generate:
  pgd: {type: pgd, model: mlp, eps: 0.1, eps_step: 0.02, max_iter: 5}
  noise: {type: uniform_noise, model: mlp, eps: 0.1}
  fuzzed: {type: drfuzz, model: small, reference: mlp, data: digits, mutants: 20000}
repair:
  hard: {type: adversarial_training, model: mlp, examples: pgd, epochs: 2}
evaluate:
  matrix: {type: robustness_matrix, models: [mlp, small, hard], examples: [digits, pgd, noise, fuzzed], protocol: transfer}
  white_box: {type: robustness_matrix, models: [mlp, hard], examples: [digits, pgd], protocol: white_box}
"""
LONGEST = 1.5
"""Seconds after a life's first stage within which it is killed."""
EACH = 30
"""Kills while one store is filled."""
OLD = 7 * 86400.0


@dataclass
class Books:
    """What was done to the stores, and the outcome."""

    kills: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    damage: Counter[str] = field(default_factory=Counter)
    alongside: Counter[str] = field(default_factory=Counter)
    tasks: int = 0
    repaired: int = 0
    again: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


@dataclass
class Life:
    """One process of the program, from its start to its end."""

    process: subprocess.Popen[bytes]
    log: Path
    read: int
    kind: str

    def began(self) -> bool:
        """Return whether it, or a worker of it, has begun a stage."""
        return (b" is on " if "workers" in self.kind else b" begins") in self._said()

    def reports(self) -> bool:
        """Return whether it writes its tables."""
        return b"writing tables" in self._said()

    def _said(self) -> bytes:
        try:
            return self.log.read_bytes()[self.read :]
        except FileNotFoundError:
            return b""

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes."""
        try:
            below = psutil.Process(self.process.pid).children(recursive=True)
            return [child for child in below if any("spawn_main" in word for word in child.cmdline())]
        except psutil.Error:
            return []


class KillCampaign:
    """Stores that are filled while they are disturbed."""

    def __init__(self, folder: Path, seed: int, books: Books) -> None:
        self.folder, self.books = folder, books
        self.rng = random.Random(seed)
        self.parts = folder / "hurry"
        self.parts.mkdir(parents=True, exist_ok=True)
        (self.parts / "hurry.py").write_text(HURRY, encoding="utf-8")
        self.files = {}
        for text in (SLEEPING, SHARING, DIGITS):
            name = text.split()[1]
            self.files[name] = folder / f"{name}.yaml"
            self.files[name].write_text(text, encoding="utf-8")
        self.whole = folder / "whole"
        self.outputs = self.whole
        self.seen: dict[str, int] = {}
        self.corrupted: set[str] = set()
        self.lives: list[Life] = []
        kept = folder / "whole.json"
        self.first: dict[str, float] = read_json(kept) if kept.exists() else {}

    # Lives.

    def start(self, name: str, *options: str, kind: str = "runner") -> Life:
        """Start a runner of an experiment."""
        shard = options[options.index("--shard") + 1].replace("/", "-of-") if "--shard" in options else ""
        log = self.outputs / name / (f"log-{shard}.txt" if shard else "log.txt")
        read = log.stat().st_size if log.exists() else 0
        return Life(self._run(str(self.files[name]), "--retry-failed", *options), log, read, kind)

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(ROOT / "runner.py"), *arguments, "--outputs", str(self.outputs)]
        command += ["--components", str(ROOT / "tests" / "parts"), "--components", str(self.parts)]
        said = (self.folder / "said.txt").open("ab")
        with said:
            return subprocess.Popen(command, stdout=said, stderr=said, cwd=ROOT)

    def reference(self) -> None:
        """Make each experiment undisturbed, and measure when its first stage begins."""
        for name in self.files:
            if name in self.first:
                continue
            started = time.monotonic()
            life = self.start(name)
            while not life.began() and life.process.poll() is None:
                time.sleep(0.02)
            self.first[name] = time.monotonic() - started
            if life.process.wait(600):
                raise SystemExit(f"{name} fails undisturbed; see {self.folder / 'said.txt'}")
            write_json(self.folder / "whole.json", self.first)

    def generation(self, number: int, kills: int) -> None:
        """Fill a store from its beginning to its end while it is disturbed, with so many kills at most."""
        self.outputs = self.folder / f"disturbed-{number}"
        shutil.rmtree(self.outputs, ignore_errors=True)
        self.seen, self.corrupted = {}, set()
        names = ["working"] if number % 3 == 1 else ["sleeping", "sharing"]
        before = self.books.kills.total()
        while self.books.kills.total() - before < kills and not self.complete(names):
            self.life(names)
            self.look("a life")
            for _ in range(self.rng.randint(0, 3)):
                self.damage()
        faults = len(self.books.faults)
        self.finish(names)
        self.compare(names)
        if len(self.books.faults) == faults:  # else there is something to look at
            shutil.rmtree(self.outputs)

    def life(self, names: Sequence[str]) -> None:
        """Start some runners in one of the ways there are, disturb them, and end them."""
        way = self.rng.choice(["alone", *["workers"] * 2, *["shards"] * 3, *["together"] * 2])
        name = self.rng.choice(names)
        if way == "alone":
            lives = [self.start(name)]
        elif way == "workers":
            lives = [self.start(name, "--jobs", "2", kind="runner of workers")]
        elif way == "shards":
            lives = [self.start(name, "--shard", f"{k}/4", kind="shard") for k in (1, 2, 3, 4)]
        else:
            other = self.rng.choice(names)
            lives = [self.start(name, kind="one of two runners"), self.start(other, kind="one of two runners")]
        self.alongside(name)
        if way == "workers":
            self.kill_workers(lives[0], name)
        self.rng.shuffle(lives)
        for life in lives:
            self.end(life, name)
        for life in lives:
            life.process.wait(60)

    def wait_for_work(self, life: Life, name: str) -> None:
        """Wait until some time after a life's first stage has begun, or now and then into its start only."""
        if self.rng.random() < 0.1:
            time.sleep(self.rng.uniform(0, self.first[name]))
            return
        deadline = time.monotonic() + 60
        while not life.began() and life.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(self.rng.uniform(0, LONGEST))

    def kill_workers(self, life: Life, name: str) -> None:
        """Kill workers, one or two times each of them at most: a third death would be the stage's failure."""
        for _ in range(self.rng.randint(1, 3)):
            self.wait_for_work(life, name)
            workers = life.workers()
            if workers and life.process.poll() is None:
                self.kill(self.rng.choice(workers).pid, "worker", life)
                time.sleep(self.rng.uniform(0, 1))

    def end(self, life: Life, name: str) -> None:
        """Kill a runner, or signal it and wait a moment, or let it end."""
        self.wait_for_work(life, name)
        workers = life.workers()
        if life.process.poll() is not None:
            return
        if self.rng.random() < 0.1:
            life.process.send_signal(signal.SIGTERM)
            self.books.alongside["runners stopped with SIGTERM"] += 1
            time.sleep(self.rng.uniform(0, 0.5))
        if life.process.poll() is None:
            self.kill(life.process.pid, life.kind, life)
            life.process.wait(30)
        _, orphans = psutil.wait_procs(workers, timeout=20)
        for orphan in orphans:
            self.fault("a worker outlived its runner")
            orphan.kill()

    def kill(self, pid: int, kind: str, life: Life) -> None:
        """Kill a process, and write down what it was at."""
        at = "writing tables" if life.reports() else "starting, or between stages"
        for record in (self.outputs / STORE / ".attempts").glob("*/*/*.json"):
            try:
                attempt = read_json(record)
            except (OSError, ValueError):
                continue
            if attempt["pid"] == pid or any(worker.pid == attempt["pid"] for worker in life.workers()):
                kept = (self.outputs / STORE / CHECKPOINTS / record.parent.name / "state.npz").exists()
                at = "in a stage that had saved" if kept else "in a stage"
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.books.kills[kind] += 1
        self.books.hits[at] += 1

    def alongside(self, name: str) -> None:
        """Write the tables, or collect an aged store, while runners are at work."""
        for option, chance in (("--tables", 0.25), ("--gc", 0.25)):
            if self.rng.random() > chance:
                continue
            time.sleep(self.rng.uniform(0, 1))
            if option == "--gc":
                self.age()
            cut = any(path.read_bytes()[-3:] != b"\n}\n" for path in self.outputs.glob("*/last_run.json"))
            done = self._run(*([str(self.files[name])] if option == "--tables" else []), option).wait(120)
            self.books.alongside[f"{option} refused, a last run being cut" if done and cut else option] += 1
            if done and not (cut and option == "--gc"):
                self.fault(f"{option} ended with {done} alongside a run")

    def age(self) -> None:
        """Make all that is finished look a week old, so that only what refers to it keeps it."""
        old = time.time() - OLD
        for fingerprint in Store(self.outputs / STORE).fingerprints():
            try:
                os.utime(self.outputs / STORE / fingerprint, (old, old))
            except FileNotFoundError:
                continue

    # Damage.

    def damage(self) -> None:
        """Corrupt one file of a store that nobody uses."""
        store = self.outputs / STORE
        places: Mapping[str, tuple[str, Sequence[Callable[[Path], None]]]] = {
            "file of an artefact": ("[0-9a-f]*/**/*.*", (self.cut, self.change, Path.unlink)),
            "meta data of an artefact": (f"[0-9a-f]*/{META}", (self.cut, Path.unlink)),
            "lease": (f"{LEASES}/[0-9a-f]*", (self.cut, Path.unlink)),
            "checkpoint": (f"{CHECKPOINTS}/*/*.npz", (self.cut, self.change, Path.unlink)),
            "record of an attempt": (".attempts/*/*/*.json", (self.cut, self.change, Path.unlink)),
            "task times": ("timings.jsonl", (self.cut, Path.unlink)),
            "memory of digests": ("digests.json", (self.cut, self.change, Path.unlink)),
            "last run": ("../*/last_run.json", (self.cut,)),
            "table or page": ("../*/*.[ch][st][vm]*", (self.cut, Path.unlink)),
            "mark of the report": ("../*/.report.json", (self.cut, Path.unlink)),
        }
        what = self.rng.choice([*places, "file of an artefact", "file of an artefact", "left over"])
        if what == "left over":
            (store / ".tmp" / f"{'0' * 24}-1-left").mkdir(parents=True, exist_ok=True)
            (store / ".tmp" / f"{'0' * 24}-1-left" / "x.npy").write_bytes(b"half")
            (store / f".{META}.left.tmp").write_bytes(b"{")
        else:
            pattern, ways = places[what]
            found = sorted(path for path in store.glob(pattern) if path.is_file())
            if not found:
                return
            path = self.rng.choice(found)
            folder = path.relative_to(store).parts[0]
            self.rng.choice(ways)(path)
            if what.endswith("of an artefact"):
                self.corrupted.add(folder)
            elif what == "lease" and path.exists():  # one that cannot be read is void after a minute
                os.utime(path, (time.time() - 90,) * 2)
        self.books.damage[what] += 1

    def cut(self, path: Path) -> None:
        """Leave the first part of a file only."""
        os.truncate(path, self.rng.randrange(max(1, path.stat().st_size)))

    def change(self, path: Path) -> None:
        """Change one byte of a file."""
        content = bytearray(path.read_bytes())
        if content:
            content[self.rng.randrange(len(content))] ^= 0x55
            path.write_bytes(content)

    # Looks.

    def fault(self, text: str) -> None:
        """Write down that something is wrong, and tell it at once."""
        self.books.faults.append(text)
        print(f"FAULT: {text}", flush=True)

    def finished(self) -> dict[str, int]:
        """Return the artefacts that are there, each with the inode of its meta data."""
        store = Store(self.outputs / STORE)
        return {f: (store.folder(f) / META).stat().st_ino for f in store.fingerprints() if store.has(f)}

    def look(self, after: str) -> None:
        """See that all that was finished is still there, and is what it was unless it was corrupted."""
        now = self.finished()
        for fingerprint, inode in self.seen.items():
            if now.get(fingerprint) == inode:
                continue
            if fingerprint not in self.corrupted:
                what = "lost" if fingerprint not in now else "recomputed"
                self.fault(f"{fingerprint} was finished and is {what} after {after}")
            elif fingerprint in now:
                self.books.repaired += 1
                self.corrupted.discard(fingerprint)
        self.seen = now

    def complete(self, names: Sequence[str]) -> bool:
        """Return whether the store has all that these experiments are, except corrupted artefacts that nobody has requested since."""
        there = self.finished().keys() | self.corrupted
        return all(set(referred(self.whole / name)) <= there for name in names)

    def finish(self, names: Sequence[str]) -> None:
        """Finish all experiments undisturbed."""
        for name in names:
            life = self.start(name, *self.rng.choice([(), ("--jobs", "2")]))
            if code := life.process.wait(600):
                self.fault(f"{name} ended with {code} when it was left alone")
        self.look("the last run")

    def compare(self, names: Sequence[str]) -> None:
        """See that tables and artefacts are those of the store that nothing disturbed."""
        for name in names:
            for path in sorted((self.whole / name).glob("*.csv")):
                other = self.outputs / name / path.name
                if not other.exists() or other.read_bytes() != path.read_bytes():
                    self.fault(f"{name}/{path.name} differs")
            if (self.outputs / name / "failures.csv").exists():
                self.fault(f"{name} has failures")
            for fingerprint in set(referred(self.whole / name)) - self.corrupted:  # still corrupted: nobody has read it
                self.books.tasks += 1
                ours, theirs = (self.numbers(outputs, fingerprint) for outputs in (self.outputs, self.whole))
                if ours != theirs:
                    self.fault(f"{fingerprint} of {name} differs")
        made = Counter(entry["label"] for entry in self._timings())
        for label, times in made.items():
            self.books.again[label] += times - 1

    def numbers(self, outputs: Path, fingerprint: str) -> dict[str, Any]:
        """Return the digests of an artefact's arrays and rows; what else there is tells of seconds, or of when a file was packed."""
        store = Store(outputs / STORE)
        files: dict[str, Any] = store.meta(fingerprint)["files"] if store.has(fingerprint) else {}
        return {name: digest for name, digest in files.items() if name.endswith((".npy", "rows.json"))}

    def _timings(self) -> Iterator[dict[str, Any]]:
        path = self.outputs / STORE / "timings.jsonl"
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue


def say(books: Books, seconds: float) -> None:
    """Print what was done and what came of it."""
    for title, counts in (
        ("killed", books.kills),
        ("while", books.hits),
        ("damaged", books.damage),
        ("alongside", books.alongside),
    ):
        for what, count in sorted(counts.items()):
            print(f"| {title} | {what} | {count} |")
    print(f"| checked | tasks | {books.tasks} |")
    print(f"| | recomputed after corruption | {books.repaired} |")
    print(f"| | made more than once, after damage too | {books.again.total()} |")
    print(f"| | faults | {len(books.faults)} |")
    print(f"{books.kills.total()} kills, {books.damage.total()} damages in {seconds / 60:.0f} min")


def main() -> None:
    """Disturb stores until there were kills enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=220, help="kills at least")
    parser.add_argument("--minutes", type=float, default=60, help="no store is begun after them")
    parser.add_argument("--seed", type=int, default=1, help="of the choices")
    parser.add_argument(
        "--folder",
        type=Path,
        help="where stores are made, and the undisturbed one is kept for another campaign; default: a temporary one",
    )
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="temper-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    books, started = Books(), time.monotonic()
    try:
        campaign = KillCampaign(folder, chosen.seed, books)
        campaign.reference()
        number = 0
        while books.kills.total() < chosen.kills and time.monotonic() - started < 60 * chosen.minutes:
            campaign.generation(number, min(EACH, chosen.kills - books.kills.total()))
            number += 1
            minutes = (time.monotonic() - started) / 60
            print(
                f"store {number}: {books.kills.total()} kills, {len(books.faults)} faults, {minutes:.0f} min",
                flush=True,
            )
        say(books, time.monotonic() - started)
    finally:
        if chosen.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    if books.faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
