"""Datasets that the tasks of one machine share."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from include.accidents.data.dataset import Dataset
from include.accidents.features import dataset_files
from include.accidents.features.dataset_cache import KEPT, DatasetCache
from include.accidents.features.definitions import NAMES

KEY = b"a key of sixteen characters"
DIGEST = "a" * 64


def dataset(seed: int = 0, rows: int = 20_000) -> Dataset:
    random = np.random.default_rng(seed)
    x = random.random((rows, len(NAMES)), dtype=np.float32)
    x[::7, 3] = np.nan
    return Dataset(x, random.integers(0, 4, rows), random.integers(202100000001, 202100005000, rows))


def parquet(data: Dataset) -> bytes:
    text = [io.BytesIO() for _ in range(3)]
    file = io.BytesIO()
    with ThreadPoolExecutor(1) as pool:
        writer = dataset_files.DatasetWriter(pool, x=text[0], y=text[1], both=text[2], parquet=file)
        for start in range(0, len(data.y), 8192):
            writer.write(data.take(np.arange(start, min(start + 8192, len(data.y)))))
        writer.close()
    return file.getvalue()


def same(one: Dataset, other: Dataset) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name == "x")
        for name in ("x", "y", "accident")
    )


class Source:
    """A Parquet file that counts how often it is read."""

    def __init__(self, data: Dataset) -> None:
        self.content, self.reads = parquet(data), 0

    def __call__(self) -> bytes:
        self.reads += 1
        return self.content


def test_the_second_task_reads_nothing_from_the_store(tmp_path: Path) -> None:
    data = dataset()
    source = Source(data)
    for _ in range(2):
        opened = DatasetCache(tmp_path / "cache", KEY).open(DIGEST, source)
        assert same(opened, data)
        assert same(opened, dataset_files.dataset_from_parquet(source.content))
    assert source.reads == 1
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_nobody_writes_into_the_shared_rows(tmp_path: Path) -> None:
    opened = DatasetCache(tmp_path, KEY).open(DIGEST, Source(dataset(rows=100)))
    with pytest.raises(ValueError, match="read-only"):
        opened.x[0, 0] = 1


def cut(entry: Path) -> None:
    path = entry / "x.npy"
    path.write_bytes(path.read_bytes()[:-100])


def altered(entry: Path) -> None:
    content = bytearray((entry / "y.npy").read_bytes())
    content[-8] ^= 1
    (entry / "y.npy").write_bytes(content)


def forged(entry: Path) -> None:
    altered(entry)
    note = json.loads((entry / "note.json").read_text())
    array = np.load(entry / "y.npy")
    note["checksums"]["y"] = [array.dtype.str, list(array.shape), zlib.crc32(array.data)]
    (entry / "note.json").write_text(json.dumps(note))


def pickled(entry: Path) -> None:
    np.save(entry / "y.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def without_note(entry: Path) -> None:
    (entry / "note.json").write_text("[]")


@pytest.mark.parametrize("damage", [cut, altered, forged, pickled, without_note])
def test_a_damaged_entry_is_never_believed_and_made_again(
    tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source(dataset())
    cache = DatasetCache(tmp_path, KEY)
    cache.open(DIGEST, source)
    damage(tmp_path / DIGEST)  # type: ignore[operator]
    assert same(cache.open(DIGEST, source), dataset())
    assert source.reads == 2
    assert "is made again" in caplog.text
    assert same(cache.open(DIGEST, source), dataset())
    assert source.reads == 2


def test_an_entry_of_another_key_is_made_again(tmp_path: Path) -> None:
    source = Source(dataset(rows=100))
    DatasetCache(tmp_path, b"another key").open(DIGEST, source)
    DatasetCache(tmp_path, KEY).open(DIGEST, source)
    assert source.reads == 2


def test_where_nothing_can_be_written_the_task_does_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    source = Source(dataset())
    assert same(DatasetCache(blocked / "cache", KEY).open(DIGEST, source), dataset())
    assert "is not cached" in caplog.text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", tmp_path]
    if sys.platform != "linux" or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk takes the rights of root")
    yield tmp_path
    subprocess.run(["/bin/umount", "-l", tmp_path], check=True)


def test_a_full_disk_ends_no_task(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert same(DatasetCache(small_disk, KEY).open(DIGEST, Source(dataset())), dataset())
    assert "No space left" in caplog.text
    assert list(small_disk.iterdir()) == []


def test_what_a_killed_task_left_goes(tmp_path: Path) -> None:
    for name, age in ((".staging-old", 7200), (".staging-new", 60)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    DatasetCache(tmp_path, KEY).open(DIGEST, Source(dataset(rows=100)))
    assert {path.name for path in tmp_path.iterdir()} == {DIGEST, ".staging-new"}


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o777)
    assert same(DatasetCache(tmp_path, KEY).open(DIGEST, Source(dataset())), dataset())
    assert "others may write" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_the_entries_that_were_not_used_for_longest_go(tmp_path: Path) -> None:
    cache, source = DatasetCache(tmp_path, KEY), Source(dataset(rows=100))
    names = [letter * 64 for letter in "abcde"]
    for i, name in enumerate(names[:KEPT]):
        cache.open(name, source)
        os.utime(tmp_path / name, (i + 1, i + 1))
    cache.open(names[0], source)
    cache.open(names[4], source)
    assert {path.name for path in tmp_path.iterdir()} == {*names} - {names[1]}


def test_tasks_that_begin_together_all_get_the_rows(tmp_path: Path) -> None:
    source = Source(dataset())
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: DatasetCache(tmp_path, KEY).open(DIGEST, source), range(4)))
    assert all(same(each, dataset()) for each in opened)
    assert [path.name for path in tmp_path.iterdir()] == [DIGEST]
