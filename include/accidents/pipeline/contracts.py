"""The values that tasks exchange by XCom: small, frozen, checked when they are read.

A task returns `to_json()` of one of these, and the next task reads it by `from_json`. No frame or model is exchanged.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

Json = dict[str, Any]


class Contract(BaseModel):
    """A value with a JSON form; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def to_json(self) -> Json:
        """Return the JSON form."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read the JSON form; pydantic's ValidationError (a ValueError) for another shape."""
        return cls.model_validate(value)


class RawYear(Contract):
    """The four files of a year.

    Attributes
    ----------
    sample
        Whether they are generated.
    files
        Name and SHA-256 of each table's file.
    loaded
        When the run read the raw files (ISO 8601, UTC); empty outside a run.
    newest_year
        The newest year with files, chosen or not.
    """

    year: int
    sample: bool
    files: dict[str, tuple[str, str]]
    loaded: str = ""
    newest_year: int


class PreparedYear(Contract):
    """The canonical tables of a year; `version` names them in the preprocessed bucket."""

    year: int
    version: str
    people: int
    sample: bool
    loaded: str
    newest_year: int


class Rows(Contract):
    """Numbers of people: read, kept in each split, and dropped (by year and reason)."""

    read: int = Field(alias="in")
    train_test: int
    global_test: int
    dropped: dict[str, dict[str, int]]


class CleanData(Contract):
    """The clean splits of the chosen years; `version` names them in the train bucket."""

    version: str
    sample: bool
    rows: Rows
    years: list[int]
    newest_year: int
    loaded: str


class ModelRun(Contract):
    """One model in one run of the DAG: its inputs and its parameters.

    Attributes
    ----------
    version
        The name of the results for this data and this specification: search, model, evaluation.
    catalogue
        The version of the catalogue that the run keeps.
    method
        The version of the method that trains and judges models (`models.version`).
    params
        The best parameters of the search.
    max_rows
        The most people that it learns from, as its time limit allows; None: all.
    """

    model: str
    version: str
    catalogue: str
    method: str
    data: CleanData
    params: Json
    max_rows: int | None


class LoggedModel(Contract):
    """A model in the registry; `served_version` is the version that the API serves under its name."""

    model: str
    registered_version: str
    run_id: str
    served_version: str


class Selection(Contract):
    """The result of a run: the version in production afterwards, the reason, and the run's note."""

    promoted: bool
    reason: str
    winner: str
    production_version: str | None
    report: str
    failed: dict[str, str]
    note: str


class Batch(Contract):
    """The four files of a year in one folder of the incoming bucket, by table."""

    name: str
    folder: str
    year: int
    files: dict[str, str]

    def object(self, what: str, ending: str) -> str:
        """Return the key of a result: in the batch's folder, named after its kind and the year."""
        return f"{self.folder}/{what}_{self.year}.{ending}".lstrip("/")


class PredictedBatch(Contract):
    """The result of a batch: `object` is a key in the predictions bucket."""

    batch: str
    people: int
    object: str


class Removal(Contract):
    """The objects that pruning removes: versions by bucket, registered versions (model, version), runs of MLflow."""

    versions: dict[str, list[str]]
    registered: list[tuple[str, str]]
    runs: list[str]
