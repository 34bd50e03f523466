"""A client of Airflow's REST API with the calls that the commands need; for any Airflow 3."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from graphlib import TopologicalSorter
from typing import Any, Final, cast

import httpx

from include.accidents.errors import AccidentsError
from include.accidents.pipeline.names import PIPELINE
from ops.airflow_settings import AirflowSettings

PAGE: Final = 1000
TRIES: Final = 4


class AirflowError(AccidentsError):
    """Airflow refuses a request."""


@dataclass(frozen=True)
class TaskInstance:
    """One instance of a task in a run; `map_index` is -1 where the task is not mapped."""

    task_id: str
    map_index: int
    label: str | None
    state: str
    try_number: int
    started: datetime | None
    ended: datetime | None

    def seconds(self, now: datetime) -> float | None:
        """Return the seconds from its start to its end, or until now; None before its start."""
        return ((self.ended or now) - self.started).total_seconds() if self.started else None


@dataclass(frozen=True)
class Graph:
    """Task ids in the order in which they run, and the direct predecessors of each."""

    order: tuple[str, ...]
    upstream: Mapping[str, frozenset[str]]


class Airflow:
    """A client with a login.

    Parameters
    ----------
    url
        Address of the api-server.
    user, password
        The login; a token is fetched when the first request needs it.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._login = {"username": user, "password": password}
        self._http = httpx.Client(base_url=url, timeout=10, trust_env=False)
        self._token = ""

    def health(self) -> dict[str, Any]:
        """Return the health of Airflow's parts; needs no login."""
        response = self._http.get("/api/v2/monitor/health")
        response.raise_for_status()
        return cast(dict[str, Any], response.json())

    def apply(self, settings: AirflowSettings) -> None:
        """Create the connections, pools and variables of the settings, or update them."""
        kinds = {
            "connections": [{"connection_id": name, **each} for name, each in settings.connections.items()],
            "pools": [{"name": name, **each} for name, each in settings.pools.items()],
            "variables": [{"key": name, "value": value} for name, value in settings.variables.items()],
        }
        for kind, entities in kinds.items():
            if entities:
                self._create(kind, entities)

    def import_error(self, since: float) -> str | None:
        """Return a file of the dags folder that did not load since `since` (epoch seconds), with its error; or None."""
        listed = self._get("/api/v2/importErrors")["import_errors"]
        errors = [each for each in listed if datetime.fromisoformat(each["timestamp"]).timestamp() >= since]
        if not errors:
            return None
        return f"{errors[0]['filename']}: {errors[0]['stack_trace'].strip().splitlines()[-1]}"

    def dag(self) -> dict[str, Any] | None:
        """Return Airflow's description of the DAG; None while Airflow does not know it."""
        response = self._request("GET", f"/api/v2/dags/{PIPELINE}")
        return (
            None if response.status_code == httpx.codes.NOT_FOUND else cast(dict[str, Any], _checked(response).json())
        )

    def graph(self) -> Graph:
        """Read the order of the DAG's tasks."""
        tasks = self._get(f"/api/v2/dags/{PIPELINE}/tasks")["tasks"]
        upstream: dict[str, set[str]] = {each["task_id"]: set() for each in tasks}
        for each in tasks:
            for follower in each["downstream_task_ids"]:
                upstream[follower].add(each["task_id"])
        order = tuple(TopologicalSorter(upstream).static_order())
        return Graph(order, {name: frozenset(each) for name, each in upstream.items()})

    def trigger(self, conf: Mapping[str, Any]) -> str:
        """Start a run, as the button of the page does.

        On SQLite, Airflow answers some of several simultaneous triggers with an error, after 5 s; these are tried
        again. The run's id is chosen here, so that no run is started twice.

        Returns
        -------
        The run's id.

        Raises
        ------
        AirflowError
            If the DAG does not know a value, or refuses it.
        TimeoutException
            If Airflow does not answer any try.
        """  # noqa: DOC501  (the AssertionError is never raised)
        known = self._get(f"/api/v2/dags/{PIPELINE}/details")["params"]
        for name in conf:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise AirflowError(f"The trigger form has no {name!r}{hint}.", f"name {', '.join(known)}.")
        run_id = f"manual__{datetime.now(UTC).isoformat()}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        for tries_left in reversed(range(TRIES)):
            try:
                response = self._request("POST", f"/api/v2/dags/{PIPELINE}/dagRuns", json=body)
            except httpx.TimeoutException:
                if not tries_left:
                    raise
                continue
            if response.status_code == httpx.codes.CONFLICT and tries_left < TRIES - 1:
                return run_id  # the previous try succeeded
            if response.is_server_error and tries_left:
                time.sleep(1)
                continue
            if response.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY):
                refused = str(response.json().get("detail")).strip().partition("\n")[0]
                raise AirflowError(f"Airflow refuses the run: {refused}.", "see the trigger form for what is allowed.")
            return str(_checked(response).json()["dag_run_id"])
        raise AssertionError("the last try returns or raises")

    def run(self, run_id: str) -> dict[str, Any]:
        """Return Airflow's description of a run."""
        return self._get(f"/api/v2/dags/{PIPELINE}/dagRuns/{run_id}")

    def task_instances(self, run_id: str) -> list[TaskInstance]:
        """List the instances of all tasks of a run, including the mapped ones that exist so far."""
        instances: list[TaskInstance] = []
        while True:
            page = self._get(
                f"/api/v2/dags/{PIPELINE}/dagRuns/{run_id}/taskInstances",
                params={"limit": PAGE, "offset": len(instances)},
            )
            instances += [_task_instance(each) for each in page["task_instances"]]
            if len(instances) >= page["total_entries"] or not page["task_instances"]:
                return instances

    def log(self, run_id: str, instance: TaskInstance) -> list[dict[str, Any]]:
        """Read the log of an instance's last try, one entry for each message."""
        tasks = f"/api/v2/dags/{PIPELINE}/dagRuns/{run_id}/taskInstances"
        path = f"{tasks}/{instance.task_id}/logs/{instance.try_number}"
        params = {"map_index": instance.map_index, "full_content": True}
        content = self._get(path, params=params)["content"]
        return [each if isinstance(each, dict) else {"event": str(each)} for each in content]

    def write_note(self, run_id: str, note: str) -> None:
        """Write the note of a run, 1,000 characters at most."""
        _checked(self._request("PATCH", f"/api/v2/dags/{PIPELINE}/dagRuns/{run_id}", json={"note": note}))

    def _create(self, kind: str, entities: list[dict[str, Any]]) -> None:
        action = {"action": "create", "entities": entities, "action_on_existence": "overwrite"}
        answer = _checked(self._request("PATCH", f"/api/v2/{kind}", json={"actions": [action]})).json()
        if errors := (answer.get("create") or {}).get("errors"):
            raise AirflowError(
                f"Airflow refuses {kind}: {errors[0].get('error', errors[0])}.", "correct airflow_settings.yaml."
            )

    def _get(self, path: str, params: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        return cast(dict[str, Any], _checked(self._request("GET", path, params=params)).json())

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request with the token; with a new one if the old one has expired."""
        response = self._send(method, path, **arguments) if self._token else None
        if response is None or response.status_code == httpx.codes.UNAUTHORIZED:
            answer = self._http.post("/auth/token", json=self._login)
            self._token = _checked(answer).json()["access_token"]
            response = self._send(method, path, **arguments)
        return response

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        return self._http.request(method, path, headers=headers, **arguments)


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    if response.is_server_error:
        response.raise_for_status()
    try:
        detail = response.json().get("detail", response.text)
    except ValueError:
        detail = response.text
    raise AirflowError(
        f"Airflow answers {response.status_code} to {response.request.method} {response.url.path}: {detail}.",
        "see `make logs SERVICE=airflow-api-server`.",
    )


def _task_instance(answer: Mapping[str, Any]) -> TaskInstance:
    return TaskInstance(
        task_id=answer["task_id"],
        map_index=answer["map_index"],
        label=answer["rendered_map_index"],
        state=answer["state"] or "none",
        try_number=answer["try_number"],
        started=_time(answer["start_date"]),
        ended=_time(answer["end_date"]),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
