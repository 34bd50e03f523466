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
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from include.accidents.errors import CatalogueError
from include.accidents.features import SELECTIONS
from include.accidents.knowledge import LEVELS

LIBRARIES = ("sklearn", "lightgbm", "xgboost")
# How many cores, where caches lie and what is printed is the machine's business: it is set in one place.
NOT_THE_MODELS_BUSINESS = frozenset({"n_jobs", "memory", "verbose", "device", "nthread", "num_threads", "verbosity"})
# Modules of these libraries that are for testing them; importing one would run code that is not meant to be.
NO_ESTIMATORS = frozenset({"tests", "conftest", "testing"})
# A name becomes part of object keys, MLflow names and URLs.
MODEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# The promoted model, and the baseline that stands in every leaderboard.
RESERVED_NAMES = frozenset({"BestModel", "Dummy"})

MAX_BYTES = 1 << 20  # of the file
MAX_DEPTH = 50  # of objects and lists within each other
MAX_CANDIDATES = 10_000  # of one search
MAX_COMBINATIONS = 10**18  # to draw candidates from: scikit-learn counts them in 64 bits

Scoring = Literal["f1_weighted", "f1_macro", "accuracy", "balanced_accuracy", "neg_log_loss"]
Injury = Literal["unharmed", "killed", "hospitalised", "light"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Defaults(_Strict):
    """What holds for every model that does not say otherwise."""

    seed: int = Field(42, ge=0, lt=2**31, description="Seed of every random_state that a model leaves open.")
    search_folds: int = Field(3, ge=2, le=20, description="Folds of the hyper-parameter search.")
    scoring: Scoring = Field("f1_weighted", description="What a search maximises.")
    evaluation_folds: int = Field(
        5,
        ge=2,
        le=20,
        description="Folds of the cross-validation that is logged; of much data the first ones are enough.",
    )
    minutes: float = Field(30, gt=0, description="What one search, training or evaluation may take; then it is killed.")
    masked_share: float = Field(
        1.0,
        ge=0,
        le=5,
        description="Masked copies of the training accidents (1: one of each), in which fields are missing as at the "
        "levels of knowledge, and at random.",
    )


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


Recall = Annotated[float, Field(ge=0.05, le=0.99)]


class DecisionSpec(_Strict):
    """What an alert promises."""

    recall: Recall | dict[str, Recall] = Field(
        0.8,
        description="Share of the accidents with somebody severe that an alert shall find; one for all levels of "
        "knowledge, or one a level (those that are not named: 0.8).",
    )

    def by_level(self) -> dict[str, float]:
        """Return the recall of each level of knowledge."""
        if isinstance(self.recall, dict):
            return {name: self.recall.get(name, 0.8) for name in LEVELS}
        return dict.fromkeys(LEVELS, self.recall)


class Step(_Strict):
    """An estimator: its class and the parameters that it is made with; a parameter may be such an object too."""

    class_: str = Field(alias="class", description="Module and name, for instance sklearn.svm.SVC.")
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters of the class.")


class Distribution(_Strict):
    """Numbers to draw from: between `low` and `high`; of integers, both included."""

    distribution: Literal["uniform", "loguniform", "integers"]
    low: float
    high: float

    @model_validator(mode="after")
    def _is_a_range(self) -> Distribution:
        if self.low >= self.high or (self.distribution == "loguniform" and self.low <= 0):
            raise ValueError("low must be below high, and above 0 for loguniform")
        return self


Positive = Annotated[float, Field(gt=0)]
Values = Annotated[list[Any], Field(min_length=1)]
ValuesOrDistribution = Annotated[
    Annotated[Values, Tag("values")] | Annotated[Distribution, Tag("range")],
    Discriminator(lambda said: "values" if isinstance(said, list) else "range"),
]


class SearchSpec(_Strict):
    """How the hyper-parameters are searched; what is left out stands in `defaults`."""

    kind: Literal["grid", "random", "halving"] = Field(
        "grid",
        description="All combinations; some drawn at random; or all on few accidents, and the best third on more.",
    )
    folds: int | None = Field(None, ge=2, le=20)
    scoring: Scoring | None = None
    candidates: int | None = Field(
        None, ge=1, le=MAX_CANDIDATES, description="At most so many, drawn at random where there are more."
    )
    minutes: float | None = Field(None, gt=0, description="Then the best that was found so far is taken.")


class ModelSpec(_Strict):
    """One model: the steps of its pipeline and what is searched."""

    pipeline: Annotated[
        list[tuple[str, Step]],
        Field(min_length=1, description="Steps as [name, {class, params}]; the last one is a classifier."),
    ]
    param_grid: dict[str, Values] = Field(default_factory=dict, description="Values to try, by step__parameter.")
    param_distributions: dict[str, ValuesOrDistribution] = Field(
        default_factory=dict, description="Values or ranges to draw from, by step__parameter; not with a grid search."
    )
    search: SearchSpec = SearchSpec()
    minutes: float | None = Field(None, gt=0, description="Instead of the default.")
    max_rows: int | None = Field(None, ge=100, description="People it is trained on at most (whole accidents).")
    class_weight: Literal["balanced"] | Annotated[float, Field(gt=0, le=1)] | dict[Injury, Positive] | None = Field(
        None,
        description="Weight of each class in training: its rarity ('balanced'), a power of it (0 to 1), or as given.",
    )
    masked_share: float | None = Field(None, ge=0, le=5, description="Instead of the default.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of its runs in MLflow.")


class Catalogue(_Strict):
    """Models of injury severity: how each is made, searched and chosen."""

    schema_: str | None = Field(None, alias="$schema")
    defaults: Defaults = Defaults()
    selection: Selection = Selection()
    decision: DecisionSpec = DecisionSpec()
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
    document = _parse(text, source)
    defects = _Defects()
    catalogue: Catalogue | None
    try:
        catalogue = Catalogue.model_validate(document)
    except ValidationError as error:
        _tell(error, document, defects)
        catalogue = _without(document, error)  # what is left is checked too: all defects are told at once
    if catalogue is not None:
        _check_weights(catalogue.selection.weights, defects)
        _check_levels(catalogue.decision, defects)
        for name, spec in catalogue.models.items():
            _check_model(name, spec, defects)
    if defects.found or catalogue is None:
        raise _refuse(source, defects.found)
    return catalogue


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Catalogue.model_json_schema(by_alias=True)}


