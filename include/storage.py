"""Where things are stored: S3 buckets under the versions of `include.accidents.versions`, and the raw files.

The only module of `include` that imports Airflow.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError

from include.accidents import files
from include.accidents.errors import InputError, StorageError
from include.accidents.schema import Table
from include.accidents.versions import (
    BUCKETS,
    INCOMING,
    MANIFEST,
    MODELS,
    PREDICTIONS,
    PREPROCESSED,
    RAW,
    TRAIN,
    Manifest,
    Versions,
    megabytes,
    sha256,
    sha256_of_file,
)

__all__ = [
    "BUCKETS",
    "INCOMING",
    "MODELS",
    "PREDICTIONS",
    "PREPROCESSED",
    "RAW",
    "TRAIN",
    "Manifest",
    "RawFile",
    "Store",
]

log = logging.getLogger(__name__)

GENERATED = "generated/"  # in the raw bucket: an object a generated file, named after its SHA-256


@dataclass(frozen=True)
class RawFile:
    """One CSV in the raw bucket."""

    key: str
    sha256: str
    sample: bool
    size: int = 0


class Store(Versions):
    """Reads and writes the pipeline's objects through an `S3Hook`."""

    def __init__(self, key: bytes, aws_conn_id: str = "minio") -> None:
        super().__init__(key)
        self.hook = S3Hook(aws_conn_id=aws_conn_id)

    def create_buckets(self) -> None:
        """Create the buckets that are absent; done once, by the first task, so that nothing races."""
        for bucket in BUCKETS:
            try:
                self.hook.get_conn().create_bucket(Bucket=bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    # --- objects

    def read(self, bucket: str, key: str, limit: int | None = None) -> bytes:
        """Return an object's content; StorageError when it is absent, InputError when it is larger than the limit."""
        try:
            found = self.hook.get_conn().get_object(Bucket=bucket, Key=key)
            if limit is not None:
                files.check_size(f"s3://{bucket}/{key}", found["ContentLength"], limit)
            return bytes(found["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket", "404"):
                raise StorageError(
                    f"s3://{bucket}/{key} does not exist.", "run the DAG from its first task."
                ) from error
            raise

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Write an object at once, replacing what is there."""
        self.hook.load_bytes(content, key, bucket, replace=True)

    def write_file(self, bucket: str, key: str, file: IO[bytes]) -> None:
        """Write an object from an open file, in parts where it is large."""
        self.hook.load_file_obj(file, key, bucket, replace=True)

    def temporary(self) -> IO[bytes]:
        """Return an empty file, gone once it is closed."""
        return tempfile.TemporaryFile()

    def etag(self, bucket: str, key: str) -> str | None:
        """Return an object's ETag; None when it is absent."""
        head = self.hook.head_object(key, bucket)
        return head["ETag"].strip('"') if head else None

    def keys(self, bucket: str, prefix: str = "") -> dict[str, str]:
        """Return when each object under a prefix was last written (ISO 8601), by key."""
        pages = self.hook.get_conn().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {e["Key"]: e["LastModified"].isoformat() for page in pages for e in page.get("Contents", [])}

    def versions(self, bucket: str) -> dict[str, str]:
        """Return when each version was last written to, completed or not, by name."""
        found: dict[str, str] = {}
        for key, written in self.keys(bucket, "versions/").items():
            name = key.split("/")[1]
            if name != "published":
                found[name] = max(written, found.get(name, ""))
        return found

    def remove_version(self, bucket: str, version: str) -> None:
        """Remove a version: its manifests first, so that no reader sees a part of it."""
        found = list(self.keys(bucket, f"versions/{version}/"))
        manifests = [key for key in found if key.endswith(f"/{MANIFEST}")]
        for keys in (manifests, [key for key in found if key not in manifests]):
            if keys:
                self.hook.delete_objects(bucket, keys)

    # --- raw files

    def upload_raw(self, folder: Path, *, sample: bool) -> list[str]:
        """Upload the CSVs of a folder that are not yet in the bucket with the same content.

        The folder is checked as a whole first. A sample is not uploaded where real files are.

        Returns
        -------
        Names of the files that were uploaded.
        """
        by_year = files.find(folder)
        known = self._raw_index()
        if sample and any(not f["sample"] for f in known.values()):
            log.warning("Real files are in %s: the sample of %s is left out.", RAW, folder)
            return []
        uploaded = []
        paths = sorted(path for tables in by_year.values() for path in tables.values())
        for k, path in enumerate(paths, start=1):
            digest = sha256_of_file(path)
            if known.get(path.name, {}).get("sha256") == digest:
                continue
            content = path.read_bytes()  # at once, lest a file that is being saved get the hash of another moment
            digest = sha256(content)
            log.info("Uploading file %d of %d: %s (%s).", k, len(paths), path.name, megabytes(len(content)))
            if sample:  # said first: an upload that breaks off never leaves a generated file that passes for a real one
                self.write(RAW, GENERATED + digest, path.name.encode())
            self.write(RAW, path.name, content)
            uploaded.append(path.name)
            known[path.name] = {**self._stat(path.name), "sha256": digest, "sample": sample}
            self._write_raw_index(known)
        return uploaded

    def raw_years(self) -> dict[int, dict[Table, RawFile]]:
        """Return the files of each year in the raw bucket, which is the truth; the sample only where it is alone.

        Raises
        ------
        InputError
            For an unknown name, two files for one table, or a year with a file missing.
        """
        index = self._raw_index()
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

    def read_raw(self, file: RawFile) -> bytes:
        """Return a raw file, once its SHA-256 was seen to be the one that the run started from."""
        content = self.read(RAW, file.key, files.MAX_BYTES)
        log.info("Read: %s/%s (%s).", RAW, file.key, megabytes(len(content)))
        if sha256(content) != file.sha256:
            raise StorageError(f"s3://{RAW}/{file.key} changed since the run started.", "trigger the DAG again.")
        return content

    def _raw_index(self) -> dict[str, dict[str, Any]]:
        """Return size, ETag, SHA-256 and origin of each raw file; what came another way is read and hashed."""
        stored = (self.read_json(RAW, MANIFEST) or {}).get("files", {})
        generated = self.keys(RAW, GENERATED)
        index: dict[str, dict[str, Any]] = {}
        for name, stat in self._raw_objects():
            facts = stored.get(name, {})
            if {key: facts.get(key) for key in stat} != stat:
                digest = sha256(self.read(RAW, name, files.MAX_BYTES))
                was_sample = facts.get("sample", False)
                facts = {**stat, "sha256": digest, "sample": GENERATED + digest in generated}
                if was_sample and not facts["sample"]:
                    log.warning("s3://%s/%s is no longer the generated file: it counts as a real one.", RAW, name)
            index[name] = facts
        if index != stored:
            self._write_raw_index(index)
        return index

    def _raw_objects(self) -> Iterable[tuple[str, dict[str, Any]]]:
        pages = self.hook.get_conn().get_paginator("list_objects_v2").paginate(Bucket=RAW)
        for page in pages:
            for entry in page.get("Contents", []):
                if entry["Key"].lower().endswith((".csv", ".csv.gz")):
                    yield entry["Key"], {"size": entry["Size"], "etag": entry["ETag"].strip('"')}

    def _stat(self, key: str) -> dict[str, Any]:
        head = self.hook.get_conn().head_object(Bucket=RAW, Key=key)
        return {"size": head["ContentLength"], "etag": head["ETag"].strip('"')}

    def _write_raw_index(self, index: Mapping[str, Any]) -> None:
        self.write(RAW, MANIFEST, json.dumps({"files": dict(index)}, indent=1).encode())
