"""The registry's way back, on a real MLflow store (SQLite and a folder)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking._tracking_service.client import TrackingServiceClient
from typer.testing import CliRunner

from include.accidents.cli import models as model_commands
from include.accidents.errors import ModelError
from include.accidents.features import clean
from include.accidents.features.version import feature_version
from include.accidents.models import catalogue, training
from include.accidents.registry import loading, onnx_files, promotion, signing, skops_files, tracking
from include.accidents.registry.names import BEST, EXPERIMENT, MODEL_FILE, ONNX_FILE
from tests.helpers import rules, sample_scenes, with_rules

KEY = b"s" * 32
TREE = {"pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}}]]}


BOOSTED = {"pipeline": [["clf", {"class": "lightgbm.LGBMClassifier", "params": {"n_estimators": 5}}]]}


class Registry:
    """A registry, and a way to promote models in it."""

    def __init__(self, folder: Path, database: Path) -> None:
        shutil.copy(database, folder / "mlflow.db")
        self.uri = f"sqlite:///{folder}/mlflow.db"
        mlflow.set_tracking_uri(self.uri)
        mlflow.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
        self.client = MlflowClient(self.uri)

    def log(
        self,
        number: int,
        *,
        made_of: str | None = None,
        loaded: str = "",
        sample: bool = True,
        decides: bool = True,
        copied: bool = False,
    ) -> ModelVersion:
        checked = catalogue.load(json.dumps({"models": {"Tree": BOOSTED if copied else TREE}}), "x")
        data, _ = clean.clean(sample_scenes(2023, 800))
        fitted = training.train(checked.model("Tree"), checked.defaults, {}, data)
        fitted = with_rules(fitted) if decides else fitted
        return tracking.log_run(
            self.client,
            fitted,
            lineage_without_run={
                "model": "Tree", "data_version": "d", "features": made_of or feature_version(), "sample": sample
            },
            key=KEY,
            dag_run_id=f"run-{number}",
            params={},
            metrics={"selection_score": 0.5 + number / 100},
            tags={},
            plots={},
            tables={"recall_by_group.json": {"rows": []}},
            results=[{"params": {"clf__max_depth": 3}, "mean_test_score": 0.5}, {"params": {}, "error": "no"}],
            example=data.x[:5],
            onnx=onnx_files.dumps(fitted, [data.x]) if copied else None,
            loaded=loaded,
        )  # fmt: skip

    def promote(self, number: int, **more: Any) -> None:
        promotion.promote(self.client, self.log(number, **more), KEY, "it is better")

    def production(self) -> str | None:
        return loading.newest(self.client, BEST)

    def rollback(self) -> promotion.RolledBack:
        return promotion.rollback(self.client, KEY, feature_version(), reason="too mild")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; making its tables takes seconds."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(tmp_path: Path, database: Path) -> Registry:
    return Registry(tmp_path, database)


def test_a_rollback_returns_to_the_version_before_and_never_to_one_that_was_left(store: Registry) -> None:
    for number in (1, 2):
        store.promote(number)
    done = store.rollback()
    assert (done.left, done.version, done.model) == ("2", "1", "Tree")
    assert store.production() == "1"
    assert store.client.get_model_version(BEST, "2").tags["rolled_back"] == "too mild"
    store.promote(3)
    assert store.production() == "3"
    assert store.rollback().version == "1"


def test_what_goes_well_is_not_told_on_the_stream_of_errors(store: Registry, capfd: pytest.CaptureFixture[str]) -> None:
    store.promote(1)
    assert capfd.readouterr().err == ""


def test_an_old_run_that_is_repeated_does_not_replace_a_newer_runs_model(store: Registry) -> None:
    first, second = "2026-01-01T10:00:00+00:00", "2026-01-02T10:00:00+00:00"
    for number, loaded, served in ((1, first, "1"), (2, second, "2"), (1, first, "2"), (2, second, "4")):
        store.log(number, loaded=loaded)
        assert loading.newest(store.client, "Tree") == served


def test_without_a_version_before_nothing_changes(store: Registry) -> None:
    with pytest.raises(ModelError, match="No model is in production"):
        store.rollback()
    store.promote(1)
    with pytest.raises(ModelError, match="no version of BestModel before version 1"):
        store.rollback()
    assert store.production() == "1"


def test_no_rollback_leads_from_real_data_to_the_generated_sample(store: Registry) -> None:
    store.promote(1)
    store.promote(2, sample=False)
    with pytest.raises(ModelError, match="no version of BestModel before version 2 to return to"):
        store.rollback()
    store.promote(3, sample=False)
    assert store.rollback().version == "2"


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("signature", "signature"),
        ("features", "trained on features"),
        ("rules", "BestModel version 1: .* no thresholds for the levels of knowledge .* run the pipeline once more"),
    ],
)
def test_a_version_that_may_not_be_used_is_not_returned_to(store: Registry, harm: str, told: str) -> None:
    store.promote(1, made_of="other" if harm == "features" else None, decides=harm != "rules")
    store.promote(2)
    if harm == "signature":
        store.client.set_model_version_tag(BEST, "1", "signature", "0" * 64)
    with pytest.raises(ModelError, match=told):
        store.rollback()
    assert store.production() == "2"
    assert "rolled_back" not in store.client.get_model_version(BEST, "2").tags


def test_a_model_comes_back_with_the_rules_that_it_was_registered_with(store: Registry) -> None:
    store.promote(1)
    loaded = loading.load(store.client, BEST, "1", KEY, feature_version())
    assert loaded.decision == rules()


def test_a_model_with_an_onnx_copy_is_served_by_it_with_the_same_rules(store: Registry) -> None:
    store.promote(1, copied=True)
    data, _ = clean.clean(sample_scenes(2023, 200))
    for name in ("Tree", BEST):
        loaded = loading.load(store.client, name, "1", KEY, feature_version())
        assert loaded.engine == "onnxruntime"
        assert loaded.decision == rules()
        plain = skops_files.loads(signing.fetch(store.client.get_model_version(name, "1")))
        assert np.allclose(loaded.estimator.predict_proba(data.x), plain.predict_proba(data.x), atol=1e-6)


@pytest.mark.parametrize("harm", ["unsigned", "altered", "gone", "signed with another key"])
def test_an_onnx_copy_that_may_not_be_used_is_left_aside(
    store: Registry, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.promote(1, copied=True)
    (path,) = Path(store.uri.removeprefix("sqlite:///")).parent.rglob(ONNX_FILE)
    if harm == "unsigned":
        store.client.delete_model_version_tag(BEST, "1", "onnx_signature")
    elif harm == "altered":
        path.write_bytes(path.read_bytes() + b"\0")
    elif harm == "gone":
        path.unlink()
    else:
        store.client.set_model_version_tag(BEST, "1", "onnx_signature", "0" * 64)
    loaded = loading.load(store.client, BEST, "1", KEY, feature_version())
    assert loaded.engine == "scikit-learn"
    assert loaded.decision == rules()
    assert ("used without its ONNX copy" in caplog.text) == (harm != "unsigned")


def test_a_model_whose_onnx_copy_was_altered_is_not_promoted(store: Registry) -> None:
    version = store.log(1, copied=True)
    (path,) = Path(store.uri.removeprefix("sqlite:///")).parent.rglob(ONNX_FILE)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match=r"model\.onnx does not bear this installation's signature"):
        promotion.promote(store.client, version, KEY, "it is better")
    assert store.production() is None


def test_a_run_knows_the_run_before_it_and_keeps_its_search(store: Registry) -> None:
    store.promote(1)
    store.promote(2)
    (first,), (second,) = (tracking.runs_of(store.client, f"run-{n}") for n in (1, 2))
    before = tracking.run_before(store.client, second)
    assert before is not None
    assert before.info.run_id == first.info.run_id
    assert tracking.run_before(store.client, first) is None
    kept = json.loads(tracking.artifact(store.client, first.info.run_id, "cv_results.json") or b"")
    assert kept["columns"] == ["params", "mean_test_score", "error"]
    assert tracking.artifact(store.client, first.info.run_id, "nothing.json") is None


def test_the_command_says_what_it_did_and_what_to_mend(store: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("ACCIDENTS_SIGNING_KEY", KEY.decode())
    refused = CliRunner().invoke(model_commands.registry, ["rollback"])
    assert refused.exit_code == 1
    assert "No model is in production" in refused.output
    for number in (1, 2):
        store.promote(number)
    done = CliRunner().invoke(model_commands.registry, ["rollback", "--reason", "by a test"])
    assert done.exit_code == 0, done.output
    assert "version 2" in done.output
    assert store.production() == "1"


def test_a_store_that_is_away_is_no_defect_of_the_model(store: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> str:
        raise OSError("connection refused")

    store.promote(1)
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.artifacts.download_artifacts", away)
        with pytest.raises(OSError, match="connection refused"):
            loading.load(store.client, BEST, "1", KEY, feature_version())
    for path in Path(store.uri.removeprefix("sqlite:///")).parent.rglob(MODEL_FILE):
        path.unlink()
    with pytest.raises(ModelError, match=r"has no file model\.skops"):
        loading.load(store.client, BEST, "1", KEY, feature_version())


def test_every_registered_model_is_found_and_the_one_in_production_first(store: Registry) -> None:
    expected = [f"A{number:03}" for number in range(120)]
    for name in [*expected, BEST]:
        store.client.create_registered_model(name)
    assert loading.names(store.client) == [BEST, *expected]


def test_two_models_that_make_the_experiment_at_the_same_moment_both_log_to_it(
    store: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, asked = TrackingServiceClient.get_experiment_by_name, []

    def first_absent(client: TrackingServiceClient, name: str) -> object:
        asked.append(name)
        return None if len(asked) == 1 else usual(client, name)

    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
    monkeypatch.setattr(TrackingServiceClient, "get_experiment_by_name", first_absent)
    store.promote(1)
    assert [run.data.tags["model"] for run in tracking.runs_of(store.client, "run-1")] == ["Tree"]


def test_a_promotion_that_broke_off_is_never_rolled_back_to(store: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OSError("connection refused")

    store.promote(1)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", away)
        with pytest.raises(OSError, match="connection refused"):
            store.promote(2)
    store.promote(3)
    assert store.production() == "3"
    assert store.rollback().version == "1"


def test_a_try_after_the_promotion_knows_that_it_happened(store: Registry) -> None:
    store.promote(1)
    (first,) = tracking.runs_of(store.client, "run-1")
    present = promotion.in_production(store.client, first.info.run_id)
    assert present is not None
    assert (str(present.version), present.tags["promotion_reason"]) == ("1", "it is better")
    store.promote(2)
    assert promotion.in_production(store.client, first.info.run_id) is None
