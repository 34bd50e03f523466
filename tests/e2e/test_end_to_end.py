"""The whole on real services: the embedded stack, the DAG through Airflow's REST API, a small generated input."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy

import boto3
import httpx
import pytest
from mlflow import MlflowClient
from supervisor.xmlrpc import SupervisorTransport

from api.schemas.scenes import EXAMPLE
from include.accidents.data.columns import CLASSES
from include.accidents.registry import tracking
from include.accidents.synthetic.sample import write_sample
from ops import demo
from tests.helpers import BAYES, BROKEN, DAG, TREE


class Airflow:
    """Airflow's REST API, as the UI's buttons use it."""

    def __init__(self, env: dict[str, str]) -> None:
        login = {"username": env["AIRFLOW_USER"], "password": env["AIRFLOW_PASSWORD"]}
        token = httpx.post(f"{env['AIRFLOW_URL']}/auth/token", json=login).raise_for_status().json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=f"{env['AIRFLOW_URL']}/api/v2", headers=headers, timeout=30)

    def run(self, dag: str = DAG, **conf: Any) -> dict[str, Any]:
        """Trigger a run and wait for its end."""
        return self.wait(dag, self.start(dag, **conf))

    def start(self, dag: str = DAG, **conf: Any) -> str:
        said = {"logical_date": None, "conf": conf}
        return str(self.http.post(f"/dags/{dag}/dagRuns", json=said).raise_for_status().json()["dag_run_id"])

    def clear(self, run: dict[str, Any], tasks: list[Any]) -> dict[str, Any]:
        """Clear tasks, or `[task, index]` of mapped ones, as the UI does; wait for the run's end."""
        said = {"dry_run": False, "dag_run_id": run["dag_run_id"], "task_ids": tasks, "only_failed": False}
        self.http.post(f"/dags/{run['dag_id']}/clearTaskInstances", json=said).raise_for_status()
        return self.wait(run["dag_id"], run["dag_run_id"])

    def tries(self, run: dict[str, Any]) -> dict[tuple[str, int], tuple[int, str, str | None]]:
        """Return how often each instance was tried, its state and its end."""
        path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances"
        found = self.http.get(path, params={"limit": 200}).raise_for_status().json()["task_instances"]
        return {(ti["task_id"], ti["map_index"]): (ti["try_number"], ti["state"], ti["end_date"]) for ti in found}

    def wait(self, dag: str, run_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 420
        while time.monotonic() < deadline:
            run = self.http.get(f"/dags/{dag}/dagRuns/{run_id}").raise_for_status().json()
            if run["state"] in ("success", "failed"):
                return dict(run)
            time.sleep(2)
        raise TimeoutError(f"the run is still {run['state']}: {self.states(run)}")

    def states(self, run: dict[str, Any]) -> dict[tuple[str, str | None], str]:
        """State of each task instance, by task and the name that the grid shows."""
        path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances"
        found = self.http.get(path, params={"limit": 200}).raise_for_status().json()["task_instances"]
        return {(ti["task_id"], ti["rendered_map_index"]): ti["state"] for ti in found}

    def xcom(self, run: dict[str, Any], task: str, index: int = -1) -> Any:
        path = f"/dags/{DAG}/dagRuns/{run['dag_run_id']}/taskInstances/{task}/xcomEntries/return_value"
        value = self.http.get(path, params={"map_index": index}).raise_for_status().json()["value"]
        return json.loads(value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def airflow(stack: dict[str, str]) -> Airflow:
    return Airflow(stack)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, years=(2022, 2023), accidents_per_year=1500)
    return folder


@pytest.fixture(scope="module")
def s3(stack: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=stack["AWS_ENDPOINT_URL"],
        aws_access_key_id=stack["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stack["AWS_SECRET_ACCESS_KEY"],
        region_name=stack["AWS_DEFAULT_REGION"],
    )


@pytest.fixture(scope="module")
def mlflow_client(stack: dict[str, str]) -> Iterator[MlflowClient]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            patch.setenv(name, stack[name])
        yield MlflowClient(stack["MLFLOW_TRACKING_URI"])


def catalogue(stack: dict[str, str], models: dict[str, Any]) -> None:
    said = {"defaults": {"evaluation_folds": 2, "search_folds": 2}, "models": models}
    Path(stack["ACCIDENTS_MODELS_FILE"]).write_text(json.dumps(said))


@pytest.fixture(scope="module")
def first(stack: dict[str, str], airflow: Airflow, sample: Path) -> dict[str, Any]:
    """The first run: two good models and one that fails."""
    catalogue(stack, {"Tree": TREE, "Bayes": BAYES, "Broken": BROKEN})
    return airflow.run(raw_dir=str(sample))


def supervise(stack: dict[str, str], method: str, service: str) -> None:
    """Tell the stack's process manager to start or to stop a service."""
    configuration = Path(stack["ACCIDENTS_MODELS_FILE"]).parent / "local" / "run" / "supervisord.conf"
    lines = configuration.read_text().splitlines()
    path = next(line.split(" = ")[1] for line in lines if line.startswith("file = "))
    transport = SupervisorTransport(serverurl=f"unix://{path}")
    getattr(ServerProxy("http://supervisor", transport=transport).supervisor, method)(f"stack:{service}")


def keys(s3: Any, bucket: str) -> set[str]:
    return {entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


def test_a_failing_model_stops_neither_the_others_nor_the_run(airflow: Airflow, first: dict[str, Any]) -> None:
    assert first["state"] == "success", airflow.states(first)
    states = airflow.states(first)
    for task in ("search_params", "train_model", "log_model", "reload_model"):
        assert states[task, "Tree"] == states[task, "Bayes"] == "success", "\n".join(
            map(str, [*states.items(), first["note"]])
        )
    assert states["search_params", "Broken"] == "failed"
    assert {name for task, name in states if task == "prepare_data"} == {"2022", "2023"}
    assert "Broken failed: search_params: ModelError" in first["note"]
    assert "NaN" in first["note"]


def test_the_buckets_hold_what_people_and_tasks_expect(s3: Any, first: dict[str, Any]) -> None:
    assert {"carcteristiques-2022.csv", "usagers-2023.csv"} <= keys(s3, "accidents-raw-csv")
    preprocessed = keys(s3, "accidents-preprocessed-csv")
    assert {
        "df_accidents_2022.csv",
        "df_accidents_2023.csv",
        "df_accidents.csv",
        "df_accident_clean.csv",
    } <= preprocessed
    splits = {f"{part}_{name}.csv" for part in "Xy" for name in ("train_test", "global_test")}
    assert splits <= keys(s3, "accidents-train-csv")
    assert {"Tree_model.pkl", "Bayes_model.pkl"} <= keys(s3, "accidents-models")
    assert "Broken_model.pkl" not in keys(s3, "accidents-models")
    assert keys(s3, "mlflow")


def test_every_version_is_what_its_manifest_says(s3: Any, first: dict[str, Any]) -> None:
    seen = 0
    for bucket in ("accidents-preprocessed-csv", "accidents-train-csv", "accidents-models"):
        for key in keys(s3, bucket):
            if key.endswith("/manifest.json"):
                manifest = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
                for facts in manifest["files"].values():
                    content = s3.get_object(Bucket=bucket, Key=key.replace("manifest.json", facts["path"]))[
                        "Body"
                    ].read()
                    assert hashlib.sha256(content).hexdigest() == facts["sha256"]
                    seen += 1
    assert seen >= 12


def test_no_row_disappears_uncounted(airflow: Airflow, s3: Any, first: dict[str, Any]) -> None:
    data = airflow.xcom(first, "clean_data")
    assert data["sample"] is True
    rows = data["rows"]
    dropped = sum(count for reasons in rows["dropped"].values() for count in reasons.values())
    assert rows["in"] == rows["train_test"] + rows["global_test"] + dropped
    y = s3.get_object(Bucket="accidents-train-csv", Key="y_global_test.csv")["Body"].read()
    assert len(y.splitlines()) - 1 == rows["global_test"]


def test_mlflow_holds_a_complete_run_a_model(mlflow_client: MlflowClient, first: dict[str, Any]) -> None:
    experiment = mlflow_client.get_experiment_by_name("Gravite_Accidents")
    assert experiment is not None
    runs = {run.info.run_name: run for run in mlflow_client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"Tree", "Bayes"}
    for name, run in runs.items():
        wanted = {
            "cv_accuracy",
            "cv_f1_weighted",
            "cv_precision_weighted",
            "cv_recall_weighted",
            "selection_score",
        }
        tested = {"test_f1_weighted", "test_f1_macro", "test_f1_macro_low", "test_auc_severe_high"}
        levels = ("first_call", "dispatch", "on_scene", "record")
        tested |= {f"{level}_{name}" for level in levels for name in ("f1_weighted", "alert_recall")}
        assert wanted | tested <= run.data.metrics.keys()
        assert run.data.tags["airflow.dag_run_id"] == first["dag_run_id"]
        assert {"data_version", "code_version", "features"} <= run.data.tags.keys()
        assert "confusion_matrix.png" in {a.path for a in mlflow_client.list_artifacts(run.info.run_id)}
        (version,) = mlflow_client.search_model_versions(f"name = '{name}'")
        assert version.tags["signature"]
    best = max(runs.values(), key=lambda run: run.data.metrics["selection_score"])
    champion = mlflow_client.get_model_version_by_alias("BestModel", "production")
    assert champion.tags["model"] == best.info.run_name
    assert "model_card.html" in {a.path for a in mlflow_client.list_artifacts(best.info.run_id)}
    (folder,) = mlflow_client.list_artifacts(best.info.run_id, "selections")
    names = {a.path.rpartition("/")[2] for a in mlflow_client.list_artifacts(best.info.run_id, folder.path)}
    assert names == {"report.html", "leaderboard.json"}
    assert best.data.tags["selection_reason"] in first["note"]
    assert "Dummy: 0." in first["note"]
    assert re.search(r"used \d+\.\d cores on average", first["note"])


def test_the_demo_shows_the_leaderboard_with_the_baseline(stack: dict[str, str], first: dict[str, Any]) -> None:
    shown = demo.leaderboard(demo.results(stack, first["dag_run_id"]))
    assert set(shown.columns[1].cells) == {"Tree", "Bayes", "Dummy"}
    assert all(float(cell) > 0 for column in shown.columns[2:] for cell in map(str, column.cells))
    assert list(shown.columns[0].cells).count("[green]►[/]") == 1


def test_the_api_serves_what_was_promoted(
    stack: dict[str, str], mlflow_client: MlflowClient, first: dict[str, Any]
) -> None:
    answer = httpx.post(f"{stack['ACCIDENTS_API_URL']}/api/v1/predict", json=EXAMPLE).raise_for_status().json()
    champion = mlflow_client.get_model_version_by_alias("BestModel", "production")
    assert answer["model"]["version"] == str(champion.version)
    assert answer["model"]["run_id"] == champion.tags["run_id"]
    assert len(answer["scenes"][0]["people"]) == 2
    assert httpx.get(f"{stack['ACCIDENTS_API_URL']}/ready").status_code == 200


def test_the_buttons_of_a_task_lead_to_its_run_its_object_and_its_model(
    stack: dict[str, str], airflow: Airflow, mlflow_client: MlflowClient, first: dict[str, Any]
) -> None:
    def links(task: str, index: int = -1) -> dict[str, str]:
        path = f"/dags/{DAG}/dagRuns/{first['dag_run_id']}/taskInstances/{task}/links"
        found = airflow.http.get(path, params={"map_index": index}).raise_for_status().json()["extra_links"]
        return {name: url for name, url in found.items() if url}

    (link,) = links("log_model", 0).values()
    run = mlflow_client.get_run(link.rpartition("/")[2])
    assert link.startswith(stack["MLFLOW_TRACKING_URI"])
    assert run.data.tags["airflow.dag_run_id"] == first["dag_run_id"]
    for task, index in {"prepare_data": 0, "clean_data": -1, "search_params": 0, "train_model": 1}.items():
        (link,) = links(task, index).values()
        assert httpx.get(link).raise_for_status().json()
        assert httpx.get(link.replace("X-Amz-Signature=", "X-Amz-Signature=0")).status_code == 403
    assert links("reload_model", 0)["Model in the API"].startswith(stack["ACCIDENTS_API_URL"])
    assert links("load_model_names") == {}


def test_editing_the_json_changes_the_next_runs_fan_out_and_reuses_the_rest(
    stack: dict[str, str], airflow: Airflow, sample: Path, s3: Any, first: dict[str, Any]
) -> None:
    before = airflow.xcom(first, "clean_data")["version"]
    catalogue(stack, {"Tree": TREE, "Stump": {"pipeline": TREE["pipeline"]}})
    run = airflow.run(raw_dir=str(sample))
    assert run["state"] == "success"
    states = airflow.states(run)
    assert {name for task, name in states if task == "train_model"} == {"Tree", "Stump"}
    assert airflow.xcom(run, "clean_data")["version"] == before


@pytest.mark.parametrize(
    ("text", "told"),
    [("{", "not JSON"), ('{"models": {"A": {"pipeline": [["c", {"class": "os.system"}]]}}}', "not allowed")],
)
def test_a_bad_catalogue_fails_in_its_task_without_retries(
    stack: dict[str, str], airflow: Airflow, sample: Path, first: dict[str, Any], text: str, told: str
) -> None:
    Path(stack["ACCIDENTS_MODELS_FILE"]).write_text(text)
    run = airflow.run(raw_dir=str(sample))
    assert run["state"] == "failed"
    path = f"/dags/{DAG}/dagRuns/{run['dag_run_id']}/taskInstances/load_model_names"
    instance = airflow.http.get(path).json()
    assert (instance["state"], instance["try_number"]) == ("failed", 1)
    log = airflow.http.get(f"{path}/logs/1", headers={"Accept": "application/json"}).text
    assert told in log


def test_a_missing_file_fails_in_its_task_and_nothing_stored_is_lost(
    airflow: Airflow, s3: Any, first: dict[str, Any], tmp_path: Path
) -> None:
    before = keys(s3, "accidents-raw-csv")
    write_sample(tmp_path, years=(2021,), accidents_per_year=50)
    (tmp_path / "usagers-2021.csv").unlink()
    run = airflow.run(raw_dir=str(tmp_path))
    assert run["state"] == "failed"
    assert airflow.states(run)["load_csv_to_s3", None] == "failed"
    assert keys(s3, "accidents-raw-csv") == before


def test_an_api_that_is_down_stops_no_promotion_and_is_reported(
    stack: dict[str, str], airflow: Airflow, sample: Path, mlflow_client: MlflowClient, first: dict[str, Any]
) -> None:
    catalogue(stack, {"Stump": {"pipeline": TREE["pipeline"]}})
    supervise(stack, "stopProcess", "api")
    try:
        run = airflow.run(raw_dir=str(sample))
    finally:
        supervise(stack, "startProcess", "api")
    assert run["state"] == "success", airflow.states(run)
    states = airflow.states(run)
    assert states["log_model", "Stump"] == states["select_best_model", None] == "success"
    assert states["reload_model", "Stump"] == "failed"
    assert states["reload_best_model", None] == "skipped"
    assert "Stump is registered, but reload_model: ConnectError" in run["note"]
    assert "The API could not be reached" in run["note"]


@pytest.fixture(scope="module")
def at_once(stack: dict[str, str], airflow: Airflow, sample: Path, first: dict[str, Any]) -> list[dict[str, Any]]:
    """Two runs that were triggered one right after the other, on other data than the first; what was seen of them."""
    catalogue(stack, {"Tree": TREE, "Bayes": BAYES})
    ids = [airflow.start(raw_dir=str(sample), years=[2023], force=force) for force in (False, True)]
    seen = []
    while True:
        seen.append([airflow.http.get(f"/dags/{DAG}/dagRuns/{i}").json() for i in ids])
        if all(run["state"] in ("success", "failed") for run in seen[-1]):
            return [dict(run, seen=[each[k]["state"] for each in seen]) for k, run in enumerate(seen[-1])]
        time.sleep(1)


def test_two_triggers_at_once_queue(at_once: list[dict[str, Any]]) -> None:
    one, two = at_once
    assert one["state"] == two["state"] == "success"
    assert ("running", "queued") in zip(one["seen"], two["seen"], strict=True)
    assert ("running", "running") not in zip(one["seen"], two["seen"], strict=True)
    assert two["start_date"] >= one["end_date"]


@pytest.mark.parametrize("task", ["prepare_data", "search_params", "train_model", "log_model", "reload_model"])
def test_one_mapped_instance_can_be_cleared_alone_and_gives_the_same(
    airflow: Airflow, mlflow_client: MlflowClient, at_once: list[dict[str, Any]], task: str
) -> None:
    run = at_once[1]  # everything of it is made again, also when it is repeated

    def scores() -> dict[str, float]:
        runs = tracking.runs_of(mlflow_client, run["dag_run_id"])
        return {run.data.tags["model"]: run.data.metrics["selection_score"] for run in runs}

    def result() -> dict[str, Any]:
        changing = ("registered_version", "served_version", "run_id", "version", "previous_version")
        kept = (name for name in airflow.xcom(run, task, 0) if name not in changing or task != "log_model")
        return {name: airflow.xcom(run, task, 0)[name] for name in kept}

    before, result_before, scores_before = airflow.tries(run), result(), scores()
    airflow.clear(run, [[task, 0]])
    after = airflow.tries(run)
    assert {key for key in after if after[key] != before[key]} == {(task, 0)}
    assert after[task, 0][:2] == (before[task, 0][0] + 1, "success")
    assert scores() == scores_before
    assert set(scores()) == {"Tree", "Bayes"}
    if task != "reload_model":  # after a repeated `log_model` there is another version to serve
        assert result() == result_before


def test_an_old_run_that_is_repeated_reads_its_own_data_and_spoils_no_newer_one(
    stack: dict[str, str], airflow: Airflow, s3: Any, first: dict[str, Any], at_once: list[dict[str, Any]]
) -> None:
    def for_people() -> dict[str, str]:
        buckets = ("accidents-preprocessed-csv", "accidents-train-csv", "accidents-models")
        listed = [(b, e) for b in buckets for e in s3.list_objects_v2(Bucket=b)["Contents"]]
        return {f"{b}/{e['Key']}": e["ETag"] for b, e in listed if not e["Key"].startswith("versions/")}

    def served() -> dict[str, str]:
        told = httpx.get(f"{stack['ACCIDENTS_API_URL']}/api/v1/models").raise_for_status().json()
        return {model["name"]: model["version"] for model in told if model["name"] in ("Tree", "Bayes")}

    data, shown, models = airflow.xcom(first, "clean_data"), for_people(), served()
    assert data["version"] != airflow.xcom(at_once[0], "clean_data")["version"]
    assert set(models) == {"Tree", "Bayes"}
    cleared = [
        "prepare_data", "clean_data", "search_params", "train_model", "log_model", "reload_model", "select_best_model",
        "reload_best_model",
    ]  # fmt: skip
    again = airflow.clear(first, cleared)
    assert again["state"] == "success", airflow.states(again)
    assert airflow.xcom(first, "clean_data") == data
    assert airflow.xcom(first, "train_model", 0)["data"]["version"] == data["version"]
    assert for_people() == shown
    assert served() == models
    states = airflow.states(first)
    assert (states["log_model", "Tree"], states["reload_model", "Tree"]) == ("success", "skipped")
    assert "Broken failed: search_params" in again["note"]


def test_arriving_files_are_predicted_once_by_the_promoted_model(
    airflow: Airflow, sample: Path, s3: Any, mlflow_client: MlflowClient, first: dict[str, Any]
) -> None:
    for file in sample.glob("*-2023.csv"):
        s3.upload_file(str(file), "accidents-incoming", f"lot 1/{file.name}")
    s3.put_object(Bucket="accidents-incoming", Key="lot 2/usagers-2022.csv", Body=b"not complete")
    run = airflow.run("accidents_batch_predict_dag")
    assert run["state"] == "success"
    assert airflow.states(run) == {("find_batches", None): "success", ("predict_batch", "lot 1/2023"): "success"}
    written = s3.get_object(Bucket="accidents-predictions", Key="lot 1/predictions_2023.csv")
    rows = list(csv.DictReader(written["Body"].read().decode().splitlines(), delimiter=";"))
    assert len(rows) == len((sample / "usagers-2023.csv").read_text("utf-8").splitlines()) - 1
    for row in rows:
        assert sum(float(row[f"p_{name}"]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
    assert airflow.run("accidents_batch_predict_dag")["state"] == "success"
    again = s3.head_object(Bucket="accidents-predictions", Key="lot 1/predictions_2023.csv")
    assert again["LastModified"] == written["LastModified"]


def test_old_versions_go_by_the_rule_and_never_what_production_needs(
    airflow: Airflow, s3: Any, mlflow_client: MlflowClient, first: dict[str, Any]
) -> None:
    before = keys(s3, "accidents-models")
    told = airflow.run("accidents_prune_dag", keep_last=1)
    assert airflow.states(told)["remove_planned", None] == "skipped"
    assert keys(s3, "accidents-models") == before
    done = airflow.run("accidents_prune_dag", keep_last=1, dry_run=False)
    assert done["state"] == "success", airflow.states(done)
    assert keys(s3, "accidents-models") < before
    champion = mlflow_client.get_model_version_by_alias("BestModel", "production")
    run = mlflow_client.get_run(champion.tags["run_id"])
    assert run.info.lifecycle_stage == "active"
    assert f"versions/{run.data.tags['model_version']}/manifest.json" in keys(s3, "accidents-models")
    data = json.loads(
        s3.get_object(Bucket="accidents-train-csv", Key=f"versions/{champion.tags['data_version']}/manifest.json")[
            "Body"
        ].read()
    )
    for version in data["inputs"]:
        assert f"versions/{version}/manifest.json" in keys(s3, "accidents-preprocessed-csv")
