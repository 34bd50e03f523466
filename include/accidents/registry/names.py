"""Names in MLflow: the experiment, the promoted model, its alias, and the tags that the pipeline sets."""

from __future__ import annotations

import re
from typing import Final

EXPERIMENT: Final = "Gravite_Accidents"
BEST: Final = "BestModel"
"""The registered model that holds what was promoted."""
BASELINE: Final = "Dummy"
"""The leaderboard's row of a prediction that knows nothing; it is no model of its own."""
ALIAS: Final = "production"
LOADED: Final = "loaded"
"""Tag of a version: when the run that made it looked at the raw files."""
SUPERSEDED: Final = "superseded"
"""Tag of a run whose task was cleared and ran again."""
DAG_RUN: Final = "airflow.dag_run_id"
"""Tag of a run of MLflow: the run of the DAG that made it."""
DAG_RUNS: Final = "airflow.dag_run_ids"
"""Tag of a run of MLflow: the runs of the DAG whose model it is, with spaces between; the last ones may have changed
nothing."""
PROMOTED_BY: Final = "promoted_by"
"""Tag of a version of BestModel: the run of the DAG that promoted it."""
ROLLED_BACK: Final = "rolled_back"
"""Tag of a version of BestModel that a rollback left, or whose promotion broke off."""

# Artifacts of a model's run in MLflow.
GROUPS = "recall_by_group.json"
DECISION = "decision.json"
MODEL_CARD = "model_card.html"
REPORT = "report.html"
LEADERBOARD = "leaderboard.json"


def of_selection(dag_run_id: str, file: str) -> str:
    """Return the path of a selection's `REPORT` or `LEADERBOARD` in the run of its winner.

    A folder a run of the DAG: where nothing changes, a model wins again.
    """
    return f"selections/{re.sub(r'[^0-9A-Za-z._-]', '_', dag_run_id)}/{file}"
