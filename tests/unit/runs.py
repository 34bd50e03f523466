"""Runs of the pipeline without Airflow: its steps on a folder of versions and a real MLflow store (SQLite)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import mlflow
from mlflow import MlflowClient

from include.accidents.pipeline import clean, inputs, log, prepare, search, select, train
from include.accidents.pipeline.contracts import CleanData, LoggedModel, ModelRun, Selection
from include.accidents.registry import loading, tracking
from include.accidents.registry.names import BEST, EXPERIMENT
from include.accidents.storage.folder import FolderStore
from include.accidents.synthetic.sample import write_sample

KEY = b"s" * 32
DUMMY = {"pipeline": [["clf", {"class": "sklearn.dummy.DummyClassifier"}]]}
TREE = {"pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 4}}]]}


@cache
def prepared(*years: int) -> Path:
    """A folder of versions with the clean data of generated years; made once, and copied."""
    folder = Path(mkdtemp(prefix="acc-runs-"))
    write_sample(folder / "raw", years=years, accidents_per_year=2000)
    store = FolderStore(folder / "store", KEY)
    ready = [prepare.prepare_year(store, year, read) for year, read in prepare.folder_years(folder / "raw")]
    (folder / "data.json").write_text(json.dumps(clean.clean_data(store, ready).to_json()))
    return folder


@cache
def empty_database() -> Path:
    """An MLflow database without runs; making its tables takes seconds."""
    path = Path(mkdtemp(prefix="acc-mlflow-")) / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@dataclass
class Runs:
    """An installation, and what a run of the DAG does in it."""

    folder: Path
    years: tuple[int, ...] = (2022,)
    recall: float = 0.8
    promote: bool = True
    count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        shutil.copytree(prepared(*self.years) / "store", self.folder / "store", copy_function=shutil.copy2)
        shutil.copy(empty_database(), self.folder / "mlflow.db")
        self.data = CleanData.from_json(json.loads((prepared(*self.years) / "data.json").read_text()))
        uri = f"sqlite:///{self.folder}/mlflow.db"
        mlflow.set_tracking_uri(uri)
        mlflow.create_experiment(EXPERIMENT, artifact_location=(self.folder / "artifacts").as_uri())
        self.client = MlflowClient(uri)
        self.store = FolderStore(self.folder / "store", KEY)

    def catalogue(self, models: Mapping[str, Any], wanted: Sequence[str] | None = None) -> tuple[list[str], str]:
        defaults = {"evaluation_folds": 2, "search_folds": 2}
        said = {"defaults": defaults, "decision": {"recall": self.recall}, "models": models}
        path = self.folder / "models.json"
        path.write_text(json.dumps(said))
        return inputs.load_catalogue(self.store, str(path), wanted, folds=None, max_rows=None)

    def train(self, name: str, catalogue: str) -> ModelRun:
        found = search.search_params(self.store, name, self.data, catalogue, force=False)
        return train.train_model(self.store, found, force=False)

    def log(self, trained: ModelRun, evaluation: str = "basic") -> LoggedModel:
        run_id = f"run-{self.count}"
        return log.log_model(self.store, self.client, trained, run_id, KEY, force=False, evaluation=evaluation)

    def run(self, models: Mapping[str, Any], wanted: Sequence[str] | None = None, **data: Any) -> Selection:
        """Run the pipeline once; what the selection returns."""
        self.count += 1
        self.data = self.data.model_copy(update=data)
        names, catalogue = self.catalogue(models, wanted)
        for name in names:
            self.log(self.train(name, catalogue))
        run_id = f"run-{self.count}"
        return select.select_best(
            self.store, self.client, names, catalogue, self.data, run_id, {}, KEY, promote=self.promote
        )  # fmt: skip

    def logged(self) -> dict[str, Any]:
        """MLflow's runs of the last run, by model."""
        return {r.data.tags["model"]: r for r in tracking.runs_of(self.client, f"run-{self.count}")}

    def artifact(self, run: Any, path: str) -> str:
        return (tracking.artifact(self.client, run.info.run_id, path) or b"").decode()

    @property
    def production(self) -> str | None:
        return loading.newest(self.client, BEST)
