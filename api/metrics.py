"""Prometheus metrics, and logs with a JSON line a request. No line holds a scene."""

from __future__ import annotations

import logging
import sys
from typing import Any

import orjson
import structlog
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

REQUESTS = Counter("accidents_requests", "Requests answered", ("route", "method", "status"))
LATENCY = Histogram(
    "accidents_request_seconds",
    "Time from a request's first byte to its answer's last",
    ("route",),
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
BATCH_REQUESTS = Histogram(
    "accidents_batch_requests", "Requests predicted together", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
BATCH_PEOPLE = Histogram(
    "accidents_batch_people", "People predicted together", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
)
PREDICTIONS = Counter("accidents_predictions", "People predicted, by most likely class", ("model", "class"))
MODEL = Gauge("accidents_model_info", "1 for each model that is loaded", ("model", "version", "trained_as", "run_id"))
RELOADS = Counter("accidents_reloads", "Models loaded, or refused", ("model", "outcome"))
REFUSED_KEYS = Counter("accidents_refused_keys", "Requests with a missing or wrong key", ("outcome",))


def metrics() -> bytes:
    """Return all metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)


def configure_logs() -> None:
    """Write every log line, ours and the libraries', as one line of JSON to stdout."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper("iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(_dumps),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers, root.level = [handler], logging.INFO
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    # Our own line a request holds more; without a handler uvicorn does not even format its own.
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    for name in ("httpx", "httpcore", "urllib3", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(orjson.dumps)],
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )


def _dumps(line: Any, **_: Any) -> str:
    return orjson.dumps(line, default=str).decode()
