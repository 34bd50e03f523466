"""The end of a run: rank the models, let the best meet the reigning one, promote it when it is better, and tell.

The winner and the reigning model are compared on the same held-out people, by a paired bootstrap over accidents.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from include.accidents import bootstrap, evaluate, features, pictures, registry, report
from include.accidents.catalogue import Catalogue
from include.accidents.errors import ModelError
from include.steps import DECISION, GROUPS, Json, dataset, judged_over_years, kept_catalogue
from include.storage import MODELS, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

# Artifacts of MLflow's runs; the last three stand in the run of the best model.
PICTURES = ("confusion_matrix.png", "cv_results.png", "precision_recall.png", "reliability.png", "importance.png")
REPORT = "report.html"
LEADERBOARD = "leaderboard.json"
MODEL_CARD = "model_card.html"


def select_best(
    store: Store,
    client: MlflowClient,
    names: Sequence[str],
    catalogue_version: str,
    data: Json | None,
    dag_run_id: str,
    failures: Mapping[str, str],
    key: bytes,
    *,
    promote: bool,
) -> Json:
    """Rank what this run registered, let the winner meet the reigning model, and promote it when it is better.

    Without `promote` all is compared and told, and production stays as it is.

    Returns
    -------
    The model that is in production afterwards, whether it was promoted now, why, and the run's note.

    Raises
    ------
    ModelError
        When no model of this run was registered.
    """
    failed = _failed_models(names, failures, registry.runs_of(client, dag_run_id))
    runs = [r for r in registry.runs_of(client, dag_run_id) if "registered_version" in r.data.tags]
    runs = [r for r in runs if r.data.tags["model"] in names]
    for name, reason in failed.items():
        log.error("%s failed: %s", name, reason)
    if not runs or data is None:
        told = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise ModelError(f"No model of this run was registered ({told}).", "see the red tasks' logs, then clear them.")
    runs.sort(key=lambda r: -r.data.metrics["selection_score"])
    checked = kept_catalogue(store, catalogue_version)
    # A model that people took out of production does not come back by itself, however often it is made.
    gone = registry.rolled_back(client)
    standing = [r for r in runs if r.data.tags.get("model_version") not in gone]
    best = (standing or runs)[0]
    over_years = _over_years(store, client, best, checked, data)
    board = [{"model": r.data.tags["model"], **r.data.metrics, **(over_years if r is best else {})} for r in runs]
    board = sorted([*board, _dummy(store, checked, data)], key=lambda row: -row["selection_score"])
    winner = client.get_model_version(best.data.tags["model"], best.data.tags["registered_version"])
    # An earlier try of this task may have promoted it, and broken off before it could tell.
    version, reason = registry.reigns(client, best.info.run_id) or (None, "")
    promoted = version is not None
    if not standing:
        promoted, reason = False, "None is promoted: people took these very models out of production before."
    elif not promoted:
        promoted, reason = _judge(store, client, winner, checked, data, key, complete=set(checked.models) <= set(names))
        if promoted and not promote:
            promoted, reason = False, f"Only compared. Else: {reason}"
        if best is not runs[0]:
            first = runs[0].data.tags
            reason += f" {first['model']} ranks first, but was rolled back: {gone[first['model_version']]}."
    client.set_tag(best.info.run_id, "selection_reason", reason)
    client.set_model_version_tag(winner.name, winner.version, "selection_reason", reason)
    if promoted:
        version = version or str(registry.promote(client, winner, key, reason).version)
        client.log_text(best.info.run_id, _card(client, best, version, reason, data, over_years), MODEL_CARD)
    client.log_text(best.info.run_id, json.dumps(board, indent=1), LEADERBOARD)
    client.log_text(best.info.run_id, _page(client, best, runs, board, reason, failed, data), REPORT)
    log.info("Leaderboard:\n%s\n%s", report.leaderboard(board), reason)
    return {
        "promoted": promoted,
        "reason": reason,
        "winner": winner.name,
        "production_version": registry.newest(client, registry.BEST),
        "report": f"runs:/{best.info.run_id}/{REPORT}",
        "failed": failed,
        "note": _note(board, failed, failures, reason),
    }


def _over_years(store: Store, client: MlflowClient, run: Any, checked: Catalogue, data: Json) -> Mapping[str, float]:
    """Judge the best model on later years by earlier ones, as `temporal_*`; a failure does not end the selection."""
    from mlflow.entities import Metric

    version, model = run.data.tags["model_version"], run.data.tags["model"]
    params = json.loads(store.read_version(MODELS, f"{version}/search", "search.json"))["params"]
    try:
        found = judged_over_years(store, checked, model, version, params, data["version"])
    except ModelError as error:
        log.warning("%s is not judged over years: %s", model, error)
        return {}
    now = int(time.time() * 1000)
    client.log_batch(run.info.run_id, [Metric(name, value, now, 0) for name, value in found.items()])
    return found


def _note(
    board: Sequence[Mapping[str, Any]], failed: Mapping[str, str], failures: Mapping[str, str], reason: str
) -> str:
    """Write the run's note: what failed, the verdict, the leaderboard.

    Airflow takes 1,000 characters at most; some are left for a sentence of the task that reloads.
    """
    told = [f"- {name} failed: {why[:150]}" for name, why in failed.items()]
    told += [f"- {name} is registered, but {why[:150]}" for name, why in failures.items() if name not in failed]
    ranked = [f"{i}. {row['model']}: {row['selection_score']:.4f}" for i, row in enumerate(board, 1)]
    shown = told[:4]
    while len("\n".join(shown)) > 500:
        shown.pop()
    more = [f"- … and {len(told) - len(shown)} more"] if len(told) > len(shown) else []
    lines = [*shown, *more, *([""] if told else []), f"**{reason[:300]}**", ""]
    for line in ranked:
        if len("\n".join([*lines, line])) > 870:
            lines.append("…")
            break
        lines.append(line)
    return "\n".join(lines)


def _failed_models(names: Sequence[str], failures: Mapping[str, str], runs: Sequence[Any]) -> dict[str, str]:
    registered = {r.data.tags["model"] for r in runs if "registered_version" in r.data.tags}
    return {
        name: failures.get(name, "it ended without a reason; see its log") for name in names if name not in registered
    }


def _judge(
    store: Store, client: MlflowClient, winner: Any, checked: Catalogue, data: Json, key: bytes, *, complete: bool
) -> tuple[bool, str]:
    """Tell whether the winner replaces the reigning model, and why.

    `complete`: the run was of the whole catalogue. Only then may its best replace a model that cannot be compared.
    """
    version, name = registry.newest(client, registry.BEST), winner.name
    if version is None:
        return True, f"{name} version {winner.version} is promoted: no model reigned before."
    if (foregone := _foregone(client, winner, version, data)) is not None:
        return foregone
    try:
        reigning = registry.load(client, registry.BEST, version, key, features.version())
    except ModelError as error:
        unusable = f"the reigning model cannot be used. {error.cause}"
        if complete:
            return True, f"{name} version {winner.version} is promoted: {unusable}"
        return False, f"{name} is not promoted: {unusable} Run the whole catalogue: its best model is promoted."
    challenger = registry.load(client, name, str(winner.version), key, features.version())
    test = dataset(store, data["version"], "global_test")
    a, b = (evaluate.probabilities(m.estimator, test.x).argmax(axis=1) for m in (challenger, reigning))
    gain = bootstrap.paired_gain(test.y, a, b, test.accident, checked.selection.weights)
    measured = (
        f"gain over {reigning.lineage.model} (BestModel {version}) on global_test {gain.value:+.4f}, "
        f"95 % interval {gain.low:+.4f} to {gain.high:+.4f}, needed above {checked.selection.min_gain:.4f}"
    )
    if gain.low > checked.selection.min_gain:
        return True, f"{name} version {winner.version} is promoted: {measured}."
    return False, f"{name} is not promoted: {measured}."


def _foregone(client: MlflowClient, winner: Any, version: str, data: Json) -> tuple[bool, str] | None:
    """Tell what needs no comparison: whether the winner is promoted, and why; None when it is to be compared."""
    name = winner.name
    reigning_sample = registry.lineage_of(client.get_model_version(registry.BEST, version)).sample
    if data["sample"] and not reigning_sample:
        return False, f"{name} is not promoted: it was trained on generated data, the reigning model on real data."
    if reigning_sample and not data["sample"]:
        return True, f"{name} version {winner.version} is promoted: the reigning model was trained on generated data."
    if data["newest_year"] not in data["years"]:
        return False, f"{name} is not promoted: the run left out {data['newest_year']}, the newest year that is there."
    return None


def _dummy(store: Store, checked: Catalogue, data: Json) -> Json:
    """Return the leaderboard's row of a prediction that knows nothing of the accident; it is never promoted."""
    found = evaluate.baseline(
        dataset(store, data["version"], "train_test"),
        dataset(store, data["version"], "global_test"),
        n_splits=checked.defaults.evaluation_folds,
        seed=checked.defaults.seed + 1,
    )
    score = evaluate.selection_score(found, checked.selection.weights)
    return {"model": "Dummy", "trained": False, **found, "selection_score": score}


