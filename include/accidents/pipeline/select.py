"""The end of a run: rank the models, compare the best with the champion, promote it when it is better, and report.

The winner and the champion are compared on the same held-out people, by a paired bootstrap over accidents.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from include.accidents.errors import ModelError
from include.accidents.features.version import feature_version
from include.accidents.models import bootstrap, evaluate, judging
from include.accidents.pipeline.contracts import CleanData, Json, ModelRun, Selection
from include.accidents.pipeline.inputs import kept_catalogue, load_split, plan_of
from include.accidents.pipeline.judge import judged_over_years
from include.accidents.registry import loading, promotion, signing, tracking
from include.accidents.registry.names import (
    BASELINE,
    BEST,
    DAG_RUN,
    DECISION,
    GROUPS,
    LEADERBOARD,
    MODEL_CARD,
    PLAN,
    PROMOTED_BY,
    REPORT,
    of_selection,
)
from include.accidents.reporting import pages, plots, texts
from include.accidents.storage.buckets import MODELS

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from include.accidents.models.specification import Catalogue
    from include.accidents.storage.versions import Store

log = logging.getLogger(__name__)

# Plots of the best model, where its evaluation drew them.
PLOTS = ("confusion_matrix.png", "cv_results.png", "precision_recall.png", "reliability.png", "importance.png")


def select_best(
    store: Store,
    client: MlflowClient,
    names: Sequence[str],
    catalogue_version: str,
    data: CleanData,
    dag_run_id: str,
    failures: Mapping[str, str],
    key: bytes,
    *,
    promote: bool,
) -> Selection:
    """Rank the models of this run, compare the winner with the champion, and promote it when it is better.

    Without `promote` everything is compared and reported, and production does not change.

    Returns
    -------
    The version in production, the reason, the failed models, the report's address and the run's note.

    Raises
    ------
    ModelError
        When no model of this run was registered.
    """
    ranked = _ranked(client, names, dag_run_id, failures)
    checked = kept_catalogue(store, catalogue_version)
    over_years = _over_years(store, client, ranked.best, checked, data)
    board = [
        {"model": r.data.tags["model"], **r.data.metrics, **(over_years if r is ranked.best else {})}
        for r in ranked.runs
    ]
    board = sorted([*board, _dummy(store, checked, data)], key=lambda row: -row["selection_score"])
    complete = set(checked.models) <= set(names)
    version, reason = _decide(store, client, ranked, checked, data, dag_run_id, key, complete=complete, promote=promote)
    run_id = ranked.best.info.run_id
    if version is not None:
        client.log_text(run_id, _card(client, ranked.best, version, reason, data, over_years), MODEL_CARD)
    report = of_selection(dag_run_id, REPORT)
    client.log_text(run_id, json.dumps(board, indent=1), of_selection(dag_run_id, LEADERBOARD))
    client.log_text(run_id, _page(client, ranked, board, reason, dag_run_id, data), report)
    log.info("Leaderboard:\n%s\n%s", texts.leaderboard(board), reason)
    return Selection(
        promoted=version is not None,
        reason=reason,
        winner=ranked.best.data.tags["model"],
        production_version=loading.newest(client, BEST),
        report=f"runs:/{run_id}/{report}",
        failed=ranked.failed,
        note=_note(board, ranked.failed, failures, reason),
    )


@dataclass(frozen=True)
class Ranked:
    """The runs of MLflow that this run of the DAG registered.

    Attributes
    ----------
    runs
        Best first by `selection_score`.
    failed
        The reason of each model that was not registered.
    rolled_back
        Why people took models out of production, by model version. Such a model is not promoted again, however often
        it is made.
    """

    runs: list[Any]
    failed: dict[str, str]
    rolled_back: dict[str, str]

    @property
    def standing(self) -> list[Any]:
        """The runs whose models were not rolled back."""
        return [run for run in self.runs if run.data.tags.get("model_version") not in self.rolled_back]

    @property
    def best(self) -> Any:
        """The run that is compared with the champion."""
        return (self.standing or self.runs)[0]


def _ranked(client: MlflowClient, names: Sequence[str], dag_run_id: str, failures: Mapping[str, str]) -> Ranked:
    """Rank the registered models; ModelError when there is none."""
    registered_runs = tracking.runs_of(client, dag_run_id)
    failed = _failed_models(names, failures, registered_runs)
    for name, reason in failed.items():
        log.error("%s failed: %s", name, reason)
    runs = [r for r in registered_runs if "registered_version" in r.data.tags and r.data.tags["model"] in names]
    if not runs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise ModelError(
            f"No model of this run was registered ({reasons}).", "see the red tasks' logs, then clear them."
        )
    runs.sort(key=lambda r: -r.data.metrics["selection_score"])
    return Ranked(runs, failed, promotion.rolled_back(client))


def _decide(
    store: Store,
    client: MlflowClient,
    ranked: Ranked,
    checked: Catalogue,
    data: CleanData,
    dag_run_id: str,
    key: bytes,
    *,
    complete: bool,
    promote: bool,
) -> tuple[str | None, str]:
    """Promote the winner if it is better; return its version of BestModel (None: not promoted) and the reason."""
    best = ranked.best
    winner = client.get_model_version(best.data.tags["model"], best.data.tags["registered_version"])
    present = promotion.in_production(client, best.info.run_id)
    version = None
    if not ranked.standing:
        promoted, reason = False, "None is promoted: people took all of these models out of production before."
    elif present is not None and present.tags.get(PROMOTED_BY) == dag_run_id:
        # An earlier try of this task promoted it, and ended before it could report it.
        promoted, version, reason = True, str(present.version), present.tags.get("promotion_reason", "")
    else:
        promoted, reason = _judge(store, client, winner, checked, data, key, complete=complete)
        if promoted and not promote:
            promoted, reason = False, f"Only compared. Without that: {reason}"
        if best is not ranked.runs[0]:
            first = ranked.runs[0].data.tags
            why = ranked.rolled_back[first["model_version"]]
            reason += f" {first['model']} ranks first, but was rolled back: {why}."
    if promoted or best.data.tags[DAG_RUN] == dag_run_id:  # else it keeps the reason of the run that made it
        client.set_tag(best.info.run_id, "selection_reason", reason)
        client.set_model_version_tag(winner.name, winner.version, "selection_reason", reason)
    if not promoted:
        return None, reason
    return version or str(promotion.promote(client, winner, key, reason, dag_run_id).version), reason


def _over_years(
    store: Store, client: MlflowClient, run: Any, checked: Catalogue, data: CleanData
) -> Mapping[str, float]:
    """Judge the best model over years, as `temporal_*`; a failure does not end the selection."""
    from mlflow.entities import Metric

    version, model = run.data.tags["model_version"], run.data.tags["model"]
    params = json.loads(store.read_version(MODELS, f"{version}/search", "search.json"))["params"]
    max_rows = plan_of(store, version)["max_rows"]
    model_run = ModelRun(
        model=model, version=version, catalogue="", method="", data=data, params=params, max_rows=max_rows
    )
    try:
        metrics = judged_over_years(store, checked, model_run)
    except ModelError as error:
        log.warning("%s is not judged over years: %s", model, error)
        return {}
    now = int(time.time() * 1000)
    client.log_batch(run.info.run_id, [Metric(name, value, now, 0) for name, value in metrics.items()])
    return metrics


def _note(
    board: Sequence[Mapping[str, Any]], failed: Mapping[str, str], failures: Mapping[str, str], reason: str
) -> str:
    """Write the run's note: the failures, the verdict, the leaderboard.

    Returns
    -------
    At most 1,000 characters, as Airflow requires, less some for two sentences of the DAG's tasks.
    """
    failed_lines = [f"- {name} failed: {why[:150]}" for name, why in failed.items()]
    failed_lines += [f"- {name} is registered, but {why[:150]}" for name, why in failures.items() if name not in failed]
    ranked = [f"{i}. {row['model']}: {row['selection_score']:.4f}" for i, row in enumerate(board, 1)]
    shown = failed_lines[:4]
    while len("\n".join(shown)) > 500:
        shown.pop()
    more = [f"- … and {len(failed_lines) - len(shown)} more"] if len(failed_lines) > len(shown) else []
    lines = [*shown, *more, *([""] if failed_lines else []), f"**{reason[:300]}**", ""]
    for line in ranked:
        if len("\n".join([*lines, line])) > 800:
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
    store: Store, client: MlflowClient, winner: Any, checked: Catalogue, data: CleanData, key: bytes, *, complete: bool
) -> tuple[bool, str]:
    """Return whether the winner replaces the champion, and the reason.

    Parameters
    ----------
    complete
        Whether the run was of the whole catalogue. Only then may its best replace a model that cannot be compared.

    Returns
    -------
    Whether it is promoted, and one sentence for people.
    """
    version, name = loading.newest(client, BEST), winner.name
    if version is None:
        return True, f"{name} version {winner.version} is promoted: there was no champion before."
    if (decided := _decide_without_comparison(client, winner, version, data)) is not None:
        return decided
    try:
        champion = loading.load(client, BEST, version, key, feature_version())
    except ModelError as error:
        unusable = f"the champion cannot be used. {error.cause}"
        if complete:
            return True, f"{name} version {winner.version} is promoted: {unusable}"
        return False, f"{name} is not promoted: {unusable} Run the whole catalogue: its best model is promoted."
    if champion.lineage.run_id == winner.run_id:
        return False, f"{name} stays in production ({BEST} {version}): nothing has changed."
    return _compared(store, client, winner, champion, checked, data, key)


def _compared(
    store: Store, client: MlflowClient, winner: Any, champion: Any, checked: Catalogue, data: CleanData, key: bytes
) -> tuple[bool, str]:
    """Compare both models on the same held-out people; return whether the winner replaces the champion, and why."""
    name = winner.name
    challenger = loading.load(client, name, str(winner.version), key, feature_version())
    test = load_split(store, data, "global_test")
    a, b = (evaluate.probabilities(m.estimator, test.x).argmax(axis=1) for m in (challenger, champion))
    gain = bootstrap.paired_gain(test.y, a, b, test.accident, checked.selection.weights)
    measured = (
        f"gain over {champion.lineage.model} (BestModel {champion.version}) on global_test {gain.value:+.4f}, "
        f"95 % interval {gain.low:+.4f} to {gain.high:+.4f}, needed above {checked.selection.min_gain:.4f}"
    )
    if gain.low > checked.selection.min_gain:
        return True, f"{name} version {winner.version} is promoted: {measured}."
    return False, f"{name} is not promoted: {measured}."


def _decide_without_comparison(
    client: MlflowClient, winner: Any, version: str, data: CleanData
) -> tuple[bool, str] | None:
    """Return whether the winner is promoted, and why, where no comparison is needed; else None."""
    name = winner.name
    champion_sample = signing.lineage_of(client.get_model_version(BEST, version)).sample
    if data.sample and not champion_sample:
        return False, f"{name} is not promoted: it was trained on generated data, the champion on real data."
    if champion_sample and not data.sample:
        return True, f"{name} version {winner.version} is promoted: the champion was trained on generated data."
    if data.newest_year not in data.years:
        return False, f"{name} is not promoted: the run left out {data.newest_year}, the newest year."
    return None


def _dummy(store: Store, checked: Catalogue, data: CleanData) -> Json:
    """Return the leaderboard's row of the baseline, which knows nothing of the accident and is never promoted."""
    metrics = judging.baseline(
        load_split(store, data, "train_test"),
        load_split(store, data, "global_test"),
        n_splits=checked.defaults.evaluation_folds,
        seed=checked.defaults.seed + 1,
    )
    score = evaluate.selection_score(metrics, checked.selection.weights)
    return {"model": BASELINE, "trained": False, **metrics, "selection_score": score}


