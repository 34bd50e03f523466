"""A real MLflow registry (SQLite and a folder) with models trained on generated accidents, and the API served."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import uvicorn
from fastapi import FastAPI
from mlflow import MlflowClient
from pydantic import SecretStr
from sklearn.pipeline import make_pipeline

from api.settings import ApiSettings
from include.accidents.features import clean
from include.accidents.features.version import feature_version
from include.accidents.models import catalogue, training
from include.accidents.registry import onnx_files, tracking
from include.accidents.registry.names import EXPERIMENT
from tests.helpers import sample_scenes, with_rules

KEY, SIGNING = "k" * 32, "s" * 32
CATALOGUE = {
    "models": {
        "Forest": {
            "pipeline": [["clf", {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 5}}]]
        },
        "Boosted": {"pipeline": [["clf", {"class": "lightgbm.LGBMClassifier", "params": {"n_estimators": 10}}]]},
    }
}


class World:
    """A registry, and a way to add versions to it."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder}/mlflow.db"
        mlflow.set_tracking_uri(self.uri)
        mlflow.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
        self.client = MlflowClient(self.uri)
        self.data, _ = clean.clean(sample_scenes(2023, 800))

    def add(
        self,
        name: str = "Forest",
        *,
        seed: int = 0,
        key: str = SIGNING,
        version: str | None = None,
        first: Any = None,  # a step before the forest
        sample: bool = True,
        of: str = "Forest",
        copied: bool = False,  # with an ONNX copy
    ) -> Any:
        checked = catalogue.load(json.dumps(CATALOGUE), "x")
        defaults = checked.defaults.model_copy(update={"seed": seed})
        fitted = training.train(checked.model(of), defaults, {}, self.data)
        if first is not None:
            fitted = make_pipeline(first.fit(self.data.x), fitted)
        fitted = with_rules(fitted)
        return tracking.log_run(
            self.client,
            fitted,
            lineage_without_run={
                "model": name, "data_version": "d", "features": version or feature_version(), "sample": sample
            },
            key=key.encode(),
            dag_run_id=f"run-{seed}-{name}-{key[0]}-{version}",
            params={},
            metrics={"selection_score": 0.5},
            tags={},
            plots={},
            tables={},
            example=self.data.x[:5],
            onnx=onnx_files.dumps(fitted, [self.data.x]) if copied else None,
        )  # fmt: skip

    def settings(self, **more: Any) -> ApiSettings:
        return ApiSettings(
            allowed_hosts="127.0.0.1,localhost,testserver",
            api_key=SecretStr(KEY),
            signing_key=SecretStr(SIGNING),
            MLFLOW_TRACKING_URI=self.uri,
            registry_poll_seconds=3600,
            **more,
        )


@contextmanager
def serve(app: FastAPI) -> Iterator[str]:
    """Serve the application by uvicorn on a free port; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("uvicorn did not start")
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def wait_for(app: FastAPI, *names: str, seconds: float = 60) -> None:
    """Wait until the models are served: the API looks into the registry when it starts."""
    end = time.monotonic() + seconds
    while not set(names) <= set(app.state.models.all()):
        assert time.monotonic() < end, f"not loaded: {set(names) - set(app.state.models.all())}"
        time.sleep(0.05)
