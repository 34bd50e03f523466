"""Immutable versions with manifests, and objects for people: in S3 for the pipeline, in a folder without it.

A version's files are written first and its manifest last. A reader uses only the files that a manifest names, by
SHA-256: so it never sees an incomplete version. A file that a manifest names is never overwritten: a version that is
made again with other content gets new files and a new manifest. A manifest is signed: without the key, nobody who may
write to the store can replace a model or data.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from include.accidents.errors import StorageError

MANIFEST = "manifest.json"
SIGNATURE = "signature"  # of a manifest, over its other keys, its bucket and its version
WRITERS = 2  # objects written at a time: Arrow formats them without Python's lock

log = logging.getLogger(__name__)

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """An object in a listing.

    Attributes
    ----------
    size
        In bytes.
    etag
        Differs for different content.
    written
        When it was last written (ISO 8601).
    """

    size: int
    etag: str
    written: str


Content = bytes | IO[bytes]
"""The content of an object: its bytes, or a file of `temporary` that holds them."""


class Store(ABC):
    """Versions and objects for people, in any storage of objects by bucket and key.

    The pipeline takes any `Store`: `S3Store` in the DAG, `FolderStore` without Airflow. Another storage needs only
    the abstract methods.

    Parameters
    ----------
    key
        Key that manifests are signed with; a manifest with another signature counts as absent.
    cache
        Folder of this machine in which tasks keep datasets that they share; None: each task reads its own.
    """

    def __init__(self, key: bytes, cache: Path | None = None) -> None:
        self.key = key
        self.cache = cache

    @abstractmethod
    def create_buckets(self) -> None:
        """Create the buckets that are absent; done once, before the tasks that need them."""

    @abstractmethod
    def read(self, bucket: str, key: str, limit: int | None = None) -> bytes:
        """Return an object's content; StorageError when it is absent, InputError when it is larger than the limit."""

    @abstractmethod
    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Write an object in one request; an existing one is replaced."""

    @abstractmethod
    def write_file(self, bucket: str, key: str, file: IO[bytes]) -> None:
        """Write an object from an open file, read from its beginning."""

    @abstractmethod
    def temporary(self) -> AbstractContextManager[IO[bytes]]:
        """Return an empty file for a large object that is yet to be written; it is deleted afterwards."""

    @abstractmethod
    def etag(self, bucket: str, key: str) -> str | None:
        """Return the object's ETag, which differs for different content; None when it is absent."""

    @abstractmethod
    def objects(self, bucket: str, prefix: str = "") -> dict[str, Facts]:
        """Return the objects under a prefix, by key."""

    @abstractmethod
    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete objects; absent ones are skipped."""

    def _put(self, bucket: str, prefix: str, name: str, content: Content, named: Mapping[str, Any]) -> dict[str, Any]:
        """Write an object beside those that the manifest names; return its path, SHA-256, size and ETag."""
        if isinstance(content, bytes):
            facts = {"path": name, "sha256": sha256(content), "size": len(content)}
            return self._settle(bucket, prefix, facts, named, lambda key: self.write(bucket, key, content))
        content.flush()
        content.seek(0)
        digest = hashlib.file_digest(cast(Any, content), "sha256").hexdigest()
        facts = {"path": name, "sha256": digest, "size": content.tell()}
        content.seek(0)
        return self._settle(bucket, prefix, facts, named, lambda key: self.write_file(bucket, key, content))

    def _settle(
        self,
        bucket: str,
        prefix: str,
        facts: dict[str, Any],
        named: Mapping[str, Any],
        write: Callable[[str], None],
    ) -> dict[str, Any]:
        if named.get("sha256") == facts["sha256"] and self._is(bucket, prefix + named["path"], named["etag"]):
            return dict(named)
        if named.get("path") == facts["path"]:
            facts["path"] = f"{facts['sha256'][:12]}/{facts['path']}"
        key = prefix + facts["path"]
        write(key)
        log.info("Written: %s/%s (%s).", bucket, key, megabytes(facts["size"]))
        return {**facts, "etag": self.etag(bucket, key)}

    @contextmanager
    def staging(self, *names: str) -> Iterator[dict[str, IO[bytes]]]:
        """Open a temporary file for each name."""
        with ExitStack() as stack:
            yield {name: stack.enter_context(self.temporary()) for name in names}

    def _put_all(
        self, bucket: str, prefix: str, contents: Mapping[str, Content], named: Mapping[str, Any]
    ) -> dict[str, dict[str, Any]]:
        with ThreadPoolExecutor(WRITERS) as pool:
            futures = {
                name: pool.submit(self._put, bucket, prefix, name, content, named.get(name, {}))
                for name, content in contents.items()
            }
        return {name: future.result() for name, future in futures.items()}

    def read_json(self, bucket: str, key: str) -> dict[str, Any] | None:
        """Return a JSON object; None when it is absent or damaged, so that it is made again."""
        try:
            document = json.loads(self.read(bucket, key))
        except StorageError:
            return None
        except ValueError:
            log.warning("%s/%s is not JSON: it counts as absent.", bucket, key)
            return None
        return document if isinstance(document, dict) else None

    # --- versions

    def manifest(self, bucket: str, version: str) -> Manifest | None:
        """Return the manifest of a version; None when the version was never completed, or bears another signature."""
        manifest = self.read_json(bucket, f"versions/{version}/{MANIFEST}")
        if not manifest or not isinstance(manifest.get("files"), dict):
            return None
        signature = manifest.pop(SIGNATURE, "")
        if not hmac.compare_digest(str(signature).encode(), self._signature(bucket, version, manifest).encode()):
            log.warning("%s/versions/%s: its manifest was not signed here; it counts as absent.", bucket, version)
            return None
        return manifest

    def _signature(self, bucket: str, version: str, manifest: Manifest) -> str:
        claims = json.dumps([bucket, version, manifest], sort_keys=True)
        return hmac.new(self.key, claims.encode(), "sha256").hexdigest()

    def intact(self, bucket: str, version: str) -> Manifest | None:
        """Return the manifest of a version whose files are all unchanged, else None."""
        manifest = self.manifest(bucket, version)
        for name, facts in (manifest or {"files": {}})["files"].items():
            if not self._is(bucket, _key(version, name, facts), facts.get("etag")):
                key = _key(version, name, facts)
                log.warning("%s/%s is missing or was changed: the version is made again.", bucket, key)
                return None
        return manifest

    def read_version(self, bucket: str, version: str, name: str) -> bytes:
        """Return a file of a version, after checking its SHA-256 against the manifest."""
        manifest = self.manifest(bucket, version)
        if manifest is None or name not in manifest["files"]:
            raise StorageError(
                f"{bucket}/versions/{version}/{name} was never completed.",
                "clear the task that writes it, or trigger the DAG again.",
            )
        facts = manifest["files"][name]
        key = _key(version, name, facts)
        content = self.read(bucket, key)
        if sha256(content) != facts["sha256"]:
            raise StorageError(
                f"{bucket}/{key} is not what its manifest says (SHA-256 differs).",
                "clear the task that writes it, or trigger the DAG again: it is then made again.",
            )
        return content

    def write_version(
        self, bucket: str, version: str, contents: Mapping[str, Content], facts: Mapping[str, Any]
    ) -> Manifest:
        """Write the files of a version, then its manifest: facts, and name, SHA-256 and size of each file."""
        named = (self.manifest(bucket, version) or {"files": {}})["files"]
        files = self._put_all(bucket, f"versions/{version}/", contents, named)
        manifest: Manifest = {
            "version": version,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
            "files": files,
        }
        manifest = json.loads(json.dumps(manifest))  # as it will be read: JSON has no tuples, and its keys are texts
        signed = {**manifest, SIGNATURE: self._signature(bucket, version, manifest)}
        self.write(bucket, f"versions/{version}/{MANIFEST}", json.dumps(signed, indent=1).encode())
        return manifest

    def versions(self, bucket: str) -> dict[str, str]:
        """Return the time of the last write to each version, completed or not, by name (ISO 8601)."""
        last_written: dict[str, str] = {}
        for key, facts in self.objects(bucket, "versions/").items():
            name = key.split("/")[1]
            if name != "published":
                last_written[name] = max(facts.written, last_written.get(name, ""))
        return last_written

    def remove_version(self, bucket: str, version: str) -> None:
        """Remove a version: its manifests first, so that no reader sees a part of it."""
        keys = list(self.objects(bucket, f"versions/{version}/"))
        manifests = [key for key in keys if key.endswith(f"/{MANIFEST}")]
        for batch in (manifests, [key for key in keys if key not in manifests]):
            self.delete(bucket, batch)

    # --- objects for people

    def stale(self, bucket: str, version: str, names: Iterable[str], loaded: str = "") -> list[str]:
        """Find the objects for people that do not show this version; those that do are noted as this run's.

        Parameters
        ----------
        loaded
            When the run read the raw files (ISO 8601, UTC): the later run is the one that read them later.

        Returns
        -------
        Names of the objects to write, so that all show this version; empty when a later run wrote one of them.
        """
        pointers = {name: self.read_json(bucket, _pointer_key(name)) or {} for name in names}
        if any(pointer.get("loaded", "") > loaded for pointer in pointers.values()):
            log.info("%s in %s: left as it is, a later run wrote it.", ", ".join(pointers), bucket)
            return []
        shown = [n for n, p in pointers.items() if p.get("version") == version and self._is(bucket, n, p.get("etag"))]
        for name in shown:
            if pointers[name].get("loaded", "") != loaded:
                self._note(bucket, name, {**pointers[name], "loaded": loaded})
        return [name for name in pointers if name not in shown]

    def publish(self, bucket: str, version: str, contents: Mapping[str, Content], loaded: str = "") -> None:
        """Write the objects for people that are `stale`.

        After each object its pointer is written: the version that it shows, its SHA-256 and its ETag.
        """
        names = self.stale(bucket, version, contents, loaded)
        for name, facts in self._put_all(bucket, "", {name: contents[name] for name in names}, {}).items():
            pointer = {"version": version, "sha256": facts["sha256"], "etag": facts["etag"], "loaded": loaded}
            self._note(bucket, name, pointer)

    def _note(self, bucket: str, name: str, pointer: Mapping[str, Any]) -> None:
        self.write(bucket, _pointer_key(name), json.dumps(pointer).encode())

    def _is(self, bucket: str, key: str, etag: str | None) -> bool:
        return etag is not None and self.etag(bucket, key) == etag

    def published(self, bucket: str, version: str, name: str) -> bytes | None:
        """Return an object for people if it shows this version unchanged, else None."""
        pointer = self.read_json(bucket, _pointer_key(name)) or {}
        if pointer.get("version") != version or self.etag(bucket, name) is None:
            return None
        content = self.read(bucket, name)
        return content if sha256(content) == pointer.get("sha256") else None


def _key(version: str, name: str, facts: Mapping[str, Any]) -> str:
    return f"versions/{version}/{facts.get('path', name)}"


def megabytes(size: int) -> str:
    """Return a number of bytes as text, in MB or KB."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} KB"


def _pointer_key(name: str) -> str:
    return f"versions/published/{name}.json"


def sha256(content: bytes) -> str:
    """Return the SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