def _groups(client: MlflowClient, run: Any) -> list[Json]:
    return list(_json_artifact(client, run, GROUPS).get("rows", []))


def _json_artifact(client: MlflowClient, run: Any, path: str) -> Json:
    content = tracking.artifact(client, run.info.run_id, path)
    return dict(json.loads(content)) if content else {}


def _card(
    client: MlflowClient, run: Any, version: str, reason: str, data: CleanData, over_years: Mapping[str, float]
) -> str:
    specification = tracking.artifact(client, run.info.run_id, "specification.json") or b""
    return pages.model_card(
        model=run.data.tags["model"],
        version=version,
        reason=reason,
        specification=specification.decode(),
        params={name: value for name, value in run.data.params.items() if "__" in name},
        metrics={**run.data.metrics, **over_years},
        tags=run.data.tags,
        data=data.to_json(),
        groups=_groups(client, run),
        rules=_json_artifact(client, run, DECISION),
        plan=_json_artifact(client, run, PLAN),
    )


def _page(
    client: MlflowClient, ranked: Ranked, board: Sequence[Json], reason: str, dag_run_id: str, data: CleanData
) -> str:
    """Return the report of a run: leaderboard, changes since each model's previous run, the winner's plots."""
    best = ranked.best
    before = {
        r.data.tags["model"]: earlier for r in ranked.runs if (earlier := tracking.run_before(client, r)) is not None
    }
    shown = {"Models with 95 % intervals": plots.png(plots.leaderboard(board))}
    for path in PLOTS:
        content = tracking.artifact(client, best.info.run_id, path)
        if content is not None:
            shown[f"{best.data.tags['model']}: {path.removesuffix('.png').replace('_', ' ')}"] = content
    return pages.page(
        dag_run_id=dag_run_id,
        reason=reason,
        rows=board,
        before={name: run.data.metrics for name, run in before.items()},
        failed=ranked.failed,
        data=data.to_json(),
        winner=best.data.tags["model"],
        groups=_groups(client, best),
        plots=shown,
    )
