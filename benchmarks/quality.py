"""Benchmark of the shipped models on real accidents: their quality at all levels of knowledge, and a test for leakage.

`RAW` names a folder of CSVs (default: the real files of 2021 beside the project), `MODEL` the model of the main figures
(default: the best shipped one), `MODELS` the models of the part `models` (default: all), `MODELS_FILE` the catalogue,
`FOLDS` the number of the five folds that are held out. Prints one JSON line for each figure; exit status 1 when a
figure misses its bar. Folds and models run side by side, one on each core. `PARTS` names the parts: levels, models,
leakage.

Five outer folds of whole accidents are drawn by a hash with a fixed key: no tuning, here or in the pipeline, moves an
accident from one fold to another. Hyper-parameters are the shipped ones; where the catalogue leaves a choice, it is
searched inside the outer fold's training part. Unknown fields are removed from the scenes before the features are made,
as a request leaves them out.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from include.accidents.data import communes, dataset, files, reader, split
from include.accidents.data.scenes import Scenes
from include.accidents.features import clean
from include.accidents.features.arrays import DRIVER
from include.accidents.features.knowledge import DRIVERS_ALONE, STATES
from include.accidents.features.levels import FIELDS, LEVELS, ROUGH_YEARS, Level
from include.accidents.models import candidates, catalogue, decision, evaluate, judging, search, training
from include.accidents.models.evaluate import SEVERE
from include.accidents.models.specification import Catalogue

RAW = Path(os.environ.get("RAW") or ROOT.parent / "shared" / "data" / "baac-2021")
MODELS_FILE = Path(os.environ.get("MODELS_FILE") or ROOT / "include" / "models.json")
MODEL = os.environ.get("MODEL") or "LightGBM"
MODELS = os.environ.get("MODELS")
N_FOLDS = 5
FOLDS = int(os.environ.get("FOLDS") or N_FOLDS)
KEY = b"accidents/outer_folds"
PEOPLE_OF_A_FIELD = 4_000  # held-out people of each fold on whom a field that is left out is judged
LEAKAGE_ROWS = 10_000
LEAKAGE_BAR = 0.02  # AUC of severe: three standard errors on that many people; a split by row gains 0.03
RECORD_BARS = {"f1_weighted": 0.7215, "f1_macro": 0.566, "auc_severe": 0.906, "accident_auc_severe": 0.865}
SHOWN = (
    *("f1_weighted", "f1_macro", "auc_severe", "accuracy", "roc_auc_ovr", "log_loss", "calibration_error"),
    *("three_class_f1_macro", "severe_predicted", "severe_true", "accident_severe_predicted", "accident_severe_true"),
    *("accident_auc_severe", "accident_auc_killed", "expected_killed_ratio"),
    *("alert_share", "alert_recall", "alert_precision", "person_recall", "person_precision"),
)
LOWER_IS_BETTER = ("log_loss", "calibration_error", "_error", "_gap", "lost_auc")
# Bars of the best model, and of every shipped one (`EACH_`): calibration error; mean predicted share against the true.
LEVEL_CALIBRATION, LEVEL_SHARE, LEVEL_ACCIDENTS = 0.015, 0.01, 0.02
FIELD_CALIBRATION, FIELD_SHARE = 0.02, 0.015
EACH_CALIBRATION, EACH_SHARE = 0.03, 0.02
RECALL_GAP, LOST_AUC = 0.02, 0.005
WITHOUT_COORDINATES = "record_without_coordinates"
BY_COMMUNE = "first_call_by_commune"


@dataclass(frozen=True)
class Known:
    """The people of every year as they are known in one way: their features, and their positions among all people."""

    data: dataset.Dataset
    rows: np.ndarray


class Years:
    """Years of scenes, of which fields can be left out."""

    def __init__(self, folder: Path) -> None:
        self._years = []
        for year, tables in files.find(folder).items():
            contents = {table: (path.name, path.read_bytes()) for table, path in tables.items()}
            self._years.append(reader.read_year(contents, year)[0])
        self.complete = self.known(lambda scenes: scenes).data

    def known(self, change: Any) -> Known:
        """Return the people whose severity is known, with the features of changed scenes."""
        parts, kept = [], []
        for scenes in self._years:
            changed = change(scenes)
            data, _ = clean.clean(changed)
            kept.append(changed.people.index.to_numpy()[changed.people["grav"].notna().to_numpy()])
            parts.append(data)
        positions = self._positions(kept)
        return Known(dataset.join(parts), positions)

    def _positions(self, kept: list[np.ndarray]) -> np.ndarray:
        """Return the positions of the people of each year among all whose severity is known."""
        positions, start = [], 0
        for scenes, index in zip(self._years, kept, strict=True):
            known = scenes.people["grav"].notna().to_numpy()
            place = np.cumsum(known) - 1
            positions.append(start + place[index])
            start += int(known.sum())
        return np.concatenate(positions)


def without(fields: frozenset[str], scenes: Scenes) -> Scenes:
    """Leave fields out of scenes."""

    def drop(table: pd.DataFrame) -> pd.DataFrame:
        return table.drop(columns=[name for name in table if name in fields])

    return Scenes(drop(scenes.accidents), drop(scenes.vehicles), drop(scenes.people))


def at_level(level: Level, scenes: Scenes) -> Scenes:
    """Leave out the fields that are not known at a level, and make those rough that are known roughly."""
    if "an_nais" in level.rough:
        year = scenes.accidents["an"].to_numpy()[scenes.people["accident"].to_numpy()]
        age = year - scenes.people["an_nais"].to_numpy()
        middle = np.floor(age / ROUGH_YEARS) * ROUGH_YEARS + ROUGH_YEARS / 2
        scenes = replace(scenes, people=scenes.people.assign(an_nais=(year - middle).astype(np.float32)))
    return without(level.unknown, scenes)


def by_commune(scenes: Scenes) -> Scenes:
    """Leave the fields of a first call, and the commune: its position stands for the accident's."""
    codes = scenes.accidents["com"]
    by_code = {code: communes.find(code) for code in codes.dropna().unique()}
    lat, long = (
        codes.map({code: getattr(each, name) for code, each in by_code.items() if each}).astype(np.float32)
        for name in ("lat", "long")
    )
    called = at_level(LEVELS["first_call"], scenes)
    return replace(called, accidents=called.accidents.assign(lat=lat.to_numpy(), long=long.to_numpy()))