def _groups(client: MlflowClient, run: Any) -> list[Json]:
    return list(_json_artifact(client, run, GROUPS).get("rows", []))


def _json_artifact(client: MlflowClient, run: Any, path: str) -> Json:
    content = registry.artifact(client, run.info.run_id, path)
    return dict(json.loads(content)) if content else {}


def _card(
    client: MlflowClient, run: Any, version: str, reason: str, data: Json, over_years: Mapping[str, float]
) -> str:
    specification = registry.artifact(client, run.info.run_id, "specification.json") or b""
    return report.model_card(
        model=run.data.tags["model"],
        version=version,
        reason=reason,
        specification=specification.decode(),
        params={name: value for name, value in run.data.params.items() if "__" in name},
        metrics={**run.data.metrics, **over_years},
        tags=run.data.tags,
        data=data,
        groups=_groups(client, run),
        rules=_json_artifact(client, run, DECISION),
    )


def _page(
    client: MlflowClient,
    best: Any,
    runs: Sequence[Any],
    board: Sequence[Json],
    reason: str,
    failed: Mapping[str, str],
    data: Json,
) -> str:
    """Return the report of a run: leaderboard, what changed since each model's run before, the winner's pictures."""
    before = {r.data.tags["model"]: found for r in runs if (found := registry.run_before(client, r)) is not None}
    shown = {"Models with 95 % intervals": report.png(pictures.leaderboard(board))}
    for path in PICTURES:
        content = registry.artifact(client, best.info.run_id, path)
        if content is not None:
            shown[f"{best.data.tags['model']}: {path.removesuffix('.png').replace('_', ' ')}"] = content
    return report.page(
        dag_run_id=best.data.tags["airflow.dag_run_id"],
        reason=reason,
        rows=board,
        before={name: run.data.metrics for name, run in before.items()},
        failed=failed,
        data=data,
        groups=_groups(client, best),
        pictures=shown,
    )
