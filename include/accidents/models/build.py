"""Build an unfitted scikit-learn pipeline from a specification; each defect is collected with its place."""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from include.accidents.features.definitions import SELECTIONS
from include.accidents.features.levels import LEVELS
from include.accidents.models.defects import (
    NOT_THE_MODELS_BUSINESS,
    Defects,
    closest,
    closest_quoted,
    escape,
    list_allowed,
)
from include.accidents.models.specification import (
    LIBRARIES,
    MAX_CANDIDATES,
    MAX_COMBINATIONS,
    MODEL_NAME,
    RESERVED_NAMES,
    DecisionSpec,
    Distribution,
    ModelSpec,
    Weights,
)

# Test modules of these libraries; importing one could run unwanted code.
NO_ESTIMATORS = frozenset({"tests", "conftest", "testing"})


def build_pipeline(spec: ModelSpec, params: Mapping[str, Any] | None = None, *, seed: int, threads: int = 1) -> Any:
    """Make the unfitted scikit-learn Pipeline of a checked specification.

    Parameters
    ----------
    params
        The chosen values of the search, as JSON writes them, by `step__parameter`.
    seed
        Given to every `random_state` that the specification leaves open.
    threads
        Given to LightGBM and XGBoost, which otherwise take every core; scikit-learn's classes take one.

    Returns
    -------
    The Pipeline, with `params` and seeds set.
    """
    pipeline = make_pipeline(spec, Defects())
    pipeline.set_params(**{key: make_value(value, "", Defects()) for key, value in (params or {}).items()})
    for key, value in pipeline.get_params(deep=True).items():
        if key.rpartition("__")[2] == "random_state" and value is None:
            pipeline.set_params(**{key: seed})
        elif type(value).__module__.partition(".")[0] == "lightgbm":
            # Else it tries two ways to make histograms and takes the faster one. Their sums differ in the last digits:
            # the same data would give another model, as other work on the machine decides.
            value.set_params(n_jobs=threads, verbose=-1, deterministic=True, force_row_wise=True)
        elif type(value).__module__.partition(".")[0] == "xgboost":
            value.set_params(n_jobs=threads)
    return pipeline


def make_pipeline(spec: ModelSpec, defects: Defects, pointer: str = "") -> Any:
    """Make the pipeline without its defective parameters; None when a step cannot be made."""
    from sklearn.pipeline import Pipeline

    steps = []
    names: set[str] = set()
    for i, (name, described) in enumerate(spec.pipeline):
        place = f"{pointer}/pipeline/{i}"
        if name in names or "__" in name or not name:
            defects.add(f"{place}/0", f"the step's name {name!r} is empty, used twice, or contains '__'")
        names.add(name)
        steps.append((name, _estimator(described.model_dump(by_alias=True), f"{place}/1", defects)))
    return None if any(step is None for _, step in steps) else Pipeline(steps)


def _estimator(described: Mapping[str, Any], pointer: str, defects: Defects) -> Any:
    """Make an estimator without its defective parameters; None when it cannot be made."""
    before = len(defects.messages)
    unknown = described.keys() - {"class", "params"}
    for key in sorted(unknown):
        defects.add(f"{pointer}/{escape(key)}", "is not known here; allowed: class, params")
    cls = _class(described["class"], f"{pointer}/class", defects)
    params = described.get("params", {})
    if not isinstance(params, dict):
        defects.add(f"{pointer}/params", "must be an object of parameter names and values")
        return None
    if cls is None:
        return None
    allowed = parameters_of(cls)
    values = {}
    for key, value in params.items():
        place = f"{pointer}/params/{escape(key)}"
        if key in NOT_THE_MODELS_BUSINESS:
            defects.add(place, f"{key} is set by the machine's settings, not by a model; remove it")
        elif key not in allowed:
            near = closest(key, allowed)
            defects.add(place, f"{cls.__name__} has no parameter {key!r}{near}{list_allowed(allowed)}")
        else:
            known = len(defects.messages)
            argument = make_value(value, place, defects)
            if len(defects.messages) == known:
                values[key] = argument
    return _instance(cls, values, pointer, defects, complete=len(defects.messages) == before)


def parameters_of(cls: type) -> list[str]:
    """Return the names of a class's parameters: XGBoost's are in get_params alone, a composite's in its signature."""
    named = [name for name, p in inspect.signature(cls).parameters.items() if p.kind is not p.VAR_KEYWORD]
    try:
        return sorted({*named, *cls().get_params(deep=False)})
    except TypeError:  # it cannot be made without parameters
        return named


