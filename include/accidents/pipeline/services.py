"""Calls of the pipeline to the services beside it: the API's reload and Airflow's own note of a run."""

from __future__ import annotations

import logging
from typing import Any

import httpx

from include.accidents.errors import ModelError
from include.accidents.reporting.texts import text_table

log = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(120, connect=5)  # a reload fetches and warms up the model before it answers


def reload_model(url: str, key: str, model: str, version: str) -> dict[str, str]:
    """Tell the API to load the newest version of a model; ModelError unless it then serves `version`."""
    answer = httpx.post(f"{url}/api/v1/reload_model/{model}", headers={"X-Api-Key": key}, timeout=TIMEOUT)
    if answer.status_code in (401, 403):
        raise ModelError("The API refuses the key of connection 'api'.", "give both the same ACCIDENTS_API_KEY.")
    if answer.status_code in (409, 422):
        raise ModelError(f"The API did not load {model}: {_json(answer).get('detail')}", "see the API's log.")
    answer.raise_for_status()
    told: dict[str, str] = _json(answer)
    if told.get("version") != version:
        raise ModelError(
            f"The API serves {model} version {told.get('version')}, but this run registered {version}.",
            "see that the API and Airflow use the same MLflow; then clear this task.",
        )
    rows = [("model", model), ("version", version), ("version before", str(told.get("previous_version") or "none"))]
    log.info("The API at %s serves it:\n%s", url, text_table(("", ""), rows))
    return told


def write_note(url: str, user: str, password: str, dag_id: str, run_id: str, note: str) -> None:
    """Write the note of a DAG run (1,000 characters at most) by Airflow's REST API."""
    with httpx.Client(base_url=url, timeout=30) as client:
        token = client.post("/auth/token", json={"username": user, "password": password})
        token.raise_for_status()
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        headers = {"Authorization": f"Bearer {_json(token)['access_token']}"}
        client.patch(path, json={"note": note}, headers=headers).raise_for_status()


def _json(answer: httpx.Response) -> dict[str, Any]:
    """Return an answer's JSON; a TransportError, which is tried again, where a service that restarts sends none."""
    try:
        return dict(answer.json())
    except ValueError as error:
        raise httpx.RemoteProtocolError(f"{answer.request.url} answered what is no JSON ({error}).") from error
