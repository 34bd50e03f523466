"""The ids of the DAGs."""

from __future__ import annotations

from typing import Final

PIPELINE: Final = "ml_accidents_pipeline_dag"
BATCH_PREDICT: Final = "accidents_batch_predict_dag"
PRUNE: Final = "accidents_prune_dag"
