"""Writers killed at random moments: a reader sees the old or the new whole version, never a part of one.

ACCIDENTS_KILLS says how often (10 times each as a part of `make test`, 300 times each in `make test-faults`).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from include.accidents.errors import StorageError
from include.accidents.storage import raw_files
from include.accidents.storage.buckets import RAW, TRAIN
from include.accidents.storage.folder import FolderStore
from include.accidents.storage.versions import Store
from include.accidents.synthetic.sample import write_sample
from ops import airflow_settings
from ops.local import environment, health, services, settings
from tests.faults.ledger import Ledger
from tests.helpers import free_ports

KILLS = int(os.environ.get("ACCIDENTS_KILLS", "10"))
NAMES = ("one.bin", "two.bin", "three.bin")
SIZES = (1_000_000, 200_000, 9_000_000)  # the last one goes to S3 in parts
OBJECT = "shown.bin"

# A clean process with the imports done, from which each writer is forked in a moment.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["include.accidents.storage.s3", "tests.faults.test_writes"])


def write_on(address: str, letter: int, begun: Any, done: Any) -> None:
    """Make the version once more with other content, and show other content to people, until the end comes."""
    store = open_store(address)
    store.etag(TRAIN, "x")  # the connection is there
    begun.set()
    while True:
        write(store, letter)
        done.set()
        with store.staging(OBJECT) as drafts:
            drafts[OBJECT].write(content(letter, NAMES[0]))
            store.publish(TRAIN, str(letter), drafts)
        letter += 1


def write(store: Store, letter: int) -> None:
    """Make the version: one of its files from memory, the others from drafts."""
    kept, *drafted = NAMES
    with store.staging(*drafted) as drafts:
        for name in drafted:
            drafts[name].write(content(letter, name))
        store.write_version(TRAIN, "v", {kept: content(letter, kept), **drafts}, {"letter": letter})


@contextmanager
def writer(address: str, letter: int) -> Iterator[Any]:
    """Let a process write until it is killed at the end of the block; gives the event of its first version."""
    begun, done = FORKS.Event(), FORKS.Event()
    process = FORKS.Process(target=write_on, args=(address, letter, begun, done), daemon=True)
    process.start()
    try:
        assert begun.wait(300), "the writer does not begin"
        yield done
    finally:
        process.kill()
        process.join()


def content(letter: int, name: str) -> bytes:
    """Return what the file of a version holds."""
    return f"{letter:08}".encode() * (SIZES[NAMES.index(name)] // 8)


def open_store(address: str) -> Store:
    if not address.startswith("{"):
        return FolderStore(Path(address))
    os.environ["AIRFLOW_CONN_MINIO"] = address
    from include.accidents.storage.s3 import S3Store

    return S3Store(b"a key")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The S3 server as the embedded stack starts it; Airflow's connection to it, with the keys of the tasks."""
    chosen = settings.Settings(local_dir=tmp_path_factory.mktemp("stack"), s3_port=free_ports(1)[0])
    known = environment.prepare(chosen)
    s3 = next(each for each in services.define(chosen, known) if each.name == "s3")
    (chosen.folder / "s3").mkdir()
    process = subprocess.Popen(s3.command, env=dict(s3.environment), stderr=subprocess.DEVNULL)
    connection = airflow_settings.load(airflow_settings.FILE, environment.settings_file(chosen, known)).connections[
        "minio"
    ]
    check = health.s3(known.env)
    try:
        until_ready(lambda: check() is None)
        yield json.dumps({**connection, "extra": json.loads(connection["extra"])})
    finally:
        process.kill()
        process.wait()


