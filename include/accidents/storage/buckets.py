"""Names of the buckets."""

from __future__ import annotations

RAW = "accidents-raw-csv"
PREPROCESSED = "accidents-preprocessed-csv"
TRAIN = "accidents-train-csv"
MODELS = "accidents-models"
INCOMING = "accidents-incoming"
PREDICTIONS = "accidents-predictions"
BUCKETS = (RAW, PREPROCESSED, TRAIN, MODELS, INCOMING, PREDICTIONS)
