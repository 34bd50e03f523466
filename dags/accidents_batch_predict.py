"""Predict the files of `accidents-incoming` with the promoted model, into `accidents-predictions`.

Put the four BAAC files of a year into the bucket, if you like in a folder of their own, and press Trigger. A newly
promoted model also starts this DAG. Files that this model has already predicted are not predicted again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from dags.common import DEFAULTS, PROMOTED_MODEL, mlflow_client, store
from include.accidents.pipeline.names import BATCH_PREDICT
from include.accidents.settings import Settings

Json = dict[str, Any]


@task(execution_timeout=timedelta(minutes=10))
def find_batches() -> list[Json]:
    """List the batches that are complete.

    - **Reads** the names in `accidents-incoming`.
    - **When it fails**, the S3 server cannot be reached: clear the task.
    """
    from include.accidents.pipeline import predict

    stored = store()
    stored.create_buckets()
    return [batch.to_json() for batch in predict.find_batches(stored)]


@task(map_index_template="{{ task.op_kwargs['batch']['name'] }}", execution_timeout=timedelta(hours=1))
def predict_batch(batch: Json) -> Json:
    """Predict how badly each person of a batch is hurt.

    - **Reads** the batch's four files and the promoted model.
    - **Writes** `predictions_{year}.csv` to `accidents-predictions`, and beside it a note of its files and its model.
    - **When it fails**, a file cannot be read (the message says where), or no model is in production.
    """
    from include.accidents.pipeline import predict
    from include.accidents.pipeline.contracts import Batch

    read = Batch.from_json(batch)
    return predict.predict_batch(store(), mlflow_client(), Settings().signing_secret(), read).to_json()


@dag(
    dag_id=BATCH_PREDICT,
    schedule=[PROMOTED_MODEL],
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=DEFAULTS,
    doc_md=__doc__,
    tags=["accidents", "mlops"],
)
def accidents_batch_predict() -> None:
    """Wire the tasks."""
    predict_batch.override(doc_md=predict_batch.function.__doc__).expand(batch=find_batches())


accidents_batch_predict()