def whole(store: Store) -> int:
    """Read the version and the object for people; return which one it is, AssertionError when it is a mixture."""
    manifest = store.manifest(TRAIN, "v")
    if manifest is None:
        raise StorageError("There is no version any more.", "wait for the server.")
    seen = {store.read_version(TRAIN, "v", name) for name in NAMES}
    if store.manifest(TRAIN, "v") != manifest:
        raise StorageError("The server was still at work for the dead writer.", "read again.")
    letter = manifest["letter"]
    assert seen == {f"{letter:08}".encode() * (size // 8) for size in SIZES}, "a mixture of versions"
    assert store.intact(TRAIN, "v") == manifest, "the store says that it is damaged"
    shown = {each: store.published(TRAIN, str(each), OBJECT) for each in (letter - 1, letter)}
    for each, found in shown.items():
        assert found in (None, f"{each:08}".encode() * (SIZES[0] // 8)), "a part is shown for the whole"
    return int(letter)


def settled(store: Store) -> int:
    """Return what `whole` does, once the server has done what the dead writer asked of it last."""
    for _ in range(20):
        try:
            return whole(store)
        except (StorageError, BotoCoreError, ClientError):
            time.sleep(0.1)
    return whole(store)


@pytest.mark.parametrize("kind", ["S3", "a folder"])
def test_a_killed_writer_leaves_the_old_or_the_new_version(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, ledger: Ledger
) -> None:
    address = request.getfixturevalue("server") if kind == "S3" else str(tmp_path)
    store = open_store(address)
    begun = time.monotonic()
    write(store, 0)
    a_version = time.monotonic() - begun
    chance = random.Random(1)  # noqa: S311
    letter, seen = 0, Counter[str]()
    for kill in range(KILLS):
        with writer(address, letter + 1) as done:
            if kill % 2:  # how fast a writer is differs from machine to machine: every other one ends a version first
                assert done.wait(300), "the writer writes nothing"
            time.sleep((kill > 0) * a_version * chance.random())
        found = settled(store)
        assert found >= letter, "an older version came back"
        seen["the old version" if found == letter else "a newer version"] += 1
        letter = found
    told = ", ".join(f"{n} times {what}" for what, n in sorted(seen.items()))
    ledger.counts.append(
        f"a writer to {kind} killed {KILLS} times at random moments: a reader then saw {told}; never a part"
    )
    assert sum(seen.values()) == KILLS
    if KILLS >= 10:
        assert len(seen) == 2, "the moments were not random enough to prove anything"


def until_ready(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < end, "S3 did not start"
        time.sleep(0.2)


def test_an_upload_that_breaks_off_leaves_no_generated_file_that_passes_for_a_real_one(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Any = open_store(server)
    write_sample(tmp_path, years=(2022,), accidents_per_year=50)
    usual, uploads = store.write, []

    def dies_in_time(bucket: str, key: str, content: bytes) -> None:
        usual(bucket, key, content)
        if key.endswith(".csv"):
            uploads.append(key)
        if len(uploads) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", dies_in_time)
        with pytest.raises(KeyboardInterrupt):
            raw_files.upload_raw(store, tmp_path, sample=True)
    assert len(raw_files.upload_raw(store, tmp_path, sample=True)) == 2
    assert {file.sample for tables in raw_files.raw_years(store).values() for file in tables.values()} == {True}
    store.write(RAW, "manifest.json", b"{")  # it can be made of what is there
    assert {file.sample for tables in raw_files.raw_years(store).values() for file in tables.values()} == {True}


def test_a_reader_beside_a_writer_never_sees_a_part(server: str, ledger: Ledger) -> None:
    """While a version is made once more, over and over, a reader gets a whole one or an error that says so."""
    store = open_store(server)
    write(store, 0)
    seen: Counter[str] = Counter()
    with writer(server, 1):
        end = time.monotonic() + 5 + KILLS / 20
        patience = end + 120
        while time.monotonic() < end or (seen["whole"] <= 5 and time.monotonic() < patience):
            name = NAMES[sum(seen.values()) % len(NAMES)]
            try:
                read = store.read_version(TRAIN, "v", name)
            except StorageError:
                seen["told to be absent"] += 1
                continue
            except (BotoCoreError, ClientError) as error:
                seen[f"broken off ({type(error).__name__})"] += 1
                continue
            assert len(read) == SIZES[NAMES.index(name)] // 8 * 8
            assert read == read[:8] * (len(read) // 8)
            seen["whole"] += 1
    assert seen["whole"] > 5
    told = ", ".join(f"{n} reads {what}" for what, n in sorted(seen.items()))
    ledger.counts.append(f"a reader of S3 beside a writer that makes the same version again: {told}; never a part")
