"""Each container of the stack killed once while the DAG runs (`make test-faults-compose`; not in `make test-compose`)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.compose.conftest import write_catalogue
from tests.compose.running import SERVICES, Compose, docker

#: How long a service is away. Docker takes a killed container for one that somebody stopped, and leaves it alone.
AWAY_SECONDS = 15
#: What the log of a failed task may name instead when this service was away: whoever could not do without it.
NAMES = {
    "postgres": ("postgres", "airflow-api-server", "mlflow"),
    "nginx": ("api",),
    "redis": ("redis", "worker"),
    "airflow-scheduler": ("scheduler",),
}
HEADER = "| killed | the run | after the kill | tried again | failed |\n|---|---|---|---|---|"


@pytest.fixture(scope="module", autouse=True)
def _two_models(stack: Compose, first: str) -> None:
    """Shorter runs: one model a worker."""
    write_catalogue(stack.folder / "catalogue" / "models.json", leaves=(5, 10))


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """What became of each run, shown at the end as a table."""
    rows: list[str] = []
    yield rows
    print("\n".join(["", HEADER, *rows]))  # noqa: T201


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_run_outlives_the_loss_of_a_container(
    stack: Compose, service: str, table: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    stored, version = stack.objects(), int(stack.production())
    run_id = stack.airflow().trigger({"force": True})
    wait_for_training(stack, run_id)
    victim = stack.containers(service)[0]["Id"]
    docker("kill", victim)
    begun = time.monotonic()
    time.sleep(AWAY_SECONDS)
    docker("start", victim)
    wait_for_health(stack, victim)
    state = stack.wait_for_run(run_id, 600)
    seconds = time.monotonic() - begun
    instances = stack.airflow().task_instances(run_id)
    again = sorted({each.task_id for each in instances if each.try_number > 1})
    failures = stack.failures(run_id)
    row = f"| `{service}` | {state} | {seconds:.0f} s | {', '.join(again) or '-'} | {', '.join(failures) or '-'} |"
    table.append(row)
    with capfd.disabled():
        print(row, flush=True)  # noqa: T201
    for task, log in failures.items():
        assert any(name in log.lower() for name in NAMES.get(service, (service,))), (task, log[-3000:])
    assert state == "success" or failures, instances
    assert stored.keys() <= stack.objects().keys()
    assert int(stack.production()) >= version
    after = stack.run_dag()
    assert {each.state for each in stack.airflow().task_instances(after)} == {"success"}
    assert int(stack.production()) >= version


def wait_for_training(stack: Compose, run_id: str) -> None:
    airflow, deadline = stack.airflow(), time.monotonic() + 180
    while not any(
        each.task_id in ("search_params", "train_model") and each.state == "running"
        for each in airflow.task_instances(run_id)
    ):
        assert time.monotonic() < deadline, "no model is trained"
        time.sleep(0.5)


def wait_for_health(stack: Compose, container: str) -> None:
    deadline = time.monotonic() + 180
    while docker("inspect", "--format", "{{.State.Health.Status}}", container).strip() != "healthy":
        assert time.monotonic() < deadline, docker("logs", "--tail", "20", container)
        time.sleep(1)


def test_all_is_well_afterwards(stack: Compose) -> None:
    for service in SERVICES:
        for container in stack.containers(service):
            assert container["State"]["Health"]["Status"] == "healthy", service
    answer = httpx.get(f"{stack.clients['ACCIDENTS_API_URL']}/ready", timeout=10)
    assert answer.is_success, answer.text