def drivers_alone(scenes: Scenes) -> Scenes:
    """Leave the fields of a first call, and of the people one driver in each vehicle."""
    called = at_level(LEVELS["first_call"], scenes)
    drivers = called.people[(called.people["catu"] == DRIVER) & (called.people["vehicle"] >= 0)]
    return replace(
        called,
        accidents=called.accidents.assign(people_assumed=np.float32(1)),
        people=drivers[~drivers["vehicle"].duplicated()],
    )


def ways(scenes: Scenes) -> dict[str, Known]:
    """Return the people as they are known in each way that is judged."""
    return {
        **{level.name: scenes.known(partial(at_level, level)) for level in LEVELS.values()},
        WITHOUT_COORDINATES: scenes.known(partial(without, frozenset({"lat", "long"}))),
        BY_COMMUNE: scenes.known(by_commune),
        DRIVERS_ALONE: scenes.known(drivers_alone),
    }


def outer_folds(accident: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the (train, test) positions of each outer fold."""
    distinct, inverse = np.unique(accident, return_inverse=True)
    drawn = [
        int.from_bytes(hashlib.blake2b(int(n).to_bytes(8, "big"), digest_size=8, key=KEY).digest(), "big") % N_FOLDS
        for n in distinct
    ]
    fold = np.asarray(drawn)[inverse]
    for k in range(N_FOLDS):
        yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)


def fitted(checked: Catalogue, name: str, data: dataset.Dataset) -> tuple[Any, dict[str, Any]]:
    """Search and train a model on `data`."""
    spec = checked.model(name)
    result = search.search(spec, checked.defaults, data)
    return training.train(spec, checked.defaults, result.params, data), result.params


def rules_of(checked: Catalogue, name: str, params: Any, data: dataset.Dataset) -> decision.Decision:
    """Learn the decision's rules by cross-validation, as the pipeline does."""
    spec, defaults = checked.model(name), checked.defaults
    validated = judging.cross_validate(
        partial(training.fit, spec, defaults, params),
        data,
        n_splits=defaults.evaluation_folds,
        seed=defaults.seed + 1,
        max_rows=spec.max_rows,
    )
    return decision.learn(validated.judged, decision.recall_by_level(checked.decision), validated.sharpen)


def judgements(model: Any, whole: dataset.Dataset, known: Known, test: np.ndarray) -> judging.Judgements:
    """Judge a model on the held-out people who are known in one way."""
    _, accident = np.unique(whole.accident[test], return_inverse=True)
    people = np.zeros((int(accident.max()) + 1, 4), dtype=np.int64)
    np.add.at(people, (accident, whole.y[test]), 1)
    of_row = np.full(len(whole.y), -1)
    of_row[test] = accident
    chosen = np.flatnonzero(of_row[known.rows] >= 0)
    data = known.data.take(chosen)
    judged_accidents, position = np.unique(of_row[known.rows[chosen]], return_inverse=True)
    return judging.Judgements(evaluate.probabilities(model, data.x), data.y, position, people[judged_accidents])


def state_of(way: str) -> str:
    """Return the state whose rules decide scenes that are known in one way."""
    return {WITHOUT_COORDINATES: "record", BY_COMMUNE: "first_call"}.get(way, way)


def quality(checked: Catalogue, whole: dataset.Dataset, known: dict[str, Known]) -> bool:
    """Print the figures of the best model in each way; return whether every bar is met."""
    folds = list(outer_folds(whole.accident))[:FOLDS]
    values: dict[str, list[float]] = {}
    for of_fold in parallel(delayed(judge_fold)(checked, whole, known, *fold) for fold in folds):
        for name, value in of_fold.items():
            values.setdefault(name, []).append(value)
    shown = [show_way(way, values) for way in known]  # every way is printed, even after a missed bar
    return all(shown)


def judge_fold(
    checked: Catalogue, whole: dataset.Dataset, known: dict[str, Known], train: np.ndarray, test: np.ndarray
) -> dict[str, float]:
    """Return the figures of the best model on one held-out fold, as `way.figure`."""
    learned, values = whole.take(train), {}
    model, params = fitted(checked, MODEL, learned)
    rules = rules_of(checked, MODEL, params, learned)
    for way, of_way in known.items():
        judged = judgements(model, whole, of_way, test)
        state = state_of(way)
        metrics = decision.metrics(judged, rules, state)
        metrics["promised_recall"] = rules[state].recall
        if way in LEVELS and way != "record":
            alone = alone_at(checked, params, of_way.data.take(train))
            metrics["auc_of_a_model_for_it_alone"] = auc(judged.y, evaluate.probabilities(alone, of_way.data.x[test]))
        values |= {f"{way}.{name}": value for name, value in metrics.items()}
    return values


def parallel(calls: Iterator[Any]) -> list[Any]:
    """Run calls on every core, a thread each."""
    return list(Parallel(n_jobs=-1)(calls))


def alone_at(checked: Catalogue, params: Any, data: dataset.Dataset) -> Any:
    """Train the model for one level alone, on data as they are known there."""
    spec = checked.model(MODEL).model_copy(update={"masked_share": 0.0})
    return training.train(spec, checked.defaults, params, data)


def show_way(way: str, values: dict[str, list[float]]) -> bool:
    """Print the figures of one way; return whether its bars are met."""
    mean = {name: float(np.mean(values[f"{way}.{name}"])) for name in (*SHOWN, "promised_recall")}
    good = True
    for name in SHOWN:
        bar = RECORD_BARS.get(name) if way == "record" else None
        if way == WITHOUT_COORDINATES and name == "auc_severe":
            bar = 0.897
        if name == "calibration_error" and (way in LEVELS or way == BY_COMMUNE):
            bar = LEVEL_CALIBRATION
        good &= print_figure(f"{way}.{name}", mean[name], bar=bar, interval=interval(values[f"{way}.{name}"]))
    judged = way in STATES
    for name, gap, bar in (
        ("severe_share_gap", mean["severe_predicted"] - mean["severe_true"], LEVEL_SHARE),
        ("accident_share_gap", mean["accident_severe_predicted"] - mean["accident_severe_true"], LEVEL_ACCIDENTS),
        ("alert_recall_gap", mean["alert_recall"] - mean["promised_recall"], RECALL_GAP),
    ):
        good &= print_figure(f"{way}.{name}", abs(gap), bar=bar if judged else None)
    if f"{way}.auc_of_a_model_for_it_alone" in values:
        alone = float(np.mean(values[f"{way}.auc_of_a_model_for_it_alone"]))
        print_figure(f"{way}.auc_of_a_model_for_it_alone", alone)
        good &= print_figure(f"{way}.lost_auc", alone - mean["auc_severe"], bar=LOST_AUC)
    return good


def interval(values: list[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean over the five folds."""
    if len(values) < N_FOLDS:
        return None
    margin = 2.776 * float(np.std(values, ddof=1)) / N_FOLDS**0.5  # Student's t, four degrees of freedom
    return float(np.mean(values)) - margin, float(np.mean(values)) + margin


# --- every model, every field ------------------------------------------------------------------------------


def every_model(checked: Catalogue, scenes: Scenes, known: dict[str, Known]) -> bool:
    """Print the figures of each shipped model, at each level and without each field; return whether bars are met."""
    whole = scenes.complete
    folds = [(train, sampled(whole, test)) for train, test in list(outer_folds(whole.accident))[:FOLDS]]
    rows = np.concatenate([test for _, test in folds])
    matrices = {f"level {way}": of_way.data.x[rows] for way, of_way in known.items() if way in LEVELS}
    for field in FIELDS:
        matrices[f"without {field}"] = scenes.known(partial(without, frozenset({field}))).data.x[rows]
    names = MODELS.split(",") if MODELS else list(checked.models)
    ends = np.cumsum([len(test) for _, test in folds])
    asked = [
        {way: x[end - len(test) : end] for way, x in matrices.items()}
        for (_, test), end in zip(folds, ends, strict=True)
    ]
    predicted = parallel(
        delayed(predict_ways)(checked, name, whole.take(train), x)
        for name in names
        for (train, _), x in zip(folds, asked, strict=True)
    )
    good = True
    for i, name in enumerate(names):
        of_model = predicted[i * len(folds) : (i + 1) * len(folds)]
        proba = {way: np.concatenate([part[way] for part in of_model]) for way in matrices}
        good &= show_model(name, whole.y[rows], proba)
    return good


def predict_ways(
    checked: Catalogue, name: str, learned: dataset.Dataset, asked: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Train a model; return the probabilities that it predicts in each way."""
    model, _ = fitted(checked, name, learned)
    return {way: evaluate.probabilities(model, x) for way, x in asked.items()}


def sampled(whole: dataset.Dataset, test: np.ndarray) -> np.ndarray:
    """Return some of the held-out people, in whole accidents."""
    return split.sample_accidents(test, whole.accident, whole.y, PEOPLE_OF_A_FIELD, 0)


def show_model(name: str, y: np.ndarray, proba: dict[str, np.ndarray]) -> bool:
    """Print the worst field and every level of one model; return whether its bars are met."""
    true = float(np.isin(y, SEVERE).mean())
    error = {way: evaluate.calibration_error(y, p) for way, p in proba.items()}
    gap = {way: abs(float(p[:, SEVERE].sum(axis=1).mean()) - true) for way, p in proba.items()}
    best = name == MODEL
    good = True
    for way in (way for way in proba if way.startswith("level ")):
        level = way.removeprefix("level ")
        good &= print_figure(f"{level}.calibration_error", error[way], bar=EACH_CALIBRATION, model=name)
        good &= print_figure(f"{level}.severe_share_gap", gap[way], bar=EACH_SHARE, model=name)
    fields = [way for way in proba if way.startswith("without ")]
    for figure, values, bar in (
        ("calibration_error", error, FIELD_CALIBRATION if best else EACH_CALIBRATION),
        ("severe_share_gap", gap, FIELD_SHARE if best else EACH_SHARE),
    ):
        worst = max(fields, key=lambda way: values[way])
        good &= print_figure(f"worst_single_field.{figure}", values[worst], bar=bar, model=name, field=worst.split()[1])
        for way in fields if best else ():
            print_figure(f"without.{way.split()[1]}.{figure}", values[way], bar=bar, model=name)
    return good


def leakage(checked: Catalogue, data: dataset.Dataset) -> bool:
    """Train every model on severities of other accidents: it can learn nothing, unless something leaks.

    Accidents with the same number of people exchange their lists of severities, so that people of one accident still
    resemble each other. A split by row would then put a person's neighbours into the training part. A model can only
    learn how severities depend on the number of people, and the baseline knows that.
    """
    data = data.take(split.sample_accidents(np.arange(len(data.y)), data.accident, data.y, LEAKAGE_ROWS, 0))
    shuffled = dataset.Dataset(data.x, exchanged(data.y, data.accident), data.accident)
    gains = parallel(delayed(gain)(checked, name, shuffled) for name in checked.models)
    shown = [
        print_figure("leakage_gain", value, model=name, bar=LEAKAGE_BAR, better="lower")
        for name, value in zip(checked.models, gains, strict=True)
    ]
    return all(shown)


def gain(checked: Catalogue, name: str, data: dataset.Dataset) -> float:
    """Return the AUC of severe that a model gains over the shares by number of people, mean over the folds."""
    spec, size, gains = checked.model(name), people_of(data.accident), []
    for train, test in outer_folds(data.accident):
        learned, held_out = data.take(train), data.take(test)
        model = training.train(spec, checked.defaults, candidates.candidates(spec, checked.defaults)[0], learned)
        known = shares(learned.y, size[train], size[test])
        gains.append(auc(held_out.y, evaluate.probabilities(model, held_out.x)) - auc(held_out.y, known))
    return float(np.mean(gains))


def people_of(accident: np.ndarray) -> np.ndarray:
    """Return the number of people of each person's accident, at most 6."""
    _, inverse, counts = np.unique(accident, return_inverse=True, return_counts=True)
    return np.minimum(counts[inverse], 6)


def exchanged(y: np.ndarray, accident: np.ndarray) -> np.ndarray:
    """Return `y` with the lists of accidents of the same size exchanged at random."""
    order = np.argsort(accident, kind="stable")
    _, start, count = np.unique(accident[order], return_index=True, return_counts=True)
    random, result = np.random.default_rng(0), y.copy()
    for size in np.unique(count):
        at = start[count == size]
        for ours, theirs in zip(at, random.permutation(at), strict=True):
            result[order[ours : ours + size]] = y[order[theirs : theirs + size]]
    return result


def shares(y: np.ndarray, size: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the shares of the classes among people of accidents of each asked size."""
    table = np.stack([(np.bincount(y[size == s], minlength=4) + 1) / ((size == s).sum() + 4) for s in range(7)])
    return np.asarray(table[asked])


def auc(y: np.ndarray, proba: np.ndarray) -> float:
    """Return the area under the curve of severe against the rest."""
    return evaluate.scores(y, proba)["auc_severe"]


def print_figure(
    name: str,
    value: float,
    *,
    bar: float | None = None,
    better: str = "",
    interval: tuple[float, float] | None = None,
    model: str = MODEL,
    **more: str,
) -> bool:
    """Print a figure; return whether it meets its bar."""
    better = better or ("lower" if name.endswith(LOWER_IS_BETTER) else "higher")
    line: dict[str, Any] = {"name": f"quality.{name}", "value": round(value, 4), "unit": "", "better": better}
    if interval is not None:
        line["interval"] = [round(end, 4) for end in interval]
    if bar is not None:
        line["bar"] = round(bar, 4)
    print(json.dumps({**line, "model": model, **more}), flush=True)
    return bar is None or (value <= bar if better == "lower" else value >= bar)


def main() -> int:
    """Print every figure; 1 when one misses its bar, 2 without the files."""
    if not RAW.is_dir():
        print(f"There is no folder {RAW}: let RAW name a folder of CSVs.", file=sys.stderr)
        return 2
    training.limit_threads()
    checked = catalogue.load(MODELS_FILE.read_text("utf-8"), str(MODELS_FILE))
    scenes = Years(RAW)
    known = ways(scenes)
    parts = {
        "levels": lambda: quality(checked, scenes.complete, known),
        "models": lambda: every_model(checked, scenes, known),
        "leakage": lambda: leakage(checked, scenes.complete),
    }
    good = [parts[name]() for name in (os.environ.get("PARTS") or ",".join(parts)).split(",")]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
