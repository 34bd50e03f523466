"""Buttons on a task's page in Airflow: its run in MLflow, its object in the bucket, its model in the API.

A link is made when the page is opened, from what the task returned: XCom holds no secret. Where the browser needs
another address of a service than the tasks (in containers), ACCIDENTS_PUBLIC_…_URL gives it.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

from include.accidents.pipeline.names import PIPELINE
from include.accidents.settings import Settings

Json = dict[str, Any]
# The object that a task stored: bucket and key, filled in from what the task returned.
OBJECTS: dict[str, tuple[str, str]] = {
    "prepare_data": ("accidents-preprocessed-csv", "versions/{version}/manifest.json"),
    "clean_data": ("accidents-train-csv", "versions/{version}/manifest.json"),
    "search_params": ("accidents-models", "versions/{version}/search/manifest.json"),
    "train_model": ("accidents-models", "versions/{version}/manifest.json"),
}
LINK_SECONDS = 3600


class MlflowRun(BaseOperatorLink):
    """The model's run in MLflow, or the promoted version."""

    name = "MLflow"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address; empty for a task that has none."""
        returned = _returned(ti_key)
        base = Settings().public_mlflow_url
        if "run_id" in returned:
            return f"{base or _address('mlflow')}/#/runs/{quote(returned['run_id'])}"
        if version := returned.get("production_version"):
            return f"{base or _address('mlflow')}/#/models/BestModel/versions/{quote(version)}"
        return ""


class BucketObject(BaseOperatorLink):
    """The object that the task stored, at an address signed for an hour."""

    name = "Object in the bucket"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address; empty for a task that stored nothing."""
        returned = _returned(ti_key)
        if ti_key.task_id not in OBJECTS or "version" not in returned:
            return ""
        bucket, key = OBJECTS[ti_key.task_id]
        return _signed(bucket, key.format(**returned))


class ServedModel(BaseOperatorLink):
    """The models that the API serves now."""

    name = "Model in the API"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address; empty for a task that does not reload a model."""
        if ti_key.task_id not in ("reload_model", "reload_best_model") or not (returned := _returned(ti_key)):
            return ""
        return f"{Settings().public_api_url or _address('api')}/?model={quote(returned['model'])}"


class AccidentsLinks(AirflowPlugin):
    """Registers the buttons."""

    name = "accidents_links"
    global_operator_extra_links = [MlflowRun(), BucketObject(), ServedModel()]  # noqa: RUF012 (Airflow's interface)


def _returned(ti_key: Any) -> Json:
    """Return what the task instance returned, from Airflow's database; empty for tasks of other DAGs."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    if ti_key.dag_id != PIPELINE:
        return {}
    query = XComModel.get_many(
        key="return_value",
        run_id=ti_key.run_id,
        dag_ids=ti_key.dag_id,
        task_ids=ti_key.task_id,
        map_indexes=ti_key.map_index,
    )
    with create_session() as session:
        value = session.scalar(query.with_only_columns(XComModel.value))
    returned = json.loads(value) if isinstance(value, str) else value
    return returned if isinstance(returned, dict) else {}


def _connection(connection_id: str) -> Any:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return session.scalar(select(Connection).where(Connection.conn_id == connection_id))


def _address(connection_id: str) -> str:
    connection = _connection(connection_id)
    return f"{connection.schema or 'http'}://{connection.host}:{connection.port}" if connection else ""


def _signed(bucket: str, key: str) -> str:
    import boto3
    from botocore.config import Config

    connection = _connection("minio")
    if not connection:
        return ""
    client = boto3.client(
        "s3",
        endpoint_url=Settings().public_s3_url or connection.extra_dejson.get("endpoint_url"),
        region_name=connection.extra_dejson.get("region_name"),
        aws_access_key_id=connection.login,
        aws_secret_access_key=connection.password,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    params = {"Bucket": bucket, "Key": key}
    return str(client.generate_presigned_url("get_object", Params=params, ExpiresIn=LINK_SECONDS))
