"""How good the best shipped model is on real accidents, and that nothing leaks.

`RAW` names a folder of CSVs (default: the real files of 2021 beside the project), `MODEL` the model (default: the best
shipped one), `MODELS_FILE` the catalogue. Prints one JSON line a figure; exit status 1 when a figure misses its bar.

Five outer folds of whole accidents, drawn by a hash with a fixed key: nothing that is tuned here or in the pipeline
moves an accident from one fold to another. Hyper-parameters are the shipped ones; where the catalogue leaves a choice,
it is searched inside the outer fold's training part.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from include.accidents import catalogue, clean, evaluate, files, raw, search, split
from include.accidents.features import UNKNOWN_AT_CALL, hide

RAW = Path(os.environ.get("RAW") or ROOT.parent / "shared" / "data" / "baac-2021")
MODELS_FILE = Path(os.environ.get("MODELS_FILE") or ROOT / "include" / "models.json")
MODEL = os.environ.get("MODEL") or "LightGBM"
N_FOLDS = 5
KEY = b"accidents/outer_folds"
LEAKAGE_ROWS = 10_000
LEAKAGE_BAR = 0.02  # AUC of severe: three standard errors on that many people; a split by row gains 0.03
BARS = {"f1_weighted": 0.71, "f1_macro": 0.56, "auc_severe": 0.905}
TOLD = ("f1_weighted", "f1_macro", "auc_severe", "accuracy", "roc_auc_ovr", "log_loss", "calibration_error")
LOWER_IS_BETTER = {"log_loss", "calibration_error"}


def read(folder: Path) -> clean.Dataset:
    """Return the people of every year in a folder of raw files."""
    years = []
    for year, tables in files.find(folder).items():
        contents = {table: (path.name, path.read_bytes()) for table, path in tables.items()}
        years.append(clean.clean(raw.read_year(contents, year)[0])[0])
    return clean.join(years)


def outer_folds(accident: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return (train, test) positions of each outer fold."""
    distinct, inverse = np.unique(accident, return_inverse=True)
    drawn = [
        int.from_bytes(hashlib.blake2b(int(n).to_bytes(8, "big"), digest_size=8, key=KEY).digest(), "big") % N_FOLDS
        for n in distinct
    ]
    fold = np.asarray(drawn)[inverse]
    for k in range(N_FOLDS):
        yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)


def fitted(checked: catalogue.Catalogue, data: clean.Dataset) -> Any:
    """Search and train the model on `data`."""
    spec = checked.model(MODEL)
    found = search.search(spec, checked.defaults, data)
    return search.train(spec, checked.defaults, found.params, data)


def quality(checked: catalogue.Catalogue, data: clean.Dataset) -> bool:
    """Print the mean of each metric over the outer folds; tell whether every bar is met."""
    found: dict[str, list[float]] = {}
    for train, test in outer_folds(data.accident):
        model, held_out = fitted(checked, data.take(train)), data.take(test)
        at_call = hide(held_out.x, UNKNOWN_AT_CALL)
        for prefix, x in (("", held_out.x), ("call_", at_call)):
            for name, value in evaluate.scores(held_out.y, evaluate.probabilities(model, x)).items():
                found.setdefault(prefix + name, []).append(value)
    good = True
    for name in (*TOLD, *(f"call_{name}" for name in TOLD)):
        mean, spread = float(np.mean(found[name])), float(np.std(found[name], ddof=1))
        margin = 2.776 * spread / N_FOLDS**0.5  # Student's t, four degrees of freedom
        good &= tell(name, mean, bar=BARS.get(name), interval=(mean - margin, mean + margin))
    return good


def leakage(checked: catalogue.Catalogue, data: clean.Dataset) -> bool:
    """Train every model on severities of other accidents: then nothing can be learnt, unless something leaks.

    The accidents' lists of severities are exchanged between accidents with as many people, so that people of one
    accident still resemble each other; a split by row would then find each person's neighbours in the training part.
    What remains to be learnt is how severities depend on the number of people: the baseline knows that.
    """
    data = data.take(split.sample_accidents(np.arange(len(data.y)), data.accident, data.y, LEAKAGE_ROWS, 0))
    shuffled = clean.Dataset(data.x, exchanged(data.y, data.accident), data.accident)
    size = people_of(shuffled.accident)
    good = True
    for name, spec in checked.models.items():
        gains = []
        for train, test in outer_folds(data.accident):
            learned, held_out = shuffled.take(train), shuffled.take(test)
            model = search.train(spec, checked.defaults, search.candidates(spec, checked.defaults)[0], learned)
            proba = evaluate.probabilities(model, held_out.x)
            known = shares(learned.y, size[train], size[test])
            gains.append(auc(held_out.y, proba) - auc(held_out.y, known))
        good &= tell("leakage_gain", float(np.mean(gains)), model=name, bar=LEAKAGE_BAR, better="lower")
    return good


def people_of(accident: np.ndarray) -> np.ndarray:
    """Return how many people each person's accident has, up to 6."""
    _, inverse, counts = np.unique(accident, return_inverse=True, return_counts=True)
    return np.minimum(counts[inverse], 6)


def exchanged(y: np.ndarray, accident: np.ndarray) -> np.ndarray:
    """Return `y` with the lists of accidents of the same size exchanged at random."""
    order = np.argsort(accident, kind="stable")
    _, start, count = np.unique(accident[order], return_index=True, return_counts=True)
    random, made = np.random.default_rng(0), y.copy()
    for size in np.unique(count):
        at = start[count == size]
        for ours, theirs in zip(at, random.permutation(at), strict=True):
            made[order[ours : ours + size]] = y[order[theirs : theirs + size]]
    return made


def shares(y: np.ndarray, size: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the shares of the classes among people of accidents of each asked size."""
    table = np.stack([(np.bincount(y[size == s], minlength=4) + 1) / ((size == s).sum() + 4) for s in range(7)])
    return np.asarray(table[asked])


def auc(y: np.ndarray, proba: np.ndarray) -> float:
    """Return the area under the curve of severe against the rest."""
    return evaluate.scores(y, proba)["auc_severe"]


def tell(
    name: str,
    value: float,
    *,
    bar: float | None = None,
    better: str = "",
    interval: tuple[float, float] | None = None,
    model: str = MODEL,
) -> bool:
    """Print a figure; tell whether it meets its bar."""
    better = better or ("lower" if name.removeprefix("call_") in LOWER_IS_BETTER else "higher")
    line: dict[str, Any] = {"name": f"quality.{name}", "value": round(value, 4), "unit": "", "better": better}
    if interval is not None:
        line["interval"] = [round(end, 4) for end in interval]
    if bar is not None:
        line["bar"] = round(bar, 4)
    print(json.dumps({**line, "model": model}), flush=True)
    return bar is None or (value <= bar if better == "lower" else value >= bar)


def main() -> int:
    """Print every figure."""
    if not RAW.is_dir():
        print(f"There is no folder {RAW}: let RAW name a folder of CSVs.", file=sys.stderr)
        return 2
    search.limit_threads()
    checked = catalogue.load(MODELS_FILE.read_text("utf-8"), str(MODELS_FILE))
    data = read(RAW)
    return 0 if all([quality(checked, data), leakage(checked, data)]) else 1


if __name__ == "__main__":
    sys.exit(main())
