"""Objects in S3, through Airflow's hook.

The only module of the domain that imports Airflow.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError

from include.accidents.data import files
from include.accidents.errors import StorageError
from include.accidents.storage.buckets import BUCKETS, create_buckets
from include.accidents.storage.versions import Facts, Store

DELETED_AT_A_TIME = 1000  # S3's limit


class S3Store(Store):
    """Reads and writes objects through an `S3Hook`."""

    def __init__(self, key: bytes, cache: Path | None = None, aws_conn_id: str = "minio") -> None:
        super().__init__(key, cache)
        self.hook = S3Hook(aws_conn_id=aws_conn_id)

    def _client(self) -> Any:
        return self.hook.get_conn()

    def create_buckets(self) -> None:
        """Create the buckets that are absent; done once, before the tasks that need them."""
        create_buckets(self._client(), BUCKETS)

    def read(self, bucket: str, key: str, limit: int | None = None) -> bytes:
        """Return an object's content; StorageError when it is absent, InputError when it is larger than the limit."""
        try:
            response = self._client().get_object(Bucket=bucket, Key=key)
            if limit is not None:
                files.check_size(f"s3://{bucket}/{key}", response["ContentLength"], limit)
            return bytes(response["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket", "404"):
                raise StorageError(
                    f"s3://{bucket}/{key} does not exist.", "run the DAG from its first task."
                ) from error
            raise

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Write an object in one request; an existing one is replaced."""
        self.hook.load_bytes(content, key, bucket, replace=True)

    def write_file(self, bucket: str, key: str, file: IO[bytes]) -> None:
        """Write an object from an open file, in parts where it is large."""
        self.hook.load_file_obj(file, key, bucket, replace=True)

    def temporary(self) -> IO[bytes]:
        """Return an empty file; it is deleted when it is closed."""
        return tempfile.TemporaryFile()

    def etag(self, bucket: str, key: str) -> str | None:
        """Return the object's ETag; None when it is absent."""
        head = self.hook.head_object(key, bucket)
        return head["ETag"].strip('"') if head else None

    def objects(self, bucket: str, prefix: str = "") -> dict[str, Facts]:
        """Return the objects under a prefix, by key."""
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {
            entry["Key"]: Facts(entry["Size"], entry["ETag"].strip('"'), entry["LastModified"].isoformat())
            for page in pages
            for entry in page.get("Contents", [])
        }

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete objects; absent ones are skipped."""
        for start in range(0, len(keys), DELETED_AT_A_TIME):
            self.hook.delete_objects(bucket, list(keys[start : start + DELETED_AT_A_TIME]))
