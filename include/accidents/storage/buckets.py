"""The buckets: their names, and their creation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

RAW = "accidents-raw-csv"
PREPROCESSED = "accidents-preprocessed-csv"
TRAIN = "accidents-train-csv"
MODELS = "accidents-models"
INCOMING = "accidents-incoming"
PREDICTIONS = "accidents-predictions"
BUCKETS = (RAW, PREPROCESSED, TRAIN, MODELS, INCOMING, PREDICTIONS)


def create_buckets(s3: Any, names: Iterable[str]) -> None:
    """Create the buckets that are absent; `s3` is a boto3 client."""
    from botocore.exceptions import ClientError

    present = {each["Name"] for each in s3.list_buckets()["Buckets"]}
    for name in (name for name in names if name not in present):
        try:
            s3.create_bucket(Bucket=name)
        except ClientError as error:  # another process was faster
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise
