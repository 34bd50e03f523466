"""Names in MLflow: the experiment, the promoted model, its alias, and the tags that the pipeline sets."""

from __future__ import annotations

from typing import Final

EXPERIMENT: Final = "Gravite_Accidents"
BEST: Final = "BestModel"
"""The registered model that holds what was promoted."""
ALIAS: Final = "production"
LOADED: Final = "loaded"
"""Tag of a version: when the run that made it looked at the raw files."""
SUPERSEDED: Final = "superseded"
"""Tag of a run whose task was cleared and ran again."""
ROLLED_BACK: Final = "rolled_back"
"""Tag of a version of BestModel that a rollback left, or whose promotion broke off."""


# Artifacts of a model's run in MLflow.
GROUPS = "recall_by_group.json"
DECISION = "decision.json"
