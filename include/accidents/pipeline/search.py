"""Search a model's hyper-parameters."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from include.accidents.models import budget, candidates, search
from include.accidents.pipeline.contracts import CleanData, Json, ModelRun
from include.accidents.pipeline.inputs import kept_catalogue, kept_method, load_split, model_digest
from include.accidents.reporting import texts
from include.accidents.storage.buckets import MODELS

if TYPE_CHECKING:
    from include.accidents.models.specification import Defaults, ModelSpec
    from include.accidents.storage.versions import Store

log = logging.getLogger(__name__)
SHOWN = 10  # candidates in the log


def search_params(store: Store, model: str, data: CleanData, catalogue_version: str, *, force: bool) -> ModelRun:
    """Plan how many people the model may learn from, and search its hyper-parameters on train_test."""
    checked = kept_catalogue(store, catalogue_version, model)
    spec = checked.model(model)
    method = kept_method(store, catalogue_version)
    version = f"{model}-{model_digest(spec, checked, data, method)}"
    max_rows = _planned(store, version, spec, checked.defaults, data)
    minutes = candidates.minutes(spec, checked.defaults)
    kept = store.intact(MODELS, f"{version}/search")
    # A search that its time limit ended is made again when it gets more time.
    outdated = kept is None or kept.get("max_rows") != max_rows or (kept["ended"] and kept["minutes"] < minutes)
    if force or outdated:
        planned = spec.model_copy(update={"max_rows": max_rows})
        result = search.search(planned, checked.defaults, load_split(store, data, "train_test"))
        content = json.dumps(asdict(result), indent=1).encode()
        facts = {
            "data_version": data.version,
            "params": result.params,
            "score": result.score,
            "ended": result.ended,
            "minutes": minutes,
            "max_rows": max_rows,
        }
        store.write_version(MODELS, f"{version}/search", {"search.json": content}, facts)
    else:
        log.info("Already searched with this data and specification: %s is used again.", version)
    best = json.loads(store.read_version(MODELS, f"{version}/search", "search.json"))
    log.info("Best parameters of %s: %s\n%s", model, json.dumps(best["params"]), _candidates(best["results"]))
    return ModelRun(
        model=model,
        version=version,
        catalogue=catalogue_version,
        method=method,
        data=data,
        params=best["params"],
        max_rows=max_rows,
    )


def _planned(store: Store, version: str, spec: ModelSpec, defaults: Defaults, data: CleanData) -> int | None:
    """Plan how many people the model learns from.

    Returns
    -------
    The most people. An earlier plan for the same time limit is kept, so that a run that is repeated, on a slower
    machine too, gives the same model.
    """
    minutes, name = spec.minutes or defaults.minutes, f"{version}/plan"
    kept = store.intact(MODELS, name)
    if kept is None or kept["minutes"] != minutes:
        first = candidates.candidates(spec, defaults)[0]
        planned = budget.plan(spec, defaults, first, load_split(store, data, "train_test"), log.info)
        content = json.dumps(asdict(planned), indent=1).encode()
        kept = store.write_version(
            MODELS, name, {"plan.json": content}, {"minutes": minutes, "max_rows": planned.max_rows}
        )
    max_rows: int | None = kept["max_rows"]
    if max_rows != spec.max_rows:
        log.warning(
            "It learns from %s of %s people: more do not fit into %g minutes a stage.",
            f"{max_rows:,}",
            f"{min(spec.max_rows or data.rows.train_test, data.rows.train_test):,}",
            minutes,
        )
    return max_rows


def _candidates(results: Sequence[Json]) -> str:
    """Return the best candidates as a table; an empty text when there was only one."""
    rows = [
        (r["rank_test_score"], r["mean_test_score"], r["std_test_score"], f"{r['mean_fit_time']:.1f}", r["rows"],
         r["error"] or json.dumps(r["params"]))
        for r in results[:SHOWN]
    ]  # fmt: skip
    more = [f"… and {len(results) - SHOWN} more, in MLflow's cv_results.json."] if len(results) > SHOWN else []
    heading = ("rank", "score", "std", "s a fit", "people", "parameters")
    return "\n".join([texts.text_table(heading, rows), *more]) if rows else ""
