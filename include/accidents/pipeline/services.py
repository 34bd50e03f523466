"""Calls of the pipeline to the API."""

from __future__ import annotations

import logging
from typing import Any

import httpx

from include.accidents.errors import ModelError
from include.accidents.reporting.texts import text_table

log = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(120, connect=5)  # a reload fetches and warms up the model before it answers


def reload_model(url: str, key: str, model: str, version: str) -> dict[str, str]:
    """Ask the API to load the newest version of a model; ModelError unless it then serves `version`."""
    answer = httpx.post(f"{url}/api/v1/reload_model/{model}", headers={"X-Api-Key": key}, timeout=TIMEOUT)
    if answer.status_code in (401, 403):
        raise ModelError("The API refuses the key of connection 'api'.", "give both the same ACCIDENTS_API_KEY.")
    if answer.status_code in (409, 422):
        raise ModelError(f"The API did not load {model}: {_json(answer).get('detail')}", "see the API's log.")
    answer.raise_for_status()
    reloaded: dict[str, str] = _json(answer)
    if reloaded.get("version") != version:
        raise ModelError(
            f"The API serves {model} version {reloaded.get('version')}, but this run registered {version}.",
            "see that the API and Airflow use the same MLflow; then clear this task.",
        )
    rows = [("model", model), ("version", version), ("version before", str(reloaded.get("previous_version") or "none"))]
    log.info("The API at %s serves it:\n%s", url, text_table(("", ""), rows))
    return reloaded


def _json(answer: httpx.Response) -> dict[str, Any]:
    """Return an answer's JSON; a TransportError, which is tried again, when a restarting service sends none."""
    try:
        return dict(answer.json())
    except ValueError as error:
        raise httpx.RemoteProtocolError(f"{answer.request.url} sent an answer that is not JSON ({error}).") from error
