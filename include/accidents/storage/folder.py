"""Objects as files of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import uuid4

from include.accidents.data import files
from include.accidents.errors import StorageError
from include.accidents.storage.buckets import BUCKETS
from include.accidents.storage.versions import Facts, Store


class FolderStore(Store):
    """Keeps objects as files of a folder, one folder a bucket."""

    def __init__(self, folder: Path, key: bytes = b"", cache: Path | None = None) -> None:
        super().__init__(key, cache)
        self.folder = folder

    def _path(self, bucket: str, key: str) -> Path:
        return self.folder / bucket / key

    def create_buckets(self) -> None:
        """Create the folders."""
        for bucket in BUCKETS:
            (self.folder / bucket).mkdir(parents=True, exist_ok=True)

    def read(self, bucket: str, key: str, limit: int | None = None) -> bytes:
        """Return a file's content; StorageError when it is absent, InputError when it is larger than the limit."""
        try:
            content = self._path(bucket, key).read_bytes()
        except FileNotFoundError as error:
            raise StorageError(f"{self._path(bucket, key)} does not exist.", "run the step before this one.") from error
        if limit is not None:
            files.check_size(str(self._path(bucket, key)), len(content), limit)
        return content

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Write a file as a whole or not at all."""
        with self.temporary() as file:
            file.write(content)
            file.flush()
            self.write_file(bucket, key, file)

    def write_file(self, bucket: str, key: str, file: IO[bytes]) -> None:
        """Move a file of `temporary` to its place."""
        path = self._path(bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(file.name).replace(path)

    @contextmanager
    def temporary(self) -> Iterator[IO[bytes]]:
        """Open a file beside the buckets; it is deleted unless `write_file` moves it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f".{uuid4().hex}.unfinished"
        try:
            with path.open("x+b") as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def etag(self, bucket: str, key: str) -> str | None:
        """Return size and modification time of a file as text; None when it is absent."""
        path = self._path(bucket, key)
        if not path.is_file():
            return None
        stat = path.stat()
        return f"{stat.st_size}-{stat.st_mtime_ns}"

    def objects(self, bucket: str, prefix: str = "") -> dict[str, Facts]:
        """Return the files whose path within the bucket begins with a prefix."""
        root = self.folder / bucket
        objects = {}
        for path in sorted(root.rglob("*")):
            key = path.relative_to(root).as_posix()
            if path.is_file() and key.startswith(prefix):
                stat = path.stat()
                written = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat()
                objects[key] = Facts(stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}", written)
        return objects

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete files; absent ones are skipped."""
        for key in keys:
            self._path(bucket, key).unlink(missing_ok=True)
