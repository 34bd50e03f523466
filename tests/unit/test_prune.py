"""What the upkeep would remove: by the rule, and never what production or its last three predecessors were made of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.accidents.pipeline import prune
from include.accidents.pipeline.contracts import Removal
from include.accidents.registry.names import BEST, ROLLED_BACK
from include.accidents.storage.buckets import MODELS, PREPROCESSED, TRAIN

RUNS = 8  # one a day; each was trained on data of its own, and promoted


def made(number: int) -> dict[str, str]:
    return {
        "model": "Tree", "run_id": f"run-{number}", "data_version": f"data-{number}", "features": "f", "sample": "false",
        "model_version": f"Tree-{number}", "airflow.dag_run_id": f"day-{number}",
    }  # fmt: skip


class Registry:
    """What upkeep asks of MLflow."""

    production = RUNS
    rolled_back: tuple[int, ...] = ()

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id="1")

    def search_runs(self, experiments: list[str], max_results: int, page_token: str | None) -> Any:
        class Page(list[Any]):
            token = None

        runs = {f"run-{n}": made(n) for n in range(RUNS, 0, -1)} | {"a person's": {"model": "Tree"}, "bare": {}}
        return Page(
            SimpleNamespace(info=SimpleNamespace(run_id=run_id), data=SimpleNamespace(tags=tags))
            for run_id, tags in runs.items()
        )

    def get_model_version_by_alias(self, name: str, alias: str) -> Any:
        return SimpleNamespace(version=self.production)

    def get_model_version(self, name: str, version: str) -> Any:
        return next(each for each in self.search_model_versions(f"name = '{name}'") if each.version == int(version))

    def search_model_versions(self, query: str) -> list[Any]:
        name = query.split("'")[1]
        left = {n: {ROLLED_BACK: "by hand"} for n in self.rolled_back}
        return [SimpleNamespace(name=name, version=n, tags=made(n) | left.get(n, {})) for n in range(1, RUNS + 1)]


class Objects:
    """The versions of each bucket, one of each kind a day; clean data is made of the year of its day."""

    def versions(self, bucket: str) -> dict[str, str]:
        kind = {MODELS: "Tree", TRAIN: "data", PREPROCESSED: "2021"}[bucket]
        return {f"{kind}-{n}": f"2026-01-{n:02}" for n in range(1, RUNS + 1)}

    def manifest(self, bucket: str, version: str) -> dict[str, Any]:
        return {"inputs": [f"2021-{version.rpartition('-')[2]}"]}


def planned(keep_last: int | None, production: int = RUNS, rolled_back: tuple[int, ...] = ()) -> Any:
    client = Registry()
    client.production, client.rolled_back = production, rolled_back
    return prune.plan(cast(Any, Objects()), cast(Any, client), keep_last)


def test_without_a_rule_everything_stays() -> None:
    assert planned(None) == Removal(versions={}, runs=[], registered=[])


@pytest.mark.parametrize(
    ("keep_last", "production", "rolled_back", "gone"),
    [
        pytest.param(1, 8, (), {1, 2, 3, 4}, id="production and three before it"),
        pytest.param(6, 8, (), {1, 2}, id="more by the rule"),
        pytest.param(1, 5, (6, 7, 8), {1, 6, 7}, id="after a rollback"),
        pytest.param(1, 8, (5, 6, 7), {1, 5, 6, 7}, id="what a rollback can lead to"),
        pytest.param(99, 8, (), set(), id="all by the rule"),
    ],
)
def test_what_production_and_its_predecessors_were_made_of_stays(
    keep_last: int, production: int, rolled_back: tuple[int, ...], gone: set[int]
) -> None:
    plan = planned(keep_last, production, rolled_back)
    assert plan.runs == [f"run-{n}" for n in sorted(gone)]
    assert plan.registered == [("Tree", str(n)) for n in sorted(gone)]
    assert plan.versions == {
        PREPROCESSED: [f"2021-{n}" for n in sorted(gone)],
        TRAIN: [f"data-{n}" for n in sorted(gone)],
        MODELS: [f"Tree-{n}" for n in sorted(gone)],
    }
    assert BEST not in str(plan)


def test_the_log_ends_with_what_stays_and_what_would_go(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    planned(1)
    assert caplog.messages[-1].splitlines()[1].split() == ["stay", "to", "remove"]
    assert [line.split()[-2:] for line in caplog.messages[-1].splitlines()[2:]] == [["4", "4"]] * 4
