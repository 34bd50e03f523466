from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAG_ID = "ml_accidents_pipeline_dag"


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Any:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "false")
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(ROOT / "dags"))
    assert bag.import_errors == {}
    yield bag.dags
    monkeypatch.undo()


@pytest.fixture(scope="module")
def dag(dags: Any) -> Any:
    return dags[DAG_ID]


def test_the_small_dags_are_what_they_say(dags: Any) -> None:
    assert set(dags) == {DAG_ID, "accidents_batch_predict_dag", "accidents_prune_dag"}
    batch, prune = dags["accidents_batch_predict_dag"], dags["accidents_prune_dag"]
    assert batch.get_task("find_batches").downstream_task_ids == {"predict_batch"}
    assert batch.get_task("predict_batch").is_mapped
    assert prune.get_task("plan_removal").downstream_task_ids == {"remove_planned"}
    assert (prune.params["keep_last"], prune.params["dry_run"]) == (None, True)
    for each in (batch, prune):
        assert all("When it" in task.doc_md for task in each.tasks)


def test_the_graph_is_the_designs(dag: Any) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "load_csv_to_s3": {"prepare_data"},
        "prepare_data": {"clean_data"},
        "clean_data": {"search_params", "select_best_model"},
        # The selection reads the names; the catalogue's version also goes to every model.
        "load_model_names": {"search_params", "select_best_model"},
        "search_params": {"train_model"},
        "train_model": {"log_model"},
        "log_model": {"reload_model"},
        "reload_model": {"select_best_model"},
        "select_best_model": {"reload_best_model"},
        "reload_best_model": set(),
    }


def test_models_and_years_are_mapped_and_bear_their_names(dag: Any) -> None:
    assert dag.get_task("prepare_data").is_mapped
    assert "year" in dag.get_task("prepare_data").map_index_template
    for task_id in ("search_params", "train_model", "log_model", "reload_model"):
        task = dag.get_task(task_id)
        assert "model" in task.map_index_template
        assert task.get_closest_mapped_task_group() is not None


def test_the_selection_runs_whatever_became_of_the_models(dag: Any) -> None:
    assert dag.get_task("select_best_model").trigger_rule == "all_done_min_one_success"


def test_every_task_tells_what_it_reads_and_writes_and_what_to_do_when_it_fails(dag: Any) -> None:
    for task in dag.tasks:
        assert "When it" in task.doc_md, task.task_id
        assert task.task_id in dag.doc_md
    assert "When a task fails" in dag.doc_md
    # Airflow's pages run the lines of a block of code together.
    assert "```" not in dag.doc_md


def test_the_form_suggests_the_catalogues_models_and_refuses_what_cannot_be(dag: Any) -> None:
    import json

    from airflow.sdk.exceptions import ParamValidationError

    models = json.loads((ROOT / "include" / "models.json").read_text("utf-8"))["models"]
    assert dag.params.get_param("models").schema["examples"] == list(models)
    for name, wrong in {"models": "MLP", "years": [1999], "folds": 1, "max_rows": 10, "promote": "no"}.items():
        with pytest.raises(ParamValidationError):
            dag.params.get_param(name).resolve(wrong)
    assert dag.params.get_param("years").resolve(["2022", 2023]) == ["2022", 2023]
    assert {name: param.resolve() for name, param in dag.params.items()}["promote"] is True


def test_a_run_that_was_given_what_the_form_does_not_know_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow itself lets it pass; `promot: false` would promote."""
    from types import SimpleNamespace

    from dags import ml_accidents_pipeline as module
    from include.accidents.errors import InputError

    conf: dict[str, Any] = {"promote": False}
    context = {"dag_run": SimpleNamespace(conf=conf), "params": {"promote": False}}
    monkeypatch.setattr(module, "get_current_context", lambda: context)
    assert module._params() == {"promote": False}
    conf["promot"] = False
    with pytest.raises(InputError, match=r"'promot', which is not known \(did you mean 'promote'\?\)"):
        module._params()


def test_it_is_started_by_hand_one_run_at_a_time(dag: Any) -> None:
    assert dag.schedule is None
    assert dag.max_active_runs == 1
    assert dag.is_paused_upon_creation is False


def test_every_task_ends_in_time_and_retries_only_what_may_pass(dag: Any) -> None:
    from airflow.sdk import RetryAction
    from airflow.sdk.exceptions import AirflowTaskTimeout

    from include.accidents.errors import InputError

    for task in dag.tasks:
        assert task.execution_timeout is not None, task.task_id
        assert task.retries == 3
        assert task.retry_exponential_backoff
        assert task.retry_policy.evaluate(InputError("a", "b"), 1, 3).action is RetryAction.FAIL
        assert task.retry_policy.evaluate(AirflowTaskTimeout("late"), 1, 3).action is RetryAction.FAIL
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
