from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from include.accidents.errors import CatalogueError
from include.accidents.features.levels import LEVELS
from include.accidents.models import candidates, catalogue, decision, specification
from include.accidents.models.build import build_pipeline

INCLUDE = Path(__file__).resolve().parents[2] / "include"
SHIPPED = INCLUDE / "models.json"
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
        "RandomForest", "MLP", "SVC", "LogisticRegression", "GradientBoosting", "HistGradientBoosting",
        "KNN", "LightGBM", "XGBoost",
    } <= shipped.models.keys()  # fmt: skip
    for spec in shipped.models.values():
        build_pipeline(spec, seed=1)


@pytest.mark.parametrize("name", ["models.json", "models-night.json"])
def test_every_candidate_of_a_shipped_catalogue_can_be_made(name: str) -> None:
    shipped = catalogue.load((INCLUDE / name).read_text(), name)
    assert shipped.schema_ == "models.schema.json"
    for spec in shipped.models.values():
        for params in candidates.candidates(spec, shipped.defaults):
            build_pipeline(spec, params, seed=1)


def test_the_published_schema_is_the_codes() -> None:
    published = json.loads((INCLUDE / "models.schema.json").read_text())
    assert published == catalogue.json_schema(), (
        "write it again: python -m include.accidents models schema > include/models.schema.json"
    )


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
        (step("sklearn.datasets.load_iris"), ["not an estimator"]),
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
        (document(pipeline=[["clf", {"class": 3}]]), ["/models/Forest/pipeline/0/1/class", "found 3"]),
        (document(pipeline=[["clf", {"params": {}}]]), ["/models/Forest/pipeline/0/1/class", "missing"]),
        (document(pipeline=[["clf", {"class": "sklearn.svm.SVC", "parms": {}}]]), ["/1/parms", "'params'", "allowed: class, params"]),
        (document() | {"defaults": {"sed": 1}}, ["/defaults/sed", "'seed'", "allowed: evaluation_folds"]),
        (document(param_grid={"clf__max_depth": [3, -3]}), ["/param_grid/clf__max_depth/1", "Got -3"]),
        (document(search={"kind": "halvin"}), ["/models/Forest/search/kind", "'grid', 'random' or 'halving'", 'found "halvin" (did you mean \'halving\'?)']),
        (document(param_distributions={"clf__max_depth": [3]}), ["/search/kind", "random, halving"]),
        (document(param_distributions={"clf__max_depth": {"distribution": "integers", "low": 3, "high": 1}}), ["/param_distributions/clf__max_depth", "low must be below high"]),
        (document(class_weight={"killd": 2}), ["1 defect: /models/Forest/class_weight/killd", "did you mean 'killed'"]),
        (document(masked_share=-0.1), ["1 defect: /models/Forest/masked_share", "greater than or equal to 0"]),
        (document(hidden_share=0.3), ["/models/Forest/hidden_share", "not known here", "masked_share"]),
        (document() | {"defaults": {"hidden_share": 0.3}}, ["/defaults/hidden_share", "not known here", "masked_share"]),
        (document() | {"decision": {"recall": 1.5}}, ["/decision/recall", "less than or equal to 0.99", "found 1.5"]),
        (document() | {"decision": {"recall": {"record": 1.5}}}, ["/decision/recall/record", "less than or equal to 0.99"]),
        (document() | {"decision": {"recall": {"on_scen": 0.7}}}, ["1 defect: /decision/recall/on_scen", "not a level of knowledge (did you mean 'on_scene'?)", "allowed: first_call, dispatch, on_scene, record"]),
        (document() | {"decision": {"recal": 0.7}}, ["/decision/recal", "did you mean 'recall'"]),
        (step("sklearn.ensembel.RandomForestClassifier"), ["did you mean 'sklearn.ensemble.RandomForestClassifier'"]),
        (document(pipeline=[["clf", {"class": "sklearn.neighbors.KNeighborsClassifier"}]], class_weight="balanced"), ["/class_weight", "takes no weights"]),
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


def test_one_defect_hides_no_other_of_the_same_model() -> None:
    forest = {
        "class": FOREST["pipeline"][0][1]["class"],
        "params": {"max_dept": 1, "max_depth": -3, "criterion": "ginni"},
    }
    grid = {"clf__max_deptth": [1], "clf__max_features": []}
    cause = refusal(document(pipeline=[["clf", forest]], param_grid=grid, max_rows=-1, class_weight="balancd"))
    assert "7 defects" in cause
    for words in (
        "/pipeline/0/1/params/max_dept: RandomForestClassifier has no parameter 'max_dept' (did you mean 'max_depth'?)",
        "/pipeline/0/1/params/max_depth: ",
        "/pipeline/0/1/params/criterion: ",
        "(did you mean 'gini'?)",
        "/param_grid/clf__max_deptth: ",
        "/param_grid/clf__max_features: ",
        "/max_rows: ",
        "/class_weight: Input should be 'balanced', or a valid number",
        "(did you mean 'balanced'?)",
    ):
        assert words in cause, words


