"""What travels between the tasks by XCom: small, frozen, checked when it is read.

A task returns `to_json()` of one of these, and the next one reads it by `from_json`. No frame and no model travels.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

Json = dict[str, Any]


class Contract(BaseModel):
    """A value with a JSON form; a name that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def to_json(self) -> Json:
        """Return the JSON form."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read the JSON form; pydantic's ValidationError (a ValueError) when it has another shape."""
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
        When the run looked at the files (ISO 8601, UTC); empty outside a run.
    newest_year
        The newest year that was there to choose from.
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
    """How many people were read, kept in each split, and dropped (by year and reason)."""

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
    """One model in one run of the DAG: what it is made of, and with which parameters.

    Attributes
    ----------
    version
        Names what is made of this data by this specification: search, model, evaluation.
    catalogue
        The version of the catalogue that the run keeps.
    method
        The version of how models are trained and judged (`models.version`).
    params
        The best parameters that the search found.
    """

    model: str
    version: str
    catalogue: str
    method: str
    data: CleanData
    params: Json


class LoggedModel(Contract):
    """A model in the registry; `served_version` is what the API serves under its name."""

    model: str
    registered_version: str
    run_id: str
    served_version: str


class Selection(Contract):
    """How a run ended: what is in production afterwards, why, and the run's note."""

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
        """Return the key of a result: in the batch's folder, named after what it is and the year."""
        return f"{self.folder}/{what}_{self.year}.{ending}".lstrip("/")


class PredictedBatch(Contract):
    """What became of a batch: `object` lies in the predictions bucket."""

    batch: str
    people: int
    object: str


class Removal(Contract):
    """What pruning removes: versions by bucket, registered versions (model, version), runs of MLflow."""

    versions: dict[str, list[str]]
    registered: list[tuple[str, str]]
    runs: list[str]
