"""Datasets as memory-mapped arrays on this machine, so that tasks side by side share their pages.

S3 stays the truth. A dataset is written here once, row group by row group, under the SHA-256 of its Parquet file. A
signed note holds the checksums of the arrays: an entry that was cut, altered or made by somebody else is made again.
Where nothing can be written, tasks do without.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from include.accidents.data.dataset import Dataset
from include.accidents.features import dataset_files
from include.accidents.features.definitions import NAMES

KEPT: Final = 4
"""Entries that stay: both splits of the newest two versions. The one that was not used for longest goes first."""

STALE: Final = 3600
"""Seconds after which the beginning of an entry is one that a killed task left."""

_NOTE: Final = "note.json"
_STAGING: Final = ".staging-"
_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "x": np.dtype(np.float32),
    "y": np.dtype(np.int64),
    "accident": np.dtype(np.int64),
}
_ARRAYS: Final = tuple(_DTYPES)

log = logging.getLogger(__name__)


class DatasetCache:
    """Datasets in a folder that only this user can read and write.

    Parameters
    ----------
    folder
        It is made if it is absent.
    key
        Signs the notes.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder, self._key = folder, key

    def open(self, digest: str, read: Callable[[], bytes]) -> Dataset:
        """Return a dataset, memory-mapped and read-only where it could be cached.

        Parameters
        ----------
        digest
            SHA-256 of the Parquet file.
        read
            Returns the content of the Parquet file, already checked; called when the dataset is not cached.

        Returns
        -------
        The rows of the file, `x` stored by row.
        """
        entry = self._folder / digest
        try:
            return self._load(entry)
        except FileNotFoundError:
            log.debug("%s is not cached yet.", digest)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("The cached dataset %s is damaged (%s): it is made again.", entry, error)
            shutil.rmtree(entry, ignore_errors=True)
        content = read()
        try:
            self._write(entry, content)
            return self._load(entry)
        except (OSError, ValueError) as error:
            log.warning("The dataset is not cached in %s (%s).", self._folder, error)
            return dataset_files.dataset_from_parquet(content)

    def _load(self, entry: Path) -> Dataset:
        note = json.loads((entry / _NOTE).read_text("utf-8"))
        checksums = note["checksums"]
        if not hmac.compare_digest(str(note["signature"]), self._signature(entry.name, checksums)):
            raise ValueError("its note was not signed here")
        arrays = {name: np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
        for name, array in arrays.items():
            if _checksum(array) != checksums[name]:
                raise ValueError(f"{name} was altered")
        os.utime(entry)
        # Without the subclass: its every view would carry the map's attributes along.
        return Dataset(**{name: array.view(np.ndarray) for name, array in arrays.items()})

    def _write(self, entry: Path, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self._folder.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise OSError(f"others may write to {self._folder}")
        staging = Path(tempfile.mkdtemp(dir=self._folder, prefix=_STAGING))
        try:
            checksums = _write_arrays(staging, content)
            note = {"checksums": checksums, "signature": self._signature(entry.name, checksums)}
            (staging / _NOTE).write_text(json.dumps(note), "utf-8")
            try:
                staging.rename(entry)
            except OSError:  # another task was faster
                log.debug("%s was cached meanwhile.", entry)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self._prune()

    def _prune(self) -> None:
        entries = sorted(
            (path for path in self._folder.iterdir() if not path.name.startswith(".")),
            key=lambda path: path.stat().st_mtime,
        )
        killed = [path for path in self._folder.glob(f"{_STAGING}*") if path.stat().st_mtime < time.time() - STALE]
        for path in (*entries[:-KEPT], *killed):
            shutil.rmtree(path, ignore_errors=True)

    def _signature(self, digest: str, checksums: Any) -> str:
        claims = json.dumps([digest, checksums], sort_keys=True).encode()
        return hmac.new(self._key, claims, "sha256").hexdigest()


def _write_arrays(folder: Path, content: bytes) -> dict[str, list[Any]]:
    """Write the arrays, a row group at a time.

    By ordinary writes: through a memory map, a full disk would kill the process instead of raising an error.

    Returns
    -------
    What `_checksum` returns of each array, by name.
    """
    rows = dataset_files.count_rows(content)
    shapes = {"x": (rows, len(NAMES)), "y": (rows,), "accident": (rows,)}
    crc = dict.fromkeys(_ARRAYS, 0)
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in _ARRAYS}
        for name, file in files.items():
            header = {"descr": _DTYPES[name].str, "fortran_order": False, "shape": shapes[name]}
            np.lib.format.write_array_header_1_0(file, header)
        for part in dataset_files.dataset_slices(content):
            for name, file in files.items():
                block = np.ascontiguousarray(getattr(part, name), dtype=_DTYPES[name]).data
                file.write(block)
                crc[name] = zlib.crc32(block, crc[name])
    return {name: [_DTYPES[name].str, list(shapes[name]), crc[name]] for name in _ARRAYS}


def _checksum(array: npt.NDArray[Any]) -> list[Any]:
    """Return type, shape and CRC-32 of an array: against damage, at the speed of the memory."""
    return [array.dtype.str, list(array.shape), zlib.crc32(np.ascontiguousarray(array).data)]
