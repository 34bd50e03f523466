"""What the fuzzers call: each takes bytes and ends in a result or in a named error of ours; anything else is a defect."""

from __future__ import annotations

import gzip
import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import ValidationError

from api import scene_reader, scene_tables, uploads
from api.problems import respond
from api.schemas import errors
from include.accidents.data import reader
from include.accidents.data.columns import Table
from include.accidents.errors import AccidentsError
from include.accidents.models import catalogue
from ops import airflow_settings
from tests.helpers import sample_files

YEARS: Final = (2009, 2018, 2019, 2022)  # the vintages whose forms differ
TABLES: Final = tuple(Table)
LIMIT: Final = 16 << 20
PLACEHOLDERS: Final = dict.fromkeys(re.findall(r"\$\{(\w+)\}", airflow_settings.FILE.read_text("utf-8")), "1")

Outcome = str
"""`result`, or the name of the error."""


@cache
def year_files(year: int) -> dict[Table, tuple[str, bytes]]:
    """The four small files of a year, plain."""
    return {
        table: (name.removesuffix(".gz"), gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
        for table, (name, content) in sample_files(year, 12).items()
    }


def raw_csv(data: bytes) -> Outcome:
    """Read a year of which one file is replaced; the first byte says which year, which table."""
    if not data:
        return "result"
    year, table = YEARS[data[0] % len(YEARS)], TABLES[data[0] // len(YEARS) % len(TABLES)]
    files = year_files(year)
    return _outcome(lambda: reader.read_year({**files, table: (files[table][0], data[1:])}, year))


def merged_csv(data: bytes) -> Outcome:
    """Read an upload of one merged CSV."""
    return _outcome(lambda: uploads.read({"people.csv": data}, LIMIT))


def four_csvs(data: bytes) -> Outcome:
    """Read an upload of four files of which one is replaced."""
    files = dict(year_files(2022).values())
    name = list(files)[data[0] % 4 if data else 0]
    return _outcome(lambda: uploads.read({**files, name: data[1:]}, LIMIT))


def models_json(data: bytes) -> Outcome:
    """Read a catalogue of models."""
    return _outcome(lambda: catalogue.load(catalogue.decode(data, "models.json"), "models.json"))


def scene_json(data: bytes) -> Outcome:
    """Read the body of a prediction, and answer what is wrong with it as the API does."""
    try:
        scene_tables.to_tables(scene_reader.read(data))
    except (ValidationError, errors.SceneError) as error:
        response = respond(error)
        assert response.status_code == 422
        assert orjson.loads(response.body)["detail"]
        return type(error).__name__
    return "result"


def settings_yaml(data: bytes) -> Outcome:
    """Read a file of Airflow's connections, pools and variables."""
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        path = Path(folder) / "airflow_settings.yaml"
        path.write_bytes(data)
        return _outcome(lambda: airflow_settings.load(path, PLACEHOLDERS))


TARGETS: Final[dict[str, Callable[[bytes], Outcome]]] = {
    each.__name__: each for each in (raw_csv, merged_csv, four_csvs, models_json, scene_json, settings_yaml)
}


def _outcome(read: Callable[[], Any]) -> Outcome:
    try:
        read()
    except AccidentsError as error:
        str(error).encode()  # it can be written to a log
        assert error.cause
        assert error.remedy
        return type(error).__name__
    return "result"


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