def _instance(cls: type, values: dict[str, Any], pointer: str, defects: Defects, *, complete: bool) -> Any:
    try:
        estimator = cls(**values)
    except TypeError as error:  # a parameter without default is not given
        if complete:
            defects.add(pointer, f"{cls.__name__} cannot be made: {error}{list_allowed(parameters_of(cls))}")
        return None
    for key, value in values.items():
        check_value(estimator, key, value, f"{pointer}/params/{escape(key)}", defects)
    return estimator


def _class(path: Any, pointer: str, defects: Defects) -> type | None:
    """Import an allowed estimator class; add a defect and return None for anything else."""
    parts = path.split(".") if isinstance(path, str) else []
    named = len(parts) > 1 and parts[0] in LIBRARIES and all(re.fullmatch(r"[A-Za-z]\w*", p) for p in parts)
    if not named or NO_ESTIMATORS & set(parts):
        defects.add(
            pointer,
            f"{path!r} is not allowed; a class is named with its module, for instance "
            "sklearn.ensemble.RandomForestClassifier, and comes from scikit-learn, LightGBM or XGBoost",
        )
        return None
    try:
        module = importlib.import_module(".".join(parts[:-1]))
    except ImportError:
        near = closest(parts[-1], _estimators(), show=_estimators())
        defects.add(pointer, f"there is no module {'.'.join(parts[:-1])!r} (for class {path!r}){near}")
        return None
    from sklearn.base import BaseEstimator

    cls = getattr(module, parts[-1], None)
    if not (inspect.isclass(cls) and issubclass(cls, BaseEstimator)):
        names = [n for n in dir(module) if inspect.isclass(getattr(module, n, None))]
        near = closest(parts[-1], [*names, *_estimators()], show=_estimators())
        defects.add(pointer, f"{path!r} is not an estimator{near}")
        return None
    return cls


def make_value(value: Any, pointer: str, defects: Defects) -> Any:  # noqa: PLR0911  (one case for each kind of JSON value)
    """Turn a JSON value of a parameter into the Python object that it stands for."""
    if isinstance(value, dict):
        if "class" in value:
            return _estimator(value, pointer, defects)
        if value.keys() == {"tuple"} and isinstance(value["tuple"], list):
            return tuple(make_values(value["tuple"], f"{pointer}/tuple", defects))
        return {k: make_value(v, f"{pointer}/{escape(k)}", defects) for k, v in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(v, str) and v.startswith("@") for v in value):
            return [i for v in value for i in make_value(v, pointer, defects) or []]
        values = list(make_values(value, pointer, defects))
        # [name, estimator, …] is a named part of a scikit-learn composite, which expects a tuple.
        is_named_part = len(value) > 1 and isinstance(value[0], str) and isinstance(value[1], (dict, str))
        return tuple(values) if is_named_part and _names_an_estimator(value[1]) else values
    if isinstance(value, str) and value.startswith("@"):
        if value not in SELECTIONS:
            near = closest(value, SELECTIONS)
            defects.add(pointer, f"{value!r} selects nothing{near}; allowed: @categorical, @numeric, @all, @FEATURE")
            return None
        return list(SELECTIONS[value])
    return value


def _names_an_estimator(part: Any) -> bool:
    return part in ("passthrough", "drop") if isinstance(part, str) else "class" in part


def make_values(values: Sequence[Any], pointer: str, defects: Defects) -> Iterator[Any]:
    """Turn the JSON values of a list into Python objects; see `make_value`."""
    for i, value in enumerate(values):
        yield make_value(value, f"{pointer}/{i}", defects)


@cache
def _estimators() -> dict[str, str]:
    """Return the path of each estimator by its class name, for messages."""
    from sklearn.utils import all_estimators

    paths = {name: f"{cls.__module__}.{name}" for name, cls in all_estimators()}
    public = {name: re.sub(r"\._\w+", "", path) for name, path in paths.items()}
    return public | {"LGBMClassifier": "lightgbm.LGBMClassifier", "XGBClassifier": "xgboost.XGBClassifier"}


def check_value(owner: Any, parameter: str, value: Any, pointer: str, defects: Defects) -> None:
    """Check a value by scikit-learn's own rules, which are private but stable. Other libraries have none."""
    from sklearn.utils._param_validation import validate_parameter_constraints

    rules = getattr(owner, "_parameter_constraints", {})
    if parameter in rules:
        try:
            validate_parameter_constraints(rules, {parameter: value}, caller_name=type(owner).__name__)
        except ValueError as error:
            defects.add(pointer, f"{error}{closest_quoted(value, str(error))}")


def check_weights(weights: Weights, defects: Defects) -> None:
    """Check that the weights of the selection sum to 1."""
    total = sum(weights.model_dump().values())
    if abs(total - 1) > 1e-6:
        defects.add("/selection/weights", f"the weights sum to {total:g}; they must sum to 1")


