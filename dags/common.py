"""What the DAGs share: retries, notifications, assets, and the addresses of the services."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any, Final

from airflow.sdk import (
    Asset,
    AssetAlias,
    BaseHook,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
)
from airflow.sdk.exceptions import AirflowTaskTimeout

from include.accidents.errors import AccidentsError
from include.accidents.settings import Settings

log = logging.getLogger(__name__)

# `x-`: for an address that begins with s3:// Airflow imports boto3 when it reads the DAG's file.
CLEAN_DATA = Asset("accidents_clean_data", uri="x-s3://accidents-train-csv/X_train_test.csv", group="accidents")
PROMOTED_MODEL = Asset("accidents_promoted_model", uri="x-mlflow://models/BestModel/production", group="accidents")
# The alias becomes the asset only when a run promotes a model; another run triggers no DAG.
PROMOTION = AssetAlias("accidents_promotion", group="accidents")

# Optional connections: create one of them to be notified of failures.
SMTP: Final = "accidents_smtp"
WEBHOOK: Final = "accidents_webhook"


def url(connection_id: str) -> str:
    """Return the address of a service, from its connection."""
    connection = BaseHook.get_connection(connection_id)
    return f"{connection.schema or 'http'}://{connection.host}:{connection.port}"


def mlflow_client() -> Any:
    """Return a client of MLflow, and let MLflow's own functions use the same server and login."""
    import mlflow

    connection = BaseHook.get_connection("mlflow")
    # A connection that hangs fails after minutes instead of a quarter of an hour; then the task is tried again.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    mlflow.set_tracking_uri(url("mlflow"))
    # MLflow reads the login from these variables only.
    os.environ["MLFLOW_TRACKING_USERNAME"] = connection.login or ""
    os.environ["MLFLOW_TRACKING_PASSWORD"] = connection.password or ""
    return mlflow.MlflowClient()


def store() -> Any:
    """Return the store of the pipeline's objects."""
    from include.accidents.storage.s3 import S3Store

    return S3Store(Settings().signing_secret(), Settings().cache_dir)


def notify_failure(context: Any) -> None:
    """Report a failed task by mail and by webhook, where there is a connection for it; called by Airflow.

    `accidents_smtp`: its extra holds `to` and `from_email`. `accidents_webhook`: its host is the address; its
    password, if any, is sent as a bearer token.
    """
    from airflow.sdk.exceptions import AirflowNotFoundException

    instance = context["ti"]
    message = {
        "dag": instance.dag_id,
        "run": instance.run_id,
        "task": instance.task_id,
        "instance": getattr(instance, "rendered_map_index", None),
        "reason": str(context.get("exception"))[:1000],
        "log": instance.log_url,
    }
    for connection_id, send in ((SMTP, _mail), (WEBHOOK, _post)):
        try:
            connection = BaseHook.get_connection(connection_id)
        except AirflowNotFoundException:
            continue
        try:
            send(connection, message, context)
        except Exception as error:  # a notification that fails is reported, and changes nothing
            log.warning("The notification by %s failed (%s: %s).", connection_id, type(error).__name__, error)


def _mail(connection: Any, message: dict[str, Any], context: Any) -> None:
    from html import escape

    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    rows = "".join(
        f"<tr><th align=left>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in message.items()
    )
    SmtpNotifier(
        smtp_conn_id=SMTP,
        to=connection.extra_dejson["to"],
        from_email=connection.extra_dejson.get("from_email"),
        subject=f"{message['dag']}: {message['task']} failed",
        html_content=f"<table>{rows}</table>",
    ).notify(context)


def _post(connection: Any, message: dict[str, Any], context: Any) -> None:
    from airflow.providers.http.notifications.http import HttpNotifier

    headers = {"Authorization": f"Bearer {connection.password}"} if connection.password else {}
    HttpNotifier(http_conn_id=WEBHOOK, json=message, headers=headers).notify(context)


DEFAULTS: Final[dict[str, Any]] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=2),
    # Bad input stays bad, and a task that used up its time would do so again. Only failures that may pass (network,
    # services) are tried again.
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(
                exception=[AccidentsError, ValueError, TypeError, ArithmeticError, AirflowTaskTimeout],
                action=RetryAction.FAIL,
            )
        ]
    ),
    "on_failure_callback": notify_failure,
    # The most advanced task goes first: a model is trained, evaluated and served before the next one begins.
    "weight_rule": "upstream",
    # A log ends with a summary for people, not with the JSON that goes to the next task.
    "show_return_value_in_logs": False,
}
"""Default arguments of every DAG of the project."""
