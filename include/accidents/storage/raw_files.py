"""The raw bucket: the CSVs of every year, which of them are generated, and the SHA-256 of each."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.accidents.data import files
from include.accidents.data.columns import Table
from include.accidents.errors import InputError, StorageError
from include.accidents.storage.buckets import RAW
from include.accidents.storage.versions import MANIFEST, Facts, Store, megabytes, sha256, sha256_of_file

log = logging.getLogger(__name__)

GENERATED = "generated/"  # in the raw bucket: one object for each generated file, named after its SHA-256


@dataclass(frozen=True)
class RawFile:
    """One CSV in the raw bucket."""

    key: str
    sha256: str
    sample: bool
    size: int = 0


def upload_raw(store: Store, folder: Path, *, sample: bool) -> list[str]:
    """Upload the CSVs of a folder that are not yet in the bucket with the same content.

    The folder is checked as a whole first. A sample is not uploaded where real files are.

    Returns
    -------
    Names of the files that were uploaded.
    """
    by_year = files.find(folder)
    known = _index(store)
    if sample and any(not f["sample"] for f in known.values()):
        log.warning("Real files are in %s: the sample of %s is left out.", RAW, folder)
        return []
    uploaded = []
    paths = sorted(path for tables in by_year.values() for path in tables.values())
    for k, path in enumerate(paths, start=1):
        digest = sha256_of_file(path)
        if known.get(path.name, {}).get("sha256") == digest:
            continue
        content = path.read_bytes()  # read once, so that hash and content are of the same moment
        digest = sha256(content)
        log.info("Uploading file %d of %d: %s (%s).", k, len(paths), path.name, megabytes(len(content)))
        if sample:  # written first: an interrupted upload must not leave a generated file that counts as real
            store.write(RAW, GENERATED + digest, path.name.encode())
        store.write(RAW, path.name, content)
        uploaded.append(path.name)
        known[path.name] = {**_stat(store.objects(RAW, path.name)[path.name]), "sha256": digest, "sample": sample}
        _write_index(store, known)
    return uploaded


def raw_years(store: Store) -> dict[int, dict[Table, RawFile]]:
    """List the raw bucket.

    Returns
    -------
    The four files of each year; those of the sample only where there are no real ones.

    Raises
    ------
    InputError
        For an unknown name, two files of one table, or a year without one of its files.
    """
    index = _index(store)
    real = {name for name, facts in index.items() if not facts["sample"]}
    years: dict[int, dict[Table, RawFile]] = {}
    for name in sorted(real or index):
        recognised = files.recognise(name)
        if recognised is None:
            raise InputError(
                f"s3://{RAW}/{name}: the name is not that of a BAAC file.",
                "rename it like usagers-2021.csv, or delete it from the bucket.",
            )
        table, year = recognised
        if table in years.setdefault(year, {}):
            raise InputError(
                f"s3://{RAW}: {years[year][table].key} and {name} are both '{table}' of {year}.",
                "delete one of them from the bucket.",
            )
        years[year][table] = RawFile(name, **{f: index[name][f] for f in ("sha256", "sample", "size")})
    for year, tables in years.items():
        missing = [str(table) for table in Table if table not in tables]
        if missing:
            raise InputError(
                f"s3://{RAW}: year {year} has no file {', '.join(missing)}.",
                "add the missing file, or delete the others of that year.",
            )
    return dict(sorted(years.items()))


def read_raw(store: Store, file: RawFile) -> bytes:
    """Return a raw file, after checking that its SHA-256 is the one that the run started from."""
    content = store.read(RAW, file.key, files.MAX_BYTES)
    log.info("Read: %s/%s (%s).", RAW, file.key, megabytes(len(content)))
    if sha256(content) != file.sha256:
        raise StorageError(f"s3://{RAW}/{file.key} changed since the run started.", "trigger the DAG again.")
    return content


def _index(store: Store) -> dict[str, dict[str, Any]]:
    """Return size, ETag, SHA-256 and origin of each raw file; a file unknown to the index is read and hashed."""
    stored = (store.read_json(RAW, MANIFEST) or {}).get("files", {})
    objects = store.objects(RAW)
    index: dict[str, dict[str, Any]] = {}
    for name, listed in objects.items():
        if not name.lower().endswith((".csv", ".csv.gz")):
            continue
        if files.is_other_resource(name):
            log.info("s3://%s/%s is passed over: registrations cannot be joined to the four files.", RAW, name)
            continue
        stat = _stat(listed)
        facts = stored.get(name, {})
        if {key: facts.get(key) for key in stat} != stat:
            digest = sha256(store.read(RAW, name, files.MAX_BYTES))
            was_sample = facts.get("sample", False)
            facts = {**stat, "sha256": digest, "sample": GENERATED + digest in objects}
            if was_sample and not facts["sample"]:
                log.warning("s3://%s/%s is no longer the generated file: it counts as a real one.", RAW, name)
        index[name] = facts
    if index != stored:
        _write_index(store, index)
    return index


def _stat(facts: Facts) -> dict[str, Any]:
    return {"size": facts.size, "etag": facts.etag}


def _write_index(store: Store, index: Mapping[str, Any]) -> None:
    store.write(RAW, MANIFEST, json.dumps({"files": dict(index)}, indent=1).encode())