def build(spec: ModelSpec, params: Mapping[str, Any] | None = None, *, seed: int, threads: int = 1) -> Any:
    """Make the unfitted scikit-learn Pipeline of a checked specification.

    Parameters
    ----------
    params
        The chosen values of the search, as JSON writes them, by `step__parameter`.
    seed
        Given to every `random_state` that the specification leaves open.
    threads
        Given to LightGBM and XGBoost, which otherwise take every core; scikit-learn's classes take one.
    """
    pipeline = _pipeline(spec, _Defects())
    pipeline.set_params(**{key: _value(value, "", _Defects()) for key, value in (params or {}).items()})
    for key, value in pipeline.get_params(deep=True).items():
        if key.rpartition("__")[2] == "random_state" and value is None:
            pipeline.set_params(**{key: seed})
        elif type(value).__module__.partition(".")[0] == "lightgbm":
            value.set_params(n_jobs=threads, verbose=-1)
        elif type(value).__module__.partition(".")[0] == "xgboost":
            value.set_params(n_jobs=threads)
    return pipeline


def fingerprint(spec: ModelSpec, defaults: Defaults) -> str:
    """Return a hash of all that the file says of how a model is made and judged."""
    said = json.dumps([as_json(spec), defaults.model_dump(exclude={"minutes"})], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def as_json(spec: ModelSpec) -> dict[str, Any]:
    """Return what decides how a model is made, as the file writes it."""
    return spec.model_dump(by_alias=True, exclude={"tags", "minutes"})


# --- the document ------------------------------------------------------------------------------------------


def decode(content: bytes, source: str) -> str:
    """Return the text of a catalogue's file; CatalogueError when it is too large or not in UTF-8."""
    if len(content) > MAX_BYTES:
        raise CatalogueError(f"{source} holds more than {MAX_BYTES:,} bytes.", "name a catalogue of models.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CatalogueError(f"{source} is not encoded in UTF-8 ({error}).", "save it as UTF-8.") from error


def _parse(text: str, source: str) -> Any:
    try:
        document = json.loads(text, object_pairs_hook=_no_doubles, parse_constant=_no_number)
        _check_depth(document)
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise CatalogueError(f"{source} is not JSON ({place}).", "correct the file at that place.") from error
    except RecursionError as error:
        raise CatalogueError(f"{source} is nested too deeply.", "write it flatter.") from error
    except UnicodeEncodeError as error:
        raise CatalogueError(f"{source} holds half a character ({error}).", "write it in UTF-8.") from error
    except _DoubledNameError as error:
        raise CatalogueError(f"{source} has the name {error} twice in one object.", "keep one of the two.") from error
    except ValueError as error:  # a number of thousands of digits, or one that JSON does not have
        raise CatalogueError(f"{source} holds a number that cannot be: {error}.", "correct that number.") from error
    return document


def _no_number(said: str) -> Any:
    raise ValueError(f"{said} is not JSON")


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise RecursionError
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inside:
        _check_depth(each, depth + 1)


def _tell(error: ValidationError, document: Any, defects: _Defects) -> None:
    """Say of each misshapen place what was found there and what is allowed."""
    misfits: dict[str, tuple[list[str], Any]] = {}  # a place that may hold one of several types misfits each
    for each in error.errors():
        path = _path(document, each["loc"], absent=each["type"] == "missing")
        if each["type"] == "extra_forbidden":
            allowed = _fields_at(path[:-1])
            unknown = f"{path[-1]!r} is not known here{_closest(str(path[-1]), allowed)}{_allowed(allowed)}"
            defects.add(_pointer(path), unknown)
        elif each["type"] == "missing":
            defects.add(_pointer(path), f"{path[-1]!r} is missing")
        else:
            misfits.setdefault(_pointer(path), ([], each["input"]))[0].append(each["msg"])
    for pointer, (messages, found) in misfits.items():
        if any(other.startswith(f"{pointer}/") for other in misfits):
            continue  # it is of the right type, and the defect lies inside
        told = messages[0] + "".join(f", or {m.removeprefix('Input should be ')}" for m in messages[1:])
        near = _closest_quoted(found, told)
        defects.add(pointer, f"{told}; found {json.dumps(found, default=str)[:80]}{near}")


def _path(document: Any, location: Sequence[int | str], *, absent: bool = False) -> list[int | str]:
    """Return where a defect lies: pydantic's location also names the branch of a choice between types.

    Of what is `absent` the last part is not in the document.
    """
    path: list[int | str] = []
    for i, part in enumerate(location):
        inside = (
            part in document
            if isinstance(document, dict)
            else isinstance(document, list) and isinstance(part, int) and part < len(document)
        )
        if inside:
            document = document[part]
            path.append(part)
        elif absent and i == len(location) - 1:
            path.append(part)
    return path


def _fields_at(path: Sequence[int | str]) -> list[str]:
    """Return the names that are known at a place of the document."""
    known: dict[int, type[_Strict]] = {0: Catalogue, 2: ModelSpec, 3: SearchSpec, 5: Step}
    model: type[_Strict] = known.get(len(path), Distribution)
    match list(path):
        case ["defaults"]:
            model = Defaults
        case ["selection"]:
            model = Selection
        case ["selection", "weights"]:
            model = Weights
        case ["decision"]:
            model = DecisionSpec
        case ["models", _, "param_distributions", _]:
            model = Distribution
    return [field.alias or name for name, field in model.model_fields.items()]


def _without(document: Any, error: ValidationError) -> Catalogue | None:
    """Return the catalogue without its misshapen parts, None when too little is left."""
    if not isinstance(document, dict):
        return None
    left = json.loads(json.dumps(document))
    for each in error.errors():
        match _path(document, each["loc"]):
            case ["models", _, "param_grid" | "param_distributions", _, *_] as path:
                _drop(left, path[:4])
            case ["models", _, *_] | ["decision", "recall", _] as path:
                _drop(left, path[:3])
            case ["decision", "recall"] if isinstance(left.get("decision", {}).get("recall"), dict):
                pass  # it is no number, as it may be; its parts are judged by themselves
            case path:
                _drop(left, path[:1])
    models = left.get("models") or {}
    left["models"] = {name: said for name, said in models.items() if isinstance(said, dict) and "pipeline" in said}
    try:
        return Catalogue.model_validate(left)
    except ValidationError:
        return None


def _drop(document: Any, path: Sequence[int | str]) -> None:
    """Drop what is at a place of the document, if it is there still."""
    *way, last = path or [""]
    for key in way:
        document = document.get(key) if isinstance(document, dict) else None
    if isinstance(document, dict):
        document.pop(last, None)


# --- checks ------------------------------------------------------------------------------------------------


def _check_weights(weights: Weights, defects: _Defects) -> None:
    total = sum(weights.model_dump().values())
    if abs(total - 1) > 1e-6:
        defects.add("/selection/weights", f"the weights sum to {total:g}; they must sum to 1")


def _check_levels(decision: DecisionSpec, defects: _Defects) -> None:
    for name in decision.recall if isinstance(decision.recall, dict) else ():
        if name not in LEVELS:
            near = _closest(name, LEVELS)
            defects.add(
                f"/decision/recall/{_escape(name)}",
                f"{name!r} is no level of knowledge{near}; allowed: {', '.join(LEVELS)}",
            )


def _check_model(name: str, spec: ModelSpec, defects: _Defects) -> None:
    pointer = f"/models/{_escape(name)}"
    if not MODEL_NAME.fullmatch(name) or name in RESERVED_NAMES:
        defects.add(pointer, f"{name!r} cannot be a model's name: use letters, digits, - and _, not BestModel or Dummy")
    pipeline = _pipeline(spec, defects, pointer)
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
        defects.add(f"{pointer}/pipeline", f"holds parts that are no [name, estimator] ({error})")
        return
    _check_grid(pointer, spec, pipeline, known, defects)
    _check_weighting(pointer, spec, pipeline, defects)


def _is_classifier(pipeline: Any) -> bool:
    from sklearn.base import is_classifier

    return bool(is_classifier(pipeline))


def _check_grid(pointer: str, spec: ModelSpec, pipeline: Any, known: Mapping[str, Any], defects: _Defects) -> None:
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
            mend = "let search/candidates say how many to draw" if all_are_tried else "give fewer values, or ranges"
            defects.add(f"{pointer}/{name}", f"makes {math.prod(lists):,} combinations, more than {limit:,}; {mend}")


def _check_values(
    pointer: str, searched: Mapping[str, Any], pipeline: Any, known: Mapping[str, Any], defects: _Defects
) -> None:
    for key, values in searched.items():
        place = f"{pointer}/{_escape(key)}"
        owner, _, parameter = key.rpartition("__")
        if parameter in NOT_THE_MODELS_BUSINESS:
            defects.add(place, f"{key} is set by the machine's settings, not by a model; remove it")
        elif key not in known:
            allowed = [name for name in known if name.rpartition("__")[0] == owner] or list(known)
            near = _closest(key, known)
            defects.add(place, f"the pipeline has no parameter {key!r}{near}; write step__parameter{_allowed(allowed)}")
        else:
            tried = [values.low, values.high] if isinstance(values, Distribution) else values
            if isinstance(values, Distribution) and values.distribution == "integers":
                tried = [int(value) for value in tried]
            for i, value in enumerate(tried):
                at = place if isinstance(values, Distribution) else f"{place}/{i}"
                _check_value(known.get(owner, pipeline), parameter, _value(value, at, defects), at, defects)


def _check_value(owner: Any, parameter: str, value: Any, pointer: str, defects: _Defects) -> None:
    """Let scikit-learn's own check judge a value; it is private, but stable. Other libraries have none."""
    from sklearn.utils._param_validation import validate_parameter_constraints

    rules = getattr(owner, "_parameter_constraints", {})
    if parameter in rules:
        try:
            validate_parameter_constraints(rules, {parameter: value}, caller_name=type(owner).__name__)
        except ValueError as error:
            defects.add(pointer, f"{error}{_closest_quoted(value, str(error))}")


def _check_weighting(pointer: str, spec: ModelSpec, pipeline: Any, defects: _Defects) -> None:
    from sklearn.utils.validation import has_fit_parameter

    last = pipeline.steps[-1][1]
    if spec.class_weight is not None and not has_fit_parameter(last, "sample_weight"):
        defects.add(f"{pointer}/class_weight", f"{type(last).__name__} takes no weights; remove it")


def _pipeline(spec: ModelSpec, defects: _Defects, pointer: str = "") -> Any:
    """Make the pipeline without what is defective in it; None when a step cannot be made."""
    from sklearn.pipeline import Pipeline

    steps = []
    names: set[str] = set()
    for i, (name, described) in enumerate(spec.pipeline):
        place = f"{pointer}/pipeline/{i}"
        if name in names or "__" in name or not name:
            defects.add(f"{place}/0", f"the step's name {name!r} is empty, doubled, or holds '__'")
        names.add(name)
        steps.append((name, _estimator(described.model_dump(by_alias=True), f"{place}/1", defects)))
    return None if any(step is None for _, step in steps) else Pipeline(steps)


def _estimator(described: Mapping[str, Any], pointer: str, defects: _Defects) -> Any:
    """Make an estimator without the parameters that are defective; None when it cannot be made."""
    before = len(defects.found)
    unknown = described.keys() - {"class", "params"}
    for key in sorted(unknown):
        defects.add(f"{pointer}/{_escape(key)}", "is not known here; allowed: class, params")
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
            near = _closest(key, allowed)
            defects.add(place, f"{cls.__name__} has no parameter {key!r}{near}{_allowed(allowed)}")
        else:
            known = len(defects.found)
            made = _value(value, place, defects)
            if len(defects.found) == known:
                values[key] = made
    return _instance(cls, values, pointer, defects, complete=len(defects.found) == before)


def _parameters(cls: type) -> list[str]:
    """Return the names that a class takes; XGBoost's stand in get_params alone, a composite's in its signature."""
    named = [name for name, p in inspect.signature(cls).parameters.items() if p.kind is not p.VAR_KEYWORD]
    try:
        return sorted({*named, *cls().get_params(deep=False)})
    except TypeError:  # it cannot be made without parameters
        return named


def _instance(cls: type, values: dict[str, Any], pointer: str, defects: _Defects, *, complete: bool) -> Any:
    try:
        made = cls(**values)
    except TypeError as error:  # a parameter without default is not given
        if complete:
            defects.add(pointer, f"{cls.__name__} cannot be made: {error}{_allowed(_parameters(cls))}")
        return None
    for key, value in values.items():
        _check_value(made, key, value, f"{pointer}/params/{_escape(key)}", defects)
    return made


def _class(path: Any, pointer: str, defects: _Defects) -> type | None:
    """Import an allowed estimator class; a defect and None when it is not one."""
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
        near = _closest(parts[-1], _estimators(), show=_estimators())
        defects.add(pointer, f"there is no module {'.'.join(parts[:-1])!r} (for class {path!r}){near}")
        return None
    from sklearn.base import BaseEstimator

    cls = getattr(module, parts[-1], None)
    if not (inspect.isclass(cls) and issubclass(cls, BaseEstimator)):
        names = [n for n in dir(module) if inspect.isclass(getattr(module, n, None))]
        near = _closest(parts[-1], [*names, *_estimators()], show=_estimators())
        defects.add(pointer, f"{path!r} is no estimator{near}")
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
    if len(defects) == 1:
        cause = f"{source} has 1 defect: {defects[0]}."
    else:
        cause = f"{source} has {len(defects)} defects:" + "".join(f"\n- {defect}" for defect in defects) + "\n"
    return CatalogueError(
        cause,
        "correct the file; docs/models.md shows how Python is written in JSON.",
    )


def _pointer(location: Sequence[int | str]) -> str:
    return "".join(f"/{_escape(str(part))}" for part in location)


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _allowed(names: Sequence[str] | Mapping[str, Any]) -> str:
    offered = sorted(name for name in names if name.rpartition("__")[2] not in NOT_THE_MODELS_BUSINESS)
    return f"; allowed: {', '.join(offered)}" if offered else ""


def _closest(name: str, allowed: Sequence[str] | Mapping[str, Any], *, show: Mapping[str, str] | None = None) -> str:
    written = {each.lower(): each for each in allowed}
    near = [written[each] for each in difflib.get_close_matches(name.lower(), written, n=1)]
    return f" (did you mean {(show or {}).get(near[0], near[0])!r}?)" if near else ""


def _closest_quoted(found: Any, message: str) -> str:
    """Return the nearest of the names that a message quotes as allowed."""
    return _closest(found, re.findall(r"'([^']+)'", message.partition(" Got ")[0])) if isinstance(found, str) else ""


@cache
def _estimators() -> dict[str, str]:
    """Return the path of each estimator by its class name, for messages."""
    from sklearn.utils import all_estimators

    found = {name: f"{cls.__module__}.{name}" for name, cls in all_estimators()}
    public = {name: re.sub(r"\._\w+", "", path) for name, path in found.items()}
    return public | {"LGBMClassifier": "lightgbm.LGBMClassifier", "XGBClassifier": "xgboost.XGBClassifier"}