def check_levels(decision: DecisionSpec, defects: Defects) -> None:
    """Check that every level that the catalogue names is known."""
    for name in decision.recall if isinstance(decision.recall, dict) else ():
        if name not in LEVELS:
            near = closest(name, LEVELS)
            defects.add(
                f"/decision/recall/{escape(name)}",
                f"{name!r} is not a level of knowledge{near}; allowed: {', '.join(LEVELS)}",
            )


def check_model(name: str, spec: ModelSpec, defects: Defects) -> None:
    """Check that a model can be built, searched and weighted as the catalogue says."""
    pointer = f"/models/{escape(name)}"
    if not MODEL_NAME.fullmatch(name) or name in RESERVED_NAMES:
        reserved = ", ".join(RESERVED_NAMES)
        defects.add(pointer, f"{name!r} cannot be a model's name: use letters, digits, - and _, and none of {reserved}")
    pipeline = make_pipeline(spec, defects, pointer)
    if pipeline is None:
        return
    last = len(spec.pipeline) - 1
    if not _is_classifier(pipeline):
        defects.add(f"{pointer}/pipeline/{last}", "the last step is not a classifier")
        return
    if not hasattr(pipeline, "predict_proba"):
        defects.add(
            f"{pointer}/pipeline/{last}",
            "gives no probabilities; wrap it in sklearn.calibration.CalibratedClassifierCV",
        )
    try:
        known = pipeline.get_params(deep=True)
    except (AttributeError, TypeError, ValueError) as error:
        defects.add(f"{pointer}/pipeline", f"contains parts that are not [name, estimator] ({error})")
        return
    _check_grid(pointer, spec, pipeline, known, defects)
    _check_weighting(pointer, spec, pipeline, defects)


def _is_classifier(pipeline: Any) -> bool:
    from sklearn.base import is_classifier

    return bool(is_classifier(pipeline))


def _check_grid(pointer: str, spec: ModelSpec, pipeline: Any, known: Mapping[str, Any], defects: Defects) -> None:
    if spec.param_grid and spec.param_distributions:
        defects.add(f"{pointer}/param_distributions", "stands beside param_grid; keep one of the two")
    if spec.param_distributions and spec.search.kind == "grid":
        defects.add(f"{pointer}/search/kind", "'grid' takes no param_distributions; allowed: random, halving")
    all_are_tried = spec.search.kind != "random" and spec.search.candidates is None
    for name, searched in (("param_grid", spec.param_grid), ("param_distributions", spec.param_distributions)):
        _check_values(f"{pointer}/{name}", searched, pipeline, known, defects)
        lists = [len(values) for values in searched.values() if isinstance(values, list)]
        limit = MAX_CANDIDATES if all_are_tried else MAX_COMBINATIONS
        if len(lists) == len(searched) and math.prod(lists) > limit:
            fix = "let search/candidates say how many to draw" if all_are_tried else "give fewer values, or ranges"
            defects.add(f"{pointer}/{name}", f"makes {math.prod(lists):,} combinations, more than {limit:,}; {fix}")


def _check_values(
    pointer: str, searched: Mapping[str, Any], pipeline: Any, known: Mapping[str, Any], defects: Defects
) -> None:
    for key, values in searched.items():
        place = f"{pointer}/{escape(key)}"
        owner, _, parameter = key.rpartition("__")
        if parameter in NOT_THE_MODELS_BUSINESS:
            defects.add(place, f"{key} is set by the machine's settings, not by a model; remove it")
        elif key not in known:
            allowed = [name for name in known if name.rpartition("__")[0] == owner] or list(known)
            near = closest(key, known)
            defects.add(
                place, f"the pipeline has no parameter {key!r}{near}; write step__parameter{list_allowed(allowed)}"
            )
        else:
            tried = [values.low, values.high] if isinstance(values, Distribution) else values
            if isinstance(values, Distribution) and values.distribution == "integers":
                tried = [int(value) for value in tried]
            for i, value in enumerate(tried):
                at = place if isinstance(values, Distribution) else f"{place}/{i}"
                check_value(known.get(owner, pipeline), parameter, make_value(value, at, defects), at, defects)


def _check_weighting(pointer: str, spec: ModelSpec, pipeline: Any, defects: Defects) -> None:
    from sklearn.utils.validation import has_fit_parameter

    last = pipeline.steps[-1][1]
    if spec.class_weight is not None and not has_fit_parameter(last, "sample_weight"):
        defects.add(f"{pointer}/class_weight", f"{type(last).__name__} takes no weights; remove it")
