from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from include.accidents import catalogue
from include.accidents.errors import CatalogueError

SHIPPED = Path(__file__).resolve().parents[2] / "include" / "models.json"
FOREST = {"pipeline": [["clf", {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 5}}]]}


def document(**model: Any) -> dict[str, Any]:
    return {"models": {"Forest": {**copy.deepcopy(FOREST), **model}}}


def step(cls: str, **params: Any) -> dict[str, Any]:
    return document(pipeline=[["clf", {"class": cls, "params": params}]])


def refusal(said: Any) -> str:
    with pytest.raises(CatalogueError) as caught:
        catalogue.load(said if isinstance(said, str) else json.dumps(said), "models.json")
    assert "models.json" in caught.value.cause
    assert caught.value.remedy
    return caught.value.cause


def test_the_shipped_catalogue_holds_the_seeds_models_and_the_annexs() -> None:
    shipped = catalogue.load(SHIPPED.read_text(), str(SHIPPED))
    assert {
        "RandomForest", "MLP", "SVC", "LogisticRegression", "GradientBoosting", "HistGradientBoosting"
    } <= shipped.models.keys()  # fmt: skip
    for spec in shipped.models.values():
        catalogue.build(spec, seed=1)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('{"models": {', ["not JSON", "line 1"]),
        ({"models": {}}, ["/models"]),
        ({}, ["/models"]),
        ([], ["/:"]),
        ('{"models": {"A": 1, "A": 2}}', ["'A' twice"]),
        (step("sklearn.ensemble.RandomForrestClassifier"), ["/models/Forest/pipeline/0/1/class", "RandomForestClassifier"]),
        (step("sklearn.nothing.Thing"), ["/models/Forest/pipeline/0/1/class", "sklearn.nothing"]),
        (step("os.system"), ["'os.system' is not allowed"]),
        (step("sklearn.utils._testing.Thing"), ["not allowed"]),
        (step("sklearn.datasets.load_iris"), ["no estimator"]),
        (step("sklearn.ensemble.RandomForestClassifier", n_estimator=3), ["params/n_estimator", "'n_estimators'"]),
        (step("sklearn.ensemble.RandomForestClassifier", n_jobs=3), ["params/n_jobs", "remove it"]),
        (step("sklearn.ensemble.RandomForestClassifier", verbose=3), ["params/verbose", "remove it"]),
        (step("xgboost.sklearn.XGBClassifier", device="cuda"), ["params/device", "remove it"]),
        (step("sklearn.ensemble.RandomForestClassifier", n_estimators=-3), ["pipeline/0/1", "n_estimators"]),
        (step("sklearn.preprocessing.StandardScaler"), ["not a classifier"]),
        (step("sklearn.svm.SVC"), ["no probabilities", "CalibratedClassifierCV"]),
        (document(param_grid={"clf__depth": [1]}), ["param_grid/clf__depth", "no parameter"]),
        (document(param_grid={"clf__n_jobs": [1]}), ["param_grid/clf__n_jobs", "remove it"]),
        (document(param_grid={"clf__max_depth": []}), ["param_grid"]),
        (document(colour="red"), ["/models/Forest/colour"]),
        ({"models": {"a/b": FOREST}}, ["/models/a~1b", "name"]),
        ({"models": {"BestModel": FOREST}}, ["BestModel"]),
        (document() | {"selection": {"weights": {"accuracy": 0.9}}}, ["/selection/weights", "sum to 1"]),
        (document(pipeline=[["clf", {"class": 3}]]), ["not allowed"]),
    ],
)  # fmt: skip
def test_a_defect_is_refused_with_its_place(said: Any, told: list[str]) -> None:
    cause = refusal(said)
    for words in told:
        assert words in cause


def test_all_defects_are_told_at_once() -> None:
    said = document()
    said["models"]["Other"] = {"pipeline": [["clf", {"class": "os.system"}]]}
    said["models"]["Third"] = {
        "pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"max_dept": 1, "memory": 2}}]]
    }
    cause = refusal(said)
    assert "3 defects" in cause
    assert "/models/Other" in cause
    assert "/models/Third" in cause


def test_python_values_are_made_of_json() -> None:
    said = {
        "models": {
            "M": {
                "pipeline": [
                    ["t", {"class": "sklearn.compose.ColumnTransformer", "params": {"transformers": [
                        ["a", {"class": "sklearn.preprocessing.StandardScaler"}, ["@age", "@vma"]],
                        ["b", "drop", "@categorical"]]}}],
                    ["clf", {"class": "sklearn.calibration.CalibratedClassifierCV", "params": {
                        "estimator": {"class": "sklearn.svm.SVC"}}}],
                ],
                "param_grid": {"clf__estimator__C": [1, 2], "clf__estimator__gamma": ["scale"], "clf__cv": [None, 3]},
            }
        }
    }  # fmt: skip
    spec = catalogue.load(json.dumps(said), "x").model("M")
    made = catalogue.build(spec, seed=7, threads=1)
    assert made.get_params()["clf__estimator__random_state"] == 7
    assert len(made.named_steps["t"].transformers[0][2]) == 2
    assert catalogue.grid(spec)["clf__cv"] == [None, 3]


def test_lightgbm_and_xgboost_do_not_take_every_core() -> None:
    for cls in ("lightgbm.LGBMClassifier", "xgboost.XGBClassifier"):
        spec = catalogue.load(json.dumps(step(cls, n_estimators=3, learning_rate=0.3)), "x").model("Forest")
        assert catalogue.build(spec, seed=0, threads=1).get_params()["clf__n_jobs"] == 1


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(CatalogueError, match="did you mean 'Forest'"):
        catalogue.load(json.dumps(document()), "x").model("Forrest")
