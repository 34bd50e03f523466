"""Each container of the stack killed once while the DAG runs (`make test-faults`; not part of `make test-compose`)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.compose.conftest import Compose, docker, up
from tests.compose.test_compose import SERVICES, connect, objects, production, run_dag, wait_for_run

#: What a failed task must name when this service was away.
NAMES = {"postgres": ("postgres", "airflow-api-server", "mlflow"), "nginx": ("api",)}


@pytest.fixture(scope="module")
def quick(stack: Compose) -> Iterator[Compose]:
    """The stack, which soon notices a task that has died."""
    stack.set(AIRFLOW_HEARTBEAT_TIMEOUT="30", ACCIDENTS_WORKERS="2", ACCIDENTS_API_REPLICAS="2")
    up(stack)
    run_dag(stack)
    yield stack


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_run_outlives_the_loss_of_a_container(quick: Compose, service: str) -> None:
    stored, airflow = objects(quick), connect(quick)
    run_id = airflow.trigger({"force": True})
    deadline = time.monotonic() + 120
    while not any(
        each.task_id == "search_params" and each.state == "running" for each in airflow.task_instances(run_id)
    ):
        assert time.monotonic() < deadline, "no model is searched"
        time.sleep(0.5)
    victim = quick.containers(service)[0]["Id"]
    docker("kill", victim)
    time.sleep(5)
    docker("start", victim)
    up(quick)
    airflow = connect(quick)
    state = wait_for_run(airflow, run_id, 480)
    failed = [each for each in airflow.task_instances(run_id) if each.state == "failed"]
    for each in failed:
        log = " ".join(str(entry) for entry in airflow.log(run_id, each)).lower()
        assert any(name in log for name in NAMES.get(service, (service,))), (each, log[-2000:])
    assert state == "success" or failed
    assert stored.keys() <= objects(quick).keys()
    before = production(quick)
    run_dag(quick)
    assert int(production(quick)) >= int(before)
