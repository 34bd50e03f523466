"""Names of the buckets."""

from __future__ import annotations

import logging

RAW = "accidents-raw-csv"
PREPROCESSED = "accidents-preprocessed-csv"
TRAIN = "accidents-train-csv"
MODELS = "accidents-models"
INCOMING = "accidents-incoming"
PREDICTIONS = "accidents-predictions"
BUCKETS = (RAW, PREPROCESSED, TRAIN, MODELS, INCOMING, PREDICTIONS)

log = logging.getLogger(__name__)
