"""The catalogue of models: JSON in, checked specifications and scikit-learn pipelines out.

Only classes of scikit-learn, LightGBM and XGBoost that are estimators are ever imported from the file.
Every defect is collected with its JSON pointer before anything is refused.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.accidents.errors import CatalogueError
from include.accidents.features import SELECTIONS

LIBRARIES = ("sklearn", "lightgbm", "xgboost")
# How many cores, where caches lie and what is printed is the machine's business: it is set in one place.
NOT_THE_MODELS_BUSINESS = frozenset({"n_jobs", "memory", "verbose", "device", "nthread", "num_threads", "verbosity"})
# A name becomes part of object keys, MLflow names and URLs.
MODEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
RESERVED_NAMES = frozenset({"BestModel"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Defaults(_Strict):
    """What holds for every model that does not say otherwise."""

    seed: int = Field(42, ge=0, description="Seed of every random_state that a model leaves open.")
    search_folds: int = Field(3, ge=2, le=20, description="Folds of the hyper-parameter search.")
    scoring: Literal["f1_weighted", "f1_macro", "accuracy", "balanced_accuracy", "neg_log_loss"] = "f1_weighted"
    evaluation_folds: int = Field(5, ge=2, le=20, description="Folds of the cross-validation that is logged.")


class Weights(_Strict):
    """Weights of the selection score; they sum to 1."""

    accuracy: float = Field(0.25, ge=0, le=1)
    f1_weighted: float = Field(0.35, ge=0, le=1)
    recall_weighted: float = Field(0.20, ge=0, le=1)
    precision_weighted: float = Field(0.20, ge=0, le=1)


class Selection(_Strict):
    """How the best model is chosen, and when it replaces the reigning one."""

    weights: Weights = Weights()
    min_gain: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Gain on global_test that the lower end of the 95 % interval must exceed.",
    )


class ModelSpec(_Strict):
    """One model: the steps of its pipeline and the grid that is searched."""

    pipeline: Annotated[
        list[tuple[str, dict[str, Any]]],
        Field(min_length=1, description="Steps as [name, {class, params}]; the last one is a classifier."),
    ]
    param_grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict, description="Values to try, by step__parameter."
    )
    max_rows: int | None = Field(None, ge=100, description="People it is trained on at most (whole accidents).")


class Catalogue(_Strict):
    """The whole file."""

    schema_: str | None = Field(None, alias="$schema")
    defaults: Defaults = Defaults()
    selection: Selection = Selection()
    models: Annotated[dict[str, ModelSpec], Field(min_length=1)]

    def model(self, name: str) -> ModelSpec:
        """Return the model called `name`; CatalogueError with the nearest name when there is none."""
        if name not in self.models:
            raise CatalogueError(
                f"The catalogue holds no model {name!r}{_closest(name, self.models)}.",
                f"choose among {', '.join(self.models)}.",
            )
        return self.models[name]


@dataclass
class _Defects:
    """Collects what is wrong, each with its place."""

    found: list[str] = field(default_factory=list)

    def add(self, pointer: str, message: str) -> None:
        self.found.append(f"{pointer or '/'}: {message}")


def load(text: str, source: str) -> Catalogue:
    """Read and check a catalogue.

    Parameters
    ----------
    text
        The JSON document.
    source
        Where it came from, for messages.

    Raises
    ------
    CatalogueError
        Naming every defect with its JSON pointer.
    """
    try:
        document = json.loads(text, object_pairs_hook=_no_doubles)
    except (json.JSONDecodeError, RecursionError) as error:
        place = (
            f"line {error.lineno}, column {error.colno}: {error.msg}"
            if isinstance(error, json.JSONDecodeError)
            else "it is nested too deeply"
        )
        raise CatalogueError(f"{source} is not JSON ({place}).", "correct the file at that place.") from error
    except _DoubledNameError as error:
        raise CatalogueError(f"{source} has the name {error} twice in one object.", "keep one of the two.") from error
    try:
        catalogue = Catalogue.model_validate(document)
    except ValidationError as error:
        raise _refuse(source, [f"{_pointer(e['loc'])}: {e['msg']}" for e in error.errors()]) from error
    defects = _Defects()
    _check_weights(catalogue.selection.weights, defects)
    for name, spec in catalogue.models.items():
        _check_model(name, spec, defects)
    if defects.found:
        raise _refuse(source, defects.found)
    return catalogue


def build(spec: ModelSpec, *, seed: int, threads: int = 1) -> Any:
    """Make the unfitted scikit-learn Pipeline of a checked specification.

    Parameters
    ----------
    seed
        Given to every `random_state` that the specification leaves open.
    threads
        Given to LightGBM and XGBoost, which otherwise take every core; scikit-learn's classes take one.
    """
    pipeline = _pipeline(spec, _Defects())
    for key, value in pipeline.get_params(deep=True).items():
        if key.rpartition("__")[2] == "random_state" and value is None:
            pipeline.set_params(**{key: seed})
        elif type(value).__module__.partition(".")[0] in ("lightgbm", "xgboost"):
            value.set_params(n_jobs=threads)
    return pipeline


def grid(spec: ModelSpec) -> dict[str, list[Any]]:
    """Return the parameter grid with its values turned into Python objects."""
    return {key: [_value(v, "", _Defects()) for v in values] for key, values in spec.param_grid.items()}


def fingerprint(spec: ModelSpec, defaults: Defaults) -> str:
    """Return a hash of all that the file says of how a model is made and judged."""
    said = json.dumps([spec.model_dump(), defaults.model_dump()], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


# --- checks ------------------------------------------------------------------------------------------------


def _check_weights(weights: Weights, defects: _Defects) -> None:
    total = sum(weights.model_dump().values())
    if abs(total - 1) > 1e-6:
        defects.add("/selection/weights", f"the weights sum to {total:g}; they must sum to 1")


def _check_model(name: str, spec: ModelSpec, defects: _Defects) -> None:
    pointer = f"/models/{_escape(name)}"
    if not MODEL_NAME.fullmatch(name) or name in RESERVED_NAMES:
        defects.add(pointer, f"{name!r} cannot be a model's name: use letters, digits, - and _, not BestModel")
    before = len(defects.found)
    pipeline = _pipeline(spec, defects, pointer)
    if len(defects.found) > before:
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
    _check_grid(pointer, spec, pipeline, defects)


def _is_classifier(pipeline: Any) -> bool:
    from sklearn.base import is_classifier

    return bool(is_classifier(pipeline))


def _check_grid(pointer: str, spec: ModelSpec, pipeline: Any, defects: _Defects) -> None:
    known = pipeline.get_params(deep=True)
    for key, values in spec.param_grid.items():
        place = f"{pointer}/param_grid/{_escape(key)}"
        if key.rpartition("__")[2] in NOT_THE_MODELS_BUSINESS:
            defects.add(place, f"{key} is set by the machine's settings, not by a model; remove it")
        elif key not in known:
            near = _closest(key, known)
            defects.add(place, f"the pipeline has no parameter {key!r}{near}; write step__parameter")
        for i, value in enumerate(values):
            _value(value, f"{place}/{i}", defects)


def _pipeline(spec: ModelSpec, defects: _Defects, pointer: str = "") -> Any:
    from sklearn.pipeline import Pipeline

    before = len(defects.found)
    steps = []
    names: set[str] = set()
    for i, (name, described) in enumerate(spec.pipeline):
        place = f"{pointer}/pipeline/{i}"
        if name in names or "__" in name or not name:
            defects.add(f"{place}/0", f"the step's name {name!r} is empty, doubled, or holds '__'")
        names.add(name)
        if "class" not in described:
            defects.add(f"{place}/1", "a step needs a class, for instance sklearn.svm.SVC")
            continue
        steps.append((name, _estimator(described, f"{place}/1", defects)))
    return None if len(defects.found) > before else Pipeline(steps)


def _estimator(described: Mapping[str, Any], pointer: str, defects: _Defects) -> Any:
    before = len(defects.found)
    unknown = described.keys() - {"class", "params"}
    for key in sorted(unknown):
        defects.add(f"{pointer}/{_escape(key)}", "is not known here; a step has class and params")
    cls = _class(described["class"], f"{pointer}/class", defects)
    params = described.get("params", {})
    if not isinstance(params, dict):
        defects.add(f"{pointer}/params", "must be an object of parameter names and values")
        return None
    if cls is None:
        return None
    allowed = _parameters(cls)
    values = {}
    for key, value in params.items():
        place = f"{pointer}/params/{_escape(key)}"
        if key in NOT_THE_MODELS_BUSINESS:
            defects.add(place, f"{key} is set by the machine's settings, not by a model; remove it")
        elif key not in allowed:
            defects.add(place, f"{cls.__name__} has no parameter {key!r}{_closest(key, allowed)}")
        else:
            values[key] = _value(value, place, defects)
    if len(defects.found) > before:
        return None
    return _instance(cls, values, pointer, defects)


def _parameters(cls: type) -> list[str]:
    """Return the names that a class takes; XGBoost's stand in get_params alone, a composite's in its signature."""
    named = [name for name, p in inspect.signature(cls).parameters.items() if p.kind is not p.VAR_KEYWORD]
    try:
        return sorted({*named, *cls().get_params(deep=False)})
    except TypeError:  # it cannot be made without parameters
        return named


def _instance(cls: type, values: dict[str, Any], pointer: str, defects: _Defects) -> Any:
    try:
        made = cls(**values)
    except TypeError as error:  # a parameter without default is not given
        defects.add(pointer, f"{cls.__name__} cannot be made: {error}")
        return None
    if hasattr(made, "_parameter_constraints"):  # scikit-learn's own check of values: private, but stable
        try:
            made._validate_params()
        except ValueError as error:  # scikit-learn's InvalidParameterError among them
            defects.add(f"{pointer}/params", str(error))
    return made


def _class(path: Any, pointer: str, defects: _Defects) -> type | None:
    """Import an allowed estimator class; a defect and None when it is not one."""
    parts = path.split(".") if isinstance(path, str) else []
    if len(parts) < 2 or parts[0] not in LIBRARIES or not all(re.fullmatch(r"[A-Za-z]\w*", p) for p in parts):
        defects.add(
            pointer,
            f"{path!r} is not allowed; a class is named with its module, for instance "
            "sklearn.ensemble.RandomForestClassifier, and comes from scikit-learn, LightGBM or XGBoost",
        )
        return None
    try:
        module = importlib.import_module(".".join(parts[:-1]))
    except ImportError:
        defects.add(pointer, f"there is no module {'.'.join(parts[:-1])!r} (for class {path!r})")
        return None
    from sklearn.base import BaseEstimator

    cls = getattr(module, parts[-1], None)
    if not (inspect.isclass(cls) and issubclass(cls, BaseEstimator)):
        names = [n for n in dir(module) if inspect.isclass(getattr(module, n, None))]
        defects.add(pointer, f"{path!r} is no estimator{_closest(parts[-1], names)}")
        return None
    return cls


def _value(value: Any, pointer: str, defects: _Defects) -> Any:  # noqa: PLR0911  (a case a kind of JSON value)
    """Turn a JSON value of a parameter into the Python object that it stands for."""
    if isinstance(value, dict):
        if "class" in value:
            return _estimator(value, pointer, defects)
        if value.keys() == {"tuple"} and isinstance(value["tuple"], list):
            return tuple(_values(value["tuple"], f"{pointer}/tuple", defects))
        return {k: _value(v, f"{pointer}/{_escape(k)}", defects) for k, v in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(v, str) and v.startswith("@") for v in value):
            return [i for v in value for i in _value(v, pointer, defects) or []]
        values = list(_values(value, pointer, defects))
        # [name, estimator, …] is how scikit-learn's composites name their parts: they want tuples.
        is_named_part = len(value) > 1 and isinstance(value[0], str) and isinstance(value[1], (dict, str))
        return tuple(values) if is_named_part and _names_an_estimator(value[1]) else values
    if isinstance(value, str) and value.startswith("@"):
        if value not in SELECTIONS:
            near = _closest(value, SELECTIONS)
            defects.add(pointer, f"{value!r} selects nothing{near}; allowed: @categorical, @numeric, @all, @FEATURE")
            return None
        return list(SELECTIONS[value])
    return value


def _names_an_estimator(part: Any) -> bool:
    return part in ("passthrough", "drop") if isinstance(part, str) else "class" in part


def _values(values: Sequence[Any], pointer: str, defects: _Defects) -> Iterator[Any]:
    for i, value in enumerate(values):
        yield _value(value, f"{pointer}/{i}", defects)


# --- messages ----------------------------------------------------------------------------------------------


class _DoubledNameError(ValueError):
    """A JSON object holds one name twice; json keeps the last silently."""


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DoubledNameError(repr(key))
        found[key] = value
    return found


def _refuse(source: str, defects: Sequence[str]) -> CatalogueError:
    listed = "; ".join(defects)
    count = "1 defect" if len(defects) == 1 else f"{len(defects)} defects"
    return CatalogueError(
        f"{source} has {count}: {listed}.",
        "correct the file; the README's table shows how Python is written in JSON.",
    )


def _pointer(location: Sequence[int | str]) -> str:
    return "".join(f"/{_escape(str(part))}" for part in location) or "/"


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _closest(name: str, allowed: Sequence[str] | Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(allowed), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
