from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAG_ID = "ml_accidents_pipeline_dag"


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> Any:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "false")
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(ROOT / "dags"))
    assert bag.import_errors == {}
    yield bag.dags[DAG_ID]
    monkeypatch.undo()


def test_the_graph_is_the_designs(dag: Any) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "load_csv_to_s3": {"prepare_data"},
        "prepare_data": {"clean_data"},
        "clean_data": {"search_params", "select_best_model"},
        "load_model_names": {"search_params", "select_best_model"},
        "search_params": {"train_model"},
        "train_model": {"log_model"},
        "log_model": {"reload_model"},
        "reload_model": {"select_best_model"},
        "select_best_model": {"reload_best_model"},
        "reload_best_model": set(),
    } | {"load_model_names": dag.get_task("load_model_names").downstream_task_ids}


def test_models_and_years_are_mapped_and_bear_their_names(dag: Any) -> None:
    assert dag.get_task("prepare_data").is_mapped
    assert dag.get_task("prepare_data").map_index_template == "{{ year }}"
    for task_id in ("search_params", "train_model", "log_model", "reload_model"):
        task = dag.get_task(task_id)
        assert task.map_index_template == "{{ model_name }}"
        assert task.get_closest_mapped_task_group() is not None


def test_the_selection_runs_whatever_became_of_the_models(dag: Any) -> None:
    assert dag.get_task("select_best_model").trigger_rule == "all_done_min_one_success"


def test_it_is_started_by_hand_one_run_at_a_time(dag: Any) -> None:
    assert dag.schedule is None
    assert dag.max_active_runs == 1
    assert dag.is_paused_upon_creation is False


def test_every_task_ends_in_time_and_retries_only_what_may_pass(dag: Any) -> None:
    from airflow.sdk import RetryAction

    from include.accidents.errors import InputError

    for task in dag.tasks:
        assert task.execution_timeout is not None, task.task_id
        assert task.retries == 3
        assert task.retry_policy.evaluate(InputError("a", "b"), 1, 3).action is RetryAction.FAIL
        assert task.retry_policy.evaluate(ConnectionError("a"), 1, 3).action is not RetryAction.FAIL


def test_parsing_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, airflow.sdk; before = set(sys.modules); import dags.ml_accidents_pipeline; "
        "print({'pandas', 'sklearn', 'mlflow', 'pyarrow', 'boto3'} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("set()")
