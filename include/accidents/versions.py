"""Immutable versions with manifests, and objects for people: over S3 in the pipeline, over a folder without it.

A version's files are written first and its manifest last, and a reader trusts only what a manifest names, by SHA-256:
what was half written does not exist for anybody.
"""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast
from uuid import uuid4

from include.accidents.errors import StorageError

RAW = "accidents-raw-csv"
PREPROCESSED = "accidents-preprocessed-csv"
TRAIN = "accidents-train-csv"
MODELS = "accidents-models"
INCOMING = "accidents-incoming"
PREDICTIONS = "accidents-predictions"
BUCKETS = (RAW, PREPROCESSED, TRAIN, MODELS, INCOMING, PREDICTIONS)
MANIFEST = "manifest.json"
WRITERS = 2  # objects written at a time: Arrow formats them without Python's lock

log = logging.getLogger(__name__)

Manifest = dict[str, Any]
Content = bytes | Callable[[IO[bytes]], None]
"""What an object holds: its bytes, or a function that writes them to a file."""


class Versions(ABC):
    """Versions and objects for people, over whatever keeps objects by bucket and key."""

    @abstractmethod
    def read(self, bucket: str, key: str) -> bytes:
        """Return an object's content; StorageError when it is absent."""

    @abstractmethod
    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Write an object at once, replacing what is there."""

    @abstractmethod
    def write_file(self, bucket: str, key: str, file: IO[bytes]) -> None:
        """Write an object from an open file, read from its beginning."""

    @abstractmethod
    def temporary(self) -> AbstractContextManager[IO[bytes]]:
        """Return an empty file, gone afterwards, in which a large object is made before it is written."""

    @abstractmethod
    def exists(self, bucket: str, key: str) -> bool:
        """Tell whether an object is there."""

    def _put(self, bucket: str, key: str, content: Content) -> dict[str, Any]:
        """Write an object; return its SHA-256 and size."""
        if isinstance(content, bytes):
            self.write(bucket, key, content)
            return {"sha256": sha256(content), "size": len(content)}
        with self.temporary() as file:
            content(file)
            file.flush()
            file.seek(0)
            facts = {"sha256": hashlib.file_digest(cast(Any, file), "sha256").hexdigest(), "size": file.tell()}
            file.seek(0)
            self.write_file(bucket, key, file)
        return facts

    def _put_all(self, bucket: str, prefix: str, contents: Mapping[str, Content]) -> dict[str, dict[str, Any]]:
        with ThreadPoolExecutor(WRITERS) as pool:
            waiting = {name: pool.submit(self._put, bucket, prefix + name, c) for name, c in contents.items()}
        made = {name: each.result() for name, each in waiting.items()}
        for name, facts in made.items():
            log.info("Written: %s/%s%s (%s).", bucket, prefix, name, megabytes(facts["size"]))
        return made

    def read_json(self, bucket: str, key: str) -> dict[str, Any] | None:
        """Return a JSON object, None when it is absent."""
        try:
            found = json.loads(self.read(bucket, key))
        except StorageError:
            return None
        except ValueError as error:
            raise StorageError(f"{bucket}/{key} is not JSON.", "delete the object and run the DAG again.") from error
        return found if isinstance(found, dict) else None

    # --- versions

    def manifest(self, bucket: str, version: str) -> Manifest | None:
        """Return the manifest of a version, or None when the version was never completed."""
        return self.read_json(bucket, f"versions/{version}/{MANIFEST}")

    def read_version(self, bucket: str, version: str, name: str) -> bytes:
        """Return a file of a version, once its SHA-256 was seen to be the manifest's."""
        manifest = self.manifest(bucket, version)
        key = f"versions/{version}/{name}"
        if manifest is None or name not in manifest["files"]:
            raise StorageError(f"{bucket}/{key} was never completed.", "clear the task that writes it.")
        content = self.read(bucket, key)
        if sha256(content) != manifest["files"][name]["sha256"]:
            raise StorageError(
                f"{bucket}/{key} is not what its manifest says (SHA-256 differs).",
                f"delete versions/{version}/{MANIFEST} from {bucket} and run the DAG again: it is then made anew.",
            )
        return content

    def write_version(
        self, bucket: str, version: str, contents: Mapping[str, Content], facts: Mapping[str, Any]
    ) -> Manifest:
        """Write the files of a version, then its manifest: facts, and name, SHA-256 and size of each file."""
        files = self._put_all(bucket, f"versions/{version}/", contents)
        manifest = {
            "version": version,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
            "files": files,
        }
        self.write(bucket, f"versions/{version}/{MANIFEST}", json.dumps(manifest, indent=1).encode())
        return manifest

    # --- objects for people

    def publish(self, bucket: str, version: str, contents: Mapping[str, Content], loaded: str = "") -> bool:
        """Write objects for people, unless they already show this version or what a later run made.

        The mark of what an object shows is written after it, with its SHA-256.

        Parameters
        ----------
        loaded
            When the run looked at the raw files (ISO 8601, UTC): the later run is the one that looked later.

        Returns
        -------
        False when all was left as it is, because a later run has written there.
        """
        marks = {name: self.read_json(bucket, _mark(name)) or {} for name in contents}
        if any(mark.get("loaded", "") > loaded for mark in marks.values()):
            log.info("%s in %s: left as it is, a later run wrote it.", ", ".join(contents), bucket)
            return False
        old = {n: m for n, m in marks.items() if m.get("version") == version and self.exists(bucket, n)}
        made = self._put_all(bucket, "", {name: made for name, made in contents.items() if name not in old})
        for name in contents:
            mark = {"version": version, "sha256": (old.get(name) or made[name])["sha256"], "loaded": loaded}
            if mark != old.get(name):
                self.write(bucket, _mark(name), json.dumps(mark).encode())
        return True

    def published(self, bucket: str, version: str, name: str) -> bytes | None:
        """Return an object for people if it is what was published of this version, else None."""
        mark = self.read_json(bucket, _mark(name)) or {}
        if mark.get("version") != version or not self.exists(bucket, name):
            return None
        content = self.read(bucket, name)
        return content if sha256(content) == mark.get("sha256") else None


class FolderStore(Versions):
    """Keeps objects as files of a folder, one folder a bucket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, bucket: str, key: str) -> Path:
        return self.folder / bucket / key

    def read(self, bucket: str, key: str) -> bytes:
        """Return a file's content; StorageError when it is absent."""
        try:
            return self._path(bucket, key).read_bytes()
        except FileNotFoundError as error:
            raise StorageError(f"{self._path(bucket, key)} does not exist.", "run the step before this one.") from error

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Write a file so that it is either there as a whole or not at all."""
        with self.temporary() as file:
            file.write(content)
            file.flush()
            self.write_file(bucket, key, file)

    def write_file(self, bucket: str, key: str, file: IO[bytes]) -> None:
        """Give a file of `temporary` its name."""
        path = self._path(bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(file.name).replace(path)

    @contextmanager
    def temporary(self) -> Iterator[IO[bytes]]:
        """Open a file beside the buckets that goes unless `write_file` gives it a name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f".{uuid4().hex}.unfinished"
        try:
            with path.open("x+b") as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def exists(self, bucket: str, key: str) -> bool:
        """Tell whether a file is there."""
        return self._path(bucket, key).is_file()


def megabytes(size: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} KB"


def _mark(name: str) -> str:
    return f"versions/published/{name}.json"


def sha256(content: bytes) -> str:
    """Return the SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
