"""Creates the stack's buckets, saves them to a tar stream, and restores them from one. Runs in a container.

`python -m ops.compose.buckets create | save >FILE | restore <FILE`; address and keys come from the usual `AWS_…`
variables.
"""

from __future__ import annotations

import sys
import tarfile
from types import SimpleNamespace
from typing import Any, BinaryIO, Final

import boto3
from botocore.config import Config

from include.accidents.storage.buckets import BUCKETS, create_buckets

#: MLflow's artifacts, and the logs of Airflow's tasks.
OTHERS: Final = ("mlflow", "airflow-logs")


def save(s3: Any, stream: BinaryIO) -> int:
    """Write every object of every bucket as a file `bucket/key`. Returns how many."""
    count = 0
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for bucket in _buckets(s3):
            folder = tarfile.TarInfo(bucket)
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            for key in _keys(s3, bucket):
                response = s3.get_object(Bucket=bucket, Key=key)
                entry = tarfile.TarInfo(f"{bucket}/{key}")
                entry.size, entry.mtime = response["ContentLength"], int(response["LastModified"].timestamp())
                archive.addfile(entry, response["Body"])
                count += 1
    return count


def restore(s3: Any, stream: BinaryIO) -> int:
    """Write the objects that `save` wrote, then delete all others. Returns the number of objects written."""
    kept: dict[str, set[str]] = {bucket: set() for bucket in _buckets(s3)}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for entry in archive:
            bucket, _, key = entry.name.partition("/")
            file = archive.extractfile(entry)
            if file is None:  # a folder
                create_buckets(s3, [bucket])
                kept.setdefault(bucket, set())
            else:
                # With `read` alone: the file of a tar stream claims to be seekable, but fails to seek.
                s3.upload_fileobj(SimpleNamespace(read=file.read), bucket, key)
                kept[bucket].add(key)
    for bucket, keys in kept.items():
        for key in set(_keys(s3, bucket)) - keys:
            s3.delete_object(Bucket=bucket, Key=key)
    return sum(map(len, kept.values()))


def _buckets(s3: Any) -> list[str]:
    return sorted(each["Name"] for each in s3.list_buckets()["Buckets"])


def _keys(s3: Any, bucket: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [each["Key"] for page in pages for each in page.get("Contents", [])]


def main() -> None:
    """Run the command of the command line."""
    s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
    match sys.argv[1:]:
        case ["create"]:
            create_buckets(s3, (*BUCKETS, *OTHERS))
        case ["save"]:
            sys.stderr.write(f"{save(s3, sys.stdout.buffer)} objects saved.\n")
        case ["restore"]:
            sys.stderr.write(f"{restore(s3, sys.stdin.buffer)} objects restored.\n")
        case _:
            raise SystemExit("usage: python -m ops.compose.buckets create|save|restore")


if __name__ == "__main__":
    main()
