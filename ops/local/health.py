"""Checks whether a service is ready: each returns None when it is, else what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from include.accidents.pipeline.names import PIPELINE
from include.accidents.storage.buckets import BUCKETS, create_buckets
from ops.airflow_api import Airflow, AirflowError
from ops.local.environment import ARTIFACTS

#: A check of readiness.
Check = Callable[[], str | None]


def s3(env: Mapping[str, str]) -> Check:
    """Check that the S3 server lists its buckets for our keys, and create those that are absent."""
    client = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_DEFAULT_REGION"],
        config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}, proxies={}),
    )

    def check() -> str | None:
        try:
            create_buckets(client, (*BUCKETS, ARTIFACTS))
        except (BotoCoreError, ClientError) as error:
            return f"no answer yet ({type(error).__name__})"
        return None

    return check


def http(url: str) -> Check:
    """Check that a page answers with success."""
    return lambda: _answer(url)


def api(url: str) -> Check:
    """Check that the API answers, and has loaded the registry's models."""

    def check() -> str | None:
        try:
            response = httpx.get(f"{url}/ready", timeout=5, trust_env=False)
            starts = not response.is_success and response.json().get("title") == "Starting"
        except (httpx.HTTPError, ValueError):
            return "no answer yet"
        return "loads its models" if starts else None

    return check


def airflow_part(airflow: Airflow, part: str, since: Callable[[], int]) -> Check:
    """Check that a part of Airflow (`scheduler`, `dag_processor`) has sent a heartbeat.

    Parameters
    ----------
    airflow
        Client of the api-server.
    part
        Name in the api-server's report.
    since
        Start of the process, in seconds since the epoch: older heartbeats are those of its predecessor.

    Returns
    -------
    A check that returns what is missing, or None.
    """

    def check() -> str | None:
        try:
            report = airflow.health()[part]
        except httpx.HTTPError:
            return "waits for the api-server"
        beat = report[f"latest_{part}_heartbeat"]
        fresh = beat is not None and datetime.fromisoformat(beat).timestamp() >= since()
        return None if fresh and report["status"] == "healthy" else "no sign of life yet"

    return check


def dag(airflow: Airflow, since: Callable[[], float]) -> Check:
    """Check that Airflow has read the DAG since the start of its dag-processor (seconds since the epoch).

    Returns
    -------
    A check that returns what is missing, or None. It raises AirflowError if a file of the dags folder does not load.
    Errors from before the start do not count: the file may have been corrected while the stack was down.
    """

    def check() -> str | None:
        try:
            if error := airflow.import_error(since()):
                raise AirflowError(
                    f"A DAG does not load: {error}.", "correct that file; Airflow reads it again by itself."
                )
            entry = airflow.dag()
        except httpx.HTTPError:
            return "waits for the api-server"
        parsed = entry and not entry["is_stale"] and datetime.fromisoformat(entry["last_parsed_time"]).timestamp()
        return None if parsed and parsed >= since() else f"{PIPELINE} not read yet"

    return check


def both(*checks: Check) -> Check:
    """Check one thing after the other."""
    return lambda: next((missing for check in checks if (missing := check())), None)


def _answer(url: str) -> str | None:
    try:
        response = httpx.get(url, timeout=5, trust_env=False)
    except httpx.HTTPError:
        return "no answer yet"
    return None if response.is_success else f"answers {response.status_code}"
