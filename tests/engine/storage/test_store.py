"""The store: artefacts exist as a whole or not at all, and later changes are detected."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from temper.core.artefacts import Data, Examples, Results, Row
from temper.core.data_info import DataInfo
from temper.engine.storage.store import META, Damaged, Store

FINGERPRINT = "f" * 24


def examples(n: int = 4, value: float = 0.5) -> Examples:
    x = np.full((n, 2, 3, 1), value, np.float32)
    return Examples(x=x, y=np.arange(n) % 2, index=np.arange(n), info={"eps": np.float32(0.5), "names": ["a"]})


def data() -> Data:
    return Data(DataInfo((2, 3, 1), ("zero", "one")), examples(4), examples(0), examples(2, 1.0))


def results() -> Results:
    rows = [
        Row.proportion("accuracy", 3, 4, higher_is_better=True, model="m"),
        Row.proportion("none", 0, 0, higher_is_better=None),
    ]
    return Results(tuple(rows))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.publish(FINGERPRINT, examples(), {"stage": "s", "cost": {"seconds": 1.0}})
    return store


def same(one: Examples, two: Examples) -> bool:
    arrays = all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("x", "y", "index"))
    return arrays and one.x.dtype == two.x.dtype


def test_examples_survive_a_round_trip(store: Store) -> None:
    assert store.has(FINGERPRINT)
    back = store.load(FINGERPRINT, Examples)
    assert same(back, examples())
    assert back.info == {"eps": 0.5, "names": ["a"]}
    assert store.meta(FINGERPRINT)["stage"] == "s"
    assert list(store.fingerprints()) == [FINGERPRINT]


def test_data_survive_a_round_trip_with_empty_parts_and_class_names(store: Store) -> None:
    store.publish("data", data(), {})
    back = store.load("data", Data)
    assert back.info == data().info
    assert all(same(back.part(part), data().part(part)) for part in ("train", "validation", "test"))


def test_results_survive_a_round_trip_with_undefined_values(store: Store) -> None:
    store.publish("results", results(), {})
    first, second = store.load("results", Results).rows
    assert first == results().rows[0]
    assert np.isnan(second.value)
    assert second.n == 0


@pytest.mark.parametrize("name", ["x", "y", "index"])
def test_loaded_arrays_are_read_only(store: Store, name: str) -> None:
    array = getattr(store.load(FINGERPRINT, Examples), name)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0
    fresh = getattr(examples(), name)
    with pytest.raises(ValueError, match="read-only"):
        fresh[0] = 0


def test_images_are_memory_mapped(store: Store) -> None:
    assert isinstance(store.load(FINGERPRINT, Examples).x, np.memmap)


def test_first_of_two_published_artefacts_is_kept_without_leftovers(store: Store) -> None:
    store.publish(FINGERPRINT, examples(value=0.9), {"stage": "late"})
    assert store.load(FINGERPRINT, Examples).x.max() == 0.5
    assert store.meta(FINGERPRINT)["stage"] == "s"
    assert list((store.root / ".tmp").iterdir()) == []


def publish(root: Path, number: int) -> None:
    Store(root).publish("shared", examples(2000, number / 10), {"by": number})


def test_many_processes_may_publish_the_same_artefact(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=publish, args=(tmp_path, number)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6
    store = Store(tmp_path)
    winner = store.meta("shared")["by"]
    assert np.all(store.load("shared", Examples).x == np.float32(winner / 10))
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_half_written_artefact_does_not_exist(store: Store) -> None:
    # A publish that dies before its rename leaves a folder under .tmp, complete or not.
    shutil.copytree(store.folder(FINGERPRINT), store.root / ".tmp" / "other-1-abc")
    assert not store.has("other")
    assert list(store.fingerprints()) == [FINGERPRINT]
    store.publish("other", examples(), {})
    assert store.has("other")


class Broken(Examples):
    kind = "broken"

    def save(self, folder: Path) -> None:
        super().save(folder)
        raise OSError("no space left on device")


def test_failed_publish_leaves_nothing(store: Store) -> None:
    whole = examples()
    with pytest.raises(OSError, match="no space"):
        store.publish("broken", Broken(x=whole.x, y=whole.y, index=whole.index), {})
    assert not store.has("broken")
    assert list((store.root / ".tmp").iterdir()) == []


def test_artefact_with_a_truncated_file_does_not_exist(store: Store) -> None:
    path = store.folder(FINGERPRINT) / "x.npy"
    path.write_bytes(path.read_bytes()[:-1])
    assert not store.has(FINGERPRINT)
    with pytest.raises(Damaged, match=r"x\.npy has changed"):
        store.load(FINGERPRINT, Examples)


@pytest.mark.parametrize("name", ["x.npy", "y.npy", "index.npy", "info.json"])
def test_flipped_bit_is_detected(store: Store, name: str) -> None:
    path = store.folder(FINGERPRINT) / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert store.has(FINGERPRINT)  # this checks sizes only, which is cheap
    with pytest.raises(Damaged, match=f"{name} has changed") as caught:
        store.load(FINGERPRINT, Examples)
    assert caught.value.fingerprint == FINGERPRINT


def test_missing_file_is_detected(store: Store) -> None:
    (store.folder(FINGERPRINT) / "y.npy").unlink()
    assert not store.has(FINGERPRINT)
    with pytest.raises(Damaged, match="No such file"):
        store.load(FINGERPRINT, Examples)


@pytest.mark.parametrize("meta", ["", "{", "[]", "null", "{}", '{"files": 1}', '{"files": {"x.npy": 3}}', "\x80"])
def test_corrupted_metadata_is_damage(store: Store, meta: str) -> None:
    (store.folder(FINGERPRINT) / META).write_bytes(meta.encode("latin1"))
    assert not store.has(FINGERPRINT)
    with pytest.raises(Damaged):
        store.load(FINGERPRINT, Examples)


def test_damaged_artefact_can_be_dropped_and_republished(store: Store) -> None:
    (store.folder(FINGERPRINT) / META).write_text("{", encoding="utf-8")
    store.drop(FINGERPRINT)
    assert not store.folder(FINGERPRINT).exists()
    store.publish(FINGERPRINT, examples(), {})
    assert same(store.load(FINGERPRINT, Examples), examples())
    store.drop("never there")


def test_publish_replaces_a_damaged_artefact(store: Store) -> None:
    (store.folder(FINGERPRINT) / META).unlink()
    store.publish(FINGERPRINT, examples(value=0.9), {})
    assert store.has(FINGERPRINT)
    assert store.load(FINGERPRINT, Examples).x.max() == np.float32(0.9)


def test_mapped_arrays_remain_readable_after_a_drop(store: Store) -> None:
    held = store.load(FINGERPRINT, Examples)
    store.drop(FINGERPRINT)
    assert float(held.x.sum()) == examples().x.sum()


def test_readers_see_all_or_nothing_during_a_publish(tmp_path: Path) -> None:
    def write(_: int) -> None:
        for number in range(20):
            Store(tmp_path).publish(f"a{number}", examples(500), {})

    def read(_: int) -> int:
        store, seen = Store(tmp_path), 0
        for _ in range(20):
            for fingerprint in list(store.fingerprints()):
                assert len(store.load(fingerprint, Examples)) == 500
                seen += 1
        return seen

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, i) for i in range(2)]
        readers = [pool.submit(read, i) for i in range(2)]
        for future in (*writers, *readers):
            future.result()
    assert len(list(Store(tmp_path).fingerprints())) == 20


def test_store_contains_no_pickle(store: Store) -> None:
    store.publish("data", data(), {})
    files = [path for path in store.root.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".npy", ".json"}
    for path in files:
        if path.suffix == ".npy":
            np.load(path, allow_pickle=False)
        else:
            json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((2, 2, 2), np.float32)}, r"expected float32 \(n, h, w, c\)"),
        ({"x": np.zeros((2, 2, 2, 1))}, r"received float64"),
        ({"x": np.full((2, 2, 2, 1), 1.5, np.float32)}, r"pixels in \[0, 1\], received \[1.5, 1.5\]"),
        ({"x": np.full((2, 2, 2, 1), np.nan, np.float32)}, r"pixels in \[0, 1\], received \[nan, nan\]"),
        ({"y": np.zeros(3, np.int64)}, r"labels: expected int64 \(2,\)"),
        ({"index": np.zeros(2, np.int32)}, r"index: expected int64 \(2,\), received int32"),
    ],
)
def test_examples_reject_other_content(change: dict[str, np.ndarray], message: str) -> None:
    sound = {"x": np.zeros((2, 2, 2, 1), np.float32), "y": np.zeros(2, np.int64), "index": np.zeros(2, np.int64)}
    with pytest.raises(ValueError, match=message):
        Examples(**(sound | change))
