"""The specification of models: the shape of the catalogue's JSON file."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from include.accidents.errors import CatalogueError
from include.accidents.models.defects import closest

LIBRARIES = ("sklearn", "lightgbm", "xgboost")
# A name becomes part of object keys, MLflow names and URLs.
MODEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# The promoted model, the baseline of every leaderboard, and the kept catalogues beside the models.
RESERVED_NAMES = ("BestModel", "Dummy", "catalogue")
MAX_CANDIDATES = 10_000  # of one search
MAX_COMBINATIONS = 10**18  # to draw candidates from: scikit-learn counts them in 64 bits

Scoring = Literal["f1_weighted", "f1_macro", "accuracy", "balanced_accuracy", "neg_log_loss"]
Injury = Literal["unharmed", "killed", "hospitalised", "light"]


class Strict(BaseModel):
    """A part of the file; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Defaults(Strict):
    """The values for every model that gives none of its own."""

    seed: int = Field(42, ge=0, lt=2**31, description="Seed of every random_state that a model leaves open.")
    search_folds: int = Field(3, ge=2, le=20, description="Folds of the hyper-parameter search.")
    scoring: Scoring = Field("f1_weighted", description="The score that a search maximises.")
    evaluation_folds: int = Field(
        5,
        ge=2,
        le=20,
        description="Folds of the cross-validation that is logged; of much data the first ones are enough.",
    )
    minutes: float = Field(30, gt=0, description="Time limit of one search, training or evaluation; then it is killed.")
    masked_share: float = Field(
        1.0,
        ge=0,
        le=5,
        description="Masked copies of the training accidents (1: one of each), in which fields are missing as at the "
        "levels of knowledge, and at random.",
    )


class Weights(Strict):
    """Weights of the selection score; they sum to 1."""

    accuracy: float = Field(0.25, ge=0, le=1)
    f1_weighted: float = Field(0.35, ge=0, le=1)
    recall_weighted: float = Field(0.20, ge=0, le=1)
    precision_weighted: float = Field(0.20, ge=0, le=1)


class Selection(Strict):
    """How the best model is chosen, and when it replaces the champion."""

    weights: Weights = Weights()
    min_gain: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Gain on global_test that the lower end of the 95 % interval must exceed.",
    )


Recall = Annotated[float, Field(ge=0.05, le=0.99)]
DEFAULT_RECALL = 0.8


class DecisionSpec(Strict):
    """The recall of alerts."""

    recall: Recall | dict[str, Recall] = Field(
        DEFAULT_RECALL,
        description="Share of the accidents with somebody severe that alerts must find; one for all levels of "
        f"knowledge, or one for each level (levels that are not named: {DEFAULT_RECALL}).",
    )


class Step(Strict):
    """An estimator: its class and the parameters that it is made with; a parameter may be such an object too."""

    class_: str = Field(alias="class", description="Module and name, for instance sklearn.svm.SVC.")
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters of the class.")


class Distribution(Strict):
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
    Discriminator(lambda value: "values" if isinstance(value, list) else "range"),
]


class SearchSpec(Strict):
    """How the hyper-parameters are searched; `defaults` gives the values that are left out."""

    kind: Literal["grid", "random", "halving"] = Field(
        "grid",
        description="All combinations; some, drawn at random; or all on few accidents, then the best third on more.",
    )
    folds: int | None = Field(None, ge=2, le=20)
    scoring: Scoring | None = None
    candidates: int | None = Field(
        None, ge=1, le=MAX_CANDIDATES, description="The most candidates; drawn at random where there are more."
    )
    minutes: float | None = Field(None, gt=0, description="Then the best candidate so far is taken.")


class ModelSpec(Strict):
    """One model: the steps of its pipeline and what is searched."""

    pipeline: Annotated[
        list[tuple[str, Step]],
        Field(
            min_length=1,
            description="Steps as [name, {class, params}], or [name, 'a shared step']; the last one is a classifier.",
        ),
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


class Catalogue(Strict):
    """Models of injury severity: how each is made, searched and chosen."""

    schema_: str | None = Field(None, alias="$schema")
    defaults: Defaults = Defaults()
    selection: Selection = Selection()
    decision: DecisionSpec = DecisionSpec()
    steps: dict[str, Step] = Field(
        default_factory=dict, description="Steps that several models share, by the name that their pipelines write."
    )
    models: Annotated[dict[str, ModelSpec], Field(min_length=1)]

    def model(self, name: str) -> ModelSpec:
        """Return the model called `name`; CatalogueError with the nearest name when there is none."""
        if name not in self.models:
            raise CatalogueError(
                f"The catalogue holds no model {name!r}{closest(name, self.models)}.",
                f"choose among {', '.join(self.models)}.",
            )
        return self.models[name]


def fingerprint(spec: ModelSpec, defaults: Defaults) -> str:
    """Return a hash of everything in the file that decides how a model is made and judged."""
    described = json.dumps([as_json(spec), defaults.model_dump(exclude={"minutes"})], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()


def as_json(spec: ModelSpec) -> dict[str, Any]:
    """Return the part of a specification that decides how its model is made, as the file writes it."""
    return spec.model_dump(by_alias=True, exclude={"tags", "minutes"})


Params = dict[str, Any]
