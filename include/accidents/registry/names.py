"""Names in MLflow: the experiment, the promoted model, its alias, and the tags that the pipeline sets."""

from __future__ import annotations

import re
from typing import Final

EXPERIMENT: Final = "Gravite_Accidents"
BEST: Final = "BestModel"
"""The registered model that holds what was promoted."""
BASELINE: Final = "Dummy"
"""The leaderboard's row for a prediction without features; it is not a registered model."""
ALIAS: Final = "production"
LOADED: Final = "loaded"
"""Tag of a version: when its DAG run read the raw files."""
SUPERSEDED: Final = "superseded"
"""Tag of a run whose task was cleared and ran again."""
DAG_RUN: Final = "airflow.dag_run_id"
"""Tag of an MLflow run: the DAG run that made it."""
DAG_RUNS: Final = "airflow.dag_run_ids"
"""Tag of an MLflow run: the DAG runs that used its model, separated by spaces; later ones need not have changed it."""
PROMOTED_BY: Final = "promoted_by"
"""Tag of a version of BestModel: the DAG run that promoted it."""
ROLLED_BACK: Final = "rolled_back"
"""Tag of a version of BestModel that a rollback left, or whose promotion was interrupted."""

MODEL_FILE: Final = "model.skops"
ONNX_FILE: Final = "model.onnx"
"""The files of a registered model; not every one has an ONNX copy."""

# Artifacts of a model's run in MLflow.
GROUPS = "recall_by_group.json"
DECISION = "decision.json"
PLAN = "plan.json"
MODEL_CARD = "model_card.html"
REPORT = "report.html"
LEADERBOARD = "leaderboard.json"


def of_selection(dag_run_id: str, file: str) -> str:
    """Return the path of a selection's `REPORT` or `LEADERBOARD` in the run of its winner.

    Returns
    -------
    A path in a folder for each DAG run: where nothing changes, the same model wins again.
    """
    return f"selections/{re.sub(r'[^0-9A-Za-z._-]', '_', dag_run_id)}/{file}"