def test_a_grid_that_nobody_could_try_is_refused_by_its_size() -> None:
    names = ("max_depth", "min_samples_leaf", "min_samples_split", "max_leaf_nodes", "n_estimators")
    grid = {f"clf__{name}": list(range(2, 150)) for name in names[:3]}
    told = refusal(document(param_grid=grid))
    assert (
        "/models/Forest/param_grid: makes 3,241,792 combinations, more than 10,000; let search/candidates say" in told
    )
    grid = {f"clf__{name}": list(range(2, 5002)) for name in names}
    told = refusal(document(param_distributions=grid, search={"kind": "random"}))
    assert "more than 1,000,000,000,000,000,000; give fewer values, or ranges" in told


def test_a_model_without_a_pipeline_may_have_other_defects_too() -> None:
    said = document()
    said["models"]["Other"] = {"param_grid": {"clf__max_depth": "deep"}, "max_rows": "all"}
    cause = refusal(said)
    for words in ("/models/Other", "/param_grid/clf__max_depth", "/max_rows"):
        assert words in cause, words


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
    made = build_pipeline(spec, seed=7, threads=1)
    assert made.get_params()["clf__estimator__random_state"] == 7
    assert len(made.named_steps["t"].transformers[0][2]) == 2
    chosen = build_pipeline(spec, {"clf__cv": {"tuple": [1]}, "clf__estimator__C": 2}, seed=7)
    assert chosen.get_params()["clf__cv"] == (1,)
    assert chosen.get_params()["clf__estimator__C"] == 2


def test_lightgbm_and_xgboost_do_not_take_every_core() -> None:
    for cls in ("lightgbm.LGBMClassifier", "xgboost.XGBClassifier"):
        spec = catalogue.load(json.dumps(step(cls, n_estimators=3, learning_rate=0.3)), "x").model("Forest")
        assert build_pipeline(spec, seed=0, threads=1).get_params()["clf__n_jobs"] == 1


def test_lightgbm_does_not_choose_by_its_speed_how_it_computes() -> None:
    spec = catalogue.load(json.dumps(step("lightgbm.LGBMClassifier")), "x").model("Forest")
    params = build_pipeline(spec, seed=0).get_params()
    assert params["clf__force_row_wise"]
    assert params["clf__deterministic"]


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(CatalogueError, match="did you mean 'Forest'"):
        catalogue.load(json.dumps(document()), "x").model("Forrest")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, [0.8, 0.8, 0.8, 0.8]),
        ({"decision": {"recall": 0.9}}, [0.9, 0.9, 0.9, 0.9]),
        ({"decision": {"recall": {"first_call": 0.6, "record": 0.95}}}, [0.6, 0.8, 0.8, 0.95]),
    ],
)
def test_the_recall_of_an_alert_is_one_for_all_levels_or_one_a_level(
    said: dict[str, Any], expected: list[float]
) -> None:
    recall = decision.recall_by_level(catalogue.load(json.dumps(document() | said), "x").decision)
    assert recall == dict(zip(LEVELS, expected, strict=True))


def test_an_unknown_level_hides_no_other_defect() -> None:
    cause = refusal(document(max_rows=-1) | {"decision": {"recall": {"call": 0.7, "record": 2}}})
    for words in ("3 defects", "/decision/recall/call", "/decision/recall/record", "/models/Forest/max_rows"):
        assert words in cause, words


def shared(step: Any, **steps: Any) -> str:
    tree = {"class": "sklearn.tree.DecisionTreeClassifier"}
    models = {name: {"pipeline": [["scale", step], ["clf", tree]]} for name in ("Oak", "Ash")}
    return json.dumps({"steps": steps, "models": models})


def test_a_step_that_models_share_is_written_once() -> None:
    scaler = {"class": "sklearn.preprocessing.StandardScaler", "params": {"with_mean": False}}
    once = catalogue.load(shared("scaler", scaler=scaler), "models.json")
    assert once.models == catalogue.load(shared(scaler), "models.json").models
    assert "scaler" not in json.dumps(specification.as_json(once.model("Oak")))


@pytest.mark.parametrize(
    ("step", "steps", "told"),
    [
        ("scalar", {"scaler": {"class": "sklearn.preprocessing.StandardScaler"}},
         ["/models/Oak/pipeline/0/1: there is no shared step 'scalar' (did you mean 'scaler'?); allowed: scaler",
          "/models/Ash/pipeline/0/1"]),
        ("scaler", {"scaler": {"class": "sklearn.preprocessing.StandardScaler", "params": {"with_men": 1}}},
         ["1 defect: /steps/scaler/params/with_men", "did you mean 'with_mean'"]),
        ("scaler", {"scaler": {"klass": 1}}, ["/steps/scaler/class: 'class' is missing", "/steps/scaler/klass"]),
        ("scaler", {"scaler": "scaler"}, ["/steps/scaler: Input should be"]),
        ("scaler", {}, ["there is no shared step 'scaler'"]),
    ],
)  # fmt: skip
def test_a_defect_of_a_shared_step_is_told_where_it_stands(step: str, steps: dict[str, Any], told: list[str]) -> None:
    with pytest.raises(CatalogueError) as caught:
        catalogue.load(shared(step, **steps), "models.json")
    for part in told:
        assert part in str(caught.value)
