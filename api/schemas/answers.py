"""The API's answers, as the OpenAPI describes them. Answers to predictions are written without these classes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Class = Literal["unharmed", "killed", "hospitalised", "light"]


class Probabilities(BaseModel):
    """One probability a class; their sum is 1."""

    unharmed: float
    killed: float
    hospitalised: float
    light: float


class PersonAnswer(BaseModel):
    """The prediction for one person."""

    person: int = Field(description="Position in `people`.")
    vehicle: str | None
    class_: Class = Field(alias="class", description="The most probable class.")
    probabilities: Probabilities
    severe: bool = Field(description="Whether `severe_probability` reaches the `severe_threshold` of the scene.")
    severe_probability: float = Field(description="Probability of killed or hospitalised.")


class Worst(BaseModel):
    """The person of the scene who is most probably killed or hospitalised."""

    person: int
    class_: Class = Field(alias="class")
    severe_probability: float


Level = Literal["first_call", "dispatch", "on_scene", "record"]


class SceneAnswer(BaseModel):
    """The prediction for one scene: the accident as a whole, and a line a person."""

    people: list[PersonAnswer]
    worst: Worst
    expected: Probabilities = Field(description="Expected number of people in each class.")
    p_any_severe: float = Field(description="Probability that at least one person is killed or hospitalised.")
    p_any_killed: float = Field(description="Probability that at least one person is killed.")
    alert: bool = Field(description="Whether `p_any_severe` reaches `alert_threshold`.")
    alert_threshold: float = Field(description="The threshold of this level of knowledge.")
    alert_recall: float = Field(description="Share of the accidents with somebody severe that it found, out of fold.")
    alert_precision: float = Field(description="Share of its alerts that were right, out of fold.")
    severe_threshold: float = Field(description="From which probability on a person is called `severe`; same recall.")
    level: Level = Field(description="The level of knowledge that the scene is nearest to.")
    sharpen: list[str] = Field(
        description="Two or three fields that would make the answer more certain, the best one first.",
        examples=[["accident.com", "people.secu1"]],
    )
    assumed: dict[str, str] = Field(description="The assumptions for what the scene leaves out.")


class Origin(BaseModel):
    """Which model answered."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    version: str
    trained_as: str
    run_id: str
    sample: bool = Field(description="Whether it was trained on the generated sample, not on real accidents.")


_ANSWERED_BY: dict[str, Any] = {
    "name": "BestModel",
    "version": "1",
    "trained_as": "LightGBM",
    "run_id": "e0e3b76aa02146a39401874c9eb8e405",
    "sample": False,
}
_DRIVER = {"unharmed": 0.829377, "killed": 0.002389, "hospitalised": 0.022708, "light": 0.145526}
_RIDER = {"unharmed": 0.004274, "killed": 0.144537, "hospitalised": 0.523649, "light": 0.327541}
_PREDICTED: Any = {
    "model": _ANSWERED_BY,
    "scenes": [
        {
            "people": [
                {
                    "person": 0, "vehicle": "A", "class": "unharmed", "probabilities": _DRIVER,
                    "severe": False, "severe_probability": 0.025097,
                },
                {
                    "person": 1, "vehicle": "B", "class": "hospitalised", "probabilities": _RIDER,
                    "severe": True, "severe_probability": 0.668185,
                },
            ],
            "worst": {"person": 1, "class": "hospitalised", "severe_probability": 0.668185},
            "expected": {"unharmed": 0.834096, "killed": 0.176018, "hospitalised": 0.525676, "light": 0.46421},
            "p_any_severe": 0.729706, "p_any_killed": 0.181839, "alert": True, "alert_threshold": 0.347264,
            "alert_recall": 0.8005, "alert_precision": 0.6776, "severe_threshold": 0.235239, "level": "on_scene",
            "sharpen": ["accident.infra", "accident.situ", "accident.vosp"],
            "assumed": {"position": "The usual place of accidents in Lille (59350)."},
        }
    ],
}  # fmt: skip
"""An answer to the first example of a scene: a car and a motorcycle, head-on."""
_EXPLAINED: Any = {
    "model": _ANSWERED_BY,
    "method": "occlusion",
    "person": 1,
    "probabilities": _RIDER,
    "severe_probability": 0.668185,
    "fields": [
        {
            "field": "vehicles[1].catv", "name": "catv", "value": 33, "severe_change": 0.219797,
            "changes": {"unharmed": -0.03332, "killed": 0.102405, "hospitalised": 0.117391, "light": -0.186477},
        }
    ],
}  # fmt: skip


class Prediction(BaseModel):
    """The answer to a scene or a list of scenes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PREDICTED]})

    model: Origin
    scenes: list[SceneAnswer]


class Effect(BaseModel):
    """How a field's value moved the probabilities, against the answer without it."""

    field: str = Field(examples=["people[1].secu1"])
    name: str
    value: Any = None
    severe_change: float
    changes: Probabilities


class Explanation(BaseModel):
    """The fields that moved a person's answer, strongest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXPLAINED]})

    model: Origin
    method: str
    person: int
    probabilities: Probabilities
    severe_probability: float
    fields: list[Effect]


class ModelAnswer(Origin):
    """A loaded model."""

    data_version: str
    engine: str = Field(
        description="What computes its answers: onnxruntime for a tree model with an ONNX copy, else scikit-learn."
    )
    metrics: dict[str, float]
    loaded_since: str
    requests: int = Field(description="Requests that this version has served since it was loaded.")


class Text(BaseModel):
    """A text in French and English."""

    fr: str
    en: str


class Code(Text):
    """One code with its labels; a department's is a text, such as 2A."""

    code: int | str


class FieldAnswer(BaseModel):
    """One field of a scene."""

    name: str
    table: str
    part: Literal["accident", "vehicles", "people"]
    type: Literal["code", "integer", "number", "time", "department", "commune"]
    label: Text
    unit: str
    low: float | None
    high: float | None
    default: None = Field(description="A field that is left out is missing: not known.")
    codes: list[Code]


class FeatureAnswer(BaseModel):
    """One number that the models see."""

    name: str
    label: Text
    source: str = Field(description="The columns that it is made from.")
    unit: str
    known_at: Level = Field(description="The first level of knowledge at which it can be made.")


class LevelAnswer(BaseModel):
    """One level of knowledge, and the fields of a scene that are known there."""

    name: Level
    label: Text
    fields: list[str]


class CommuneAnswer(BaseModel):
    """One commune; without a position where none is known."""

    code: str
    name: str
    department: str
    population: int
    lat: float | None
    long: float | None


class Features(BaseModel):
    """Every field of a scene, every feature made from them, and the levels of knowledge."""

    fields: list[FieldAnswer]
    features: list[FeatureAnswer]
    levels: list[LevelAnswer]
    version: str


class Reloaded(BaseModel):
    """Which version was served, and which is now."""

    model: str
    previous_version: str | None
    version: str


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"]


class Ready(BaseModel):
    """Whether the model in production is loaded."""

    status: Literal["ready"]
    version: str
