"""CSV in, CSV out: the four BAAC files of a year, or the merged CSV that the pipeline writes.

A file is read and checked as a whole before the first line is sent: a defect gives an error, never half an answer.
Features and probabilities are then made and sent in parts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from api.scene_tables import Columns
from api.schemas.fields import ACCIDENT, PERSON, VEHICLE
from include.accidents.data import files, merge, reader
from include.accidents.data.columns import Column, Kind, Table
from include.accidents.data.columns import column as column_of
from include.accidents.data.departments import DEPARTMENTS, department_number
from include.accidents.data.scenes import Scenes
from include.accidents.errors import InputError
from include.accidents.features import matrix
from include.accidents.features.declaration import Floats
from include.accidents.models import predictions
from include.accidents.registry.loading import LoadedModel

MAX_LINES: Final = 500_000  # of one file; four years of people, or the whole of one
PART: Final = 20_000  # people answered at a time
GRAV: Final = column_of(Table.USAGERS, "grav")
TEXT_COLUMNS: Final = frozenset({"num_acc", "id_vehicule", "num_veh", "dep", "hrmn"})


@dataclass(frozen=True)
class Upload:
    """People to predict, with the lines they came in.

    Attributes
    ----------
    accident
        Number of each person's accident, shape (people,).
    grav
        The severity of each person, NaN where the file has none.
    """

    header: bytes
    lines: Sequence[bytes]
    delimiter: bytes
    features: Floats
    accident: npt.NDArray[np.int64]
    grav: Floats


@dataclass
class Answer:
    """The predictions of an upload, made and written in parts; other requests are answered between two parts."""

    model: LoadedModel
    upload: Upload
    scores: dict[str, Any] = field(default_factory=dict)

    def parts(self) -> Iterator[bytes]:
        """Predict all people, then append the predictions to their lines.

        An accident is decided by all of its people, and their lines may be far apart: so all are predicted first.

        Yields
        ------
        An empty part for each block of people that is predicted; then the file, `PART` lines at a time.
        """
        proba = []
        for block in predictions.blocks(self.model, self.upload.features):
            proba.append(block)
            yield b""
        decided = predictions.decided(self.model, self.upload.features, np.concatenate(proba), self.upload.accident)
        self.scores = predictions.score(decided, self.upload.grav)
        delimiter, lines = self.upload.delimiter, self.upload.lines
        yield self.upload.header + predictions.header(delimiter) + b"\n"
        for start in range(0, len(lines), PART):
            part = slice(start, start + PART)
            added = predictions.lines(decided, delimiter.decode(), part)
            yield b"".join(
                [b"%b%b%b\n" % (line, delimiter, cells) for line, cells in zip(lines[part], added, strict=True)]
            )


def read(uploaded: Mapping[str, bytes], limit: int) -> Upload:
    """Read the uploaded files: one merged CSV, or the four files of one year.

    Returns
    -------
    Features and lines of the people, in the order of the file.

    Raises
    ------
    InputError
        For a file that cannot be used: it names the file, the line or column, the defect, and the remedy.
    """
    contents: dict[str, bytes] = {}
    for name, content in uploaded.items():
        contents[name] = files.decompress(name, content, limit)
        limit -= len(contents[name])
        _check_lines(name, contents[name])
    if len(contents) == 1:
        ((name, content),) = contents.items()
        if files.recognise(name) is None:
            return _read_merged(name, content)
    return _read_year(contents)


def _check_lines(name: str, content: bytes) -> None:
    lines = max(content.count(b"\n"), content.count(b"\r"))
    if lines > MAX_LINES:
        raise InputError(f"{name} has {lines:,} lines; {MAX_LINES:,} are read at most.", "send it in parts.")


# --- four files --------------------------------------------------------------------------------------------


def _read_year(contents: Mapping[str, bytes]) -> Upload:
    tables: dict[Table, tuple[str, bytes]] = {}
    years: set[int] = set()
    for name, content in contents.items():
        known = files.recognise(name)
        if known is None:
            raise InputError(f"{name} is not the name of a BAAC file.", f"accepted are {files.ACCEPTED_FORMS}.")
        table, year = known
        tables[table] = (name, content)
        years.add(year)
    absent = [table.value for table in Table if table not in tables]
    if absent or len(years) != 1 or len(contents) != len(Table):
        reason = f"{', '.join(absent)} missing" if absent else f"years {', '.join(map(str, sorted(years)))}"
        raise InputError(
            f"Files sent: {len(contents)} ({reason}).",
            "send the four files of one year (caracteristiques, lieux, vehicules, usagers), or one merged CSV.",
        )
    scenes, _ = reader.read_year(tables, years.pop(), need_severity=False)
    header, lines = _split("the merged files", merged(scenes), ";", len(scenes.people))
    accident, grav = (scenes.people[name].to_numpy() for name in ("accident", "grav"))
    return Upload(header, lines, b";", matrix.build(scenes), accident, grav)


def merged(scenes: Scenes) -> bytes:
    """Return the merged CSV of a year, as the pipeline writes it."""
    return b"".join(merge.merged_csv(scenes))


# --- the merged CSV ----------------------------------------------------------------------------------------


def columns(name: str, content: bytes) -> tuple[Columns, Columns, Columns]:
    """Read a merged CSV into the columns of accidents, vehicles and people."""
    text, delimiter, names = _header(name, content)
    return _scenes(name, _parse(name, text, delimiter, names))


def _header(name: str, content: bytes) -> tuple[bytes, str, list[str]]:
    text = content.removeprefix(b"\xef\xbb\xbf")
    first = text[: reader.MAX_HEADER + 1].partition(b"\n")[0]
    if len(first) > reader.MAX_HEADER:
        raise InputError(
            f"{name}, line 1: the column names take more than {reader.MAX_HEADER:,} bytes.", "shorten them."
        )
    try:
        head = first.decode().strip("\r")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not encoded in UTF-8.", "save it as UTF-8.") from error
    delimiter = max(";,\t", key=head.count)
    names = [cell.strip().strip('"').lower() for cell in head.split(delimiter)]
    if "num_acc" not in names or not {"id_vehicule", "num_veh"} & set(names):
        raise InputError(
            f"{name}, line 1: the columns num_acc and id_vehicule (or num_veh) are missing.",
            f"send a merged CSV as the pipeline writes it (df_accidents.csv), or four files: {files.ACCEPTED_FORMS}.",
        )
    if len(set(names)) < len(names):
        raise InputError(f"{name}, line 1: a column name occurs twice.", "keep one of the two.")
    return text, delimiter, names


def _read_merged(name: str, content: bytes) -> Upload:
    text, delimiter, names = _header(name, content)
    read = _parse(name, text, delimiter, names)
    if read.num_rows == 0:
        raise InputError(f"{name} holds no person.", "send one line a person.")
    header, lines = _split(name, text, delimiter, read.num_rows)
    tables = _scenes(name, read)
    accident, grav = tables[2]["accident"], _fill(name, read, [GRAV], np.arange(read.num_rows))["grav"]
    return Upload(header, lines, delimiter.encode(), matrix.from_columns(*tables), accident, grav)


def _parse(name: str, text: bytes, delimiter: str, names: list[str]) -> pa.Table:
    wanted = {column.name for column in (*ACCIDENT, *VEHICLE, *PERSON, GRAV)} | TEXT_COLUMNS
    types = {
        n: pa.dictionary(pa.int32(), pa.string()) if n in TEXT_COLUMNS else pa.float32() for n in names if n in wanted
    }
    try:
        return pa.csv.read_csv(
            pa.BufferReader(text),
            read_options=pa.csv.ReadOptions(column_names=names, skip_rows=1, block_size=4 << 20),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in text),
            convert_options=pa.csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                strings_can_be_null=False,
                null_values=["", "nan", "NaN"],
            ),
        )
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{name} cannot be read ({error}).", "write numbers with a point, one line a person, in UTF-8."
        ) from error


def _scenes(name: str, read: pa.Table) -> tuple[Columns, Columns, Columns]:
    """Find the accidents and vehicles among the lines of people."""
    _, first, accident = np.unique(_codes(read, "num_acc"), return_index=True, return_inverse=True)
    everyone = np.arange(read.num_rows)
    own = _fill(name, read, VEHICLE, everyone)
    joint = accident.astype(np.int64)
    for column in ("id_vehicule", "num_veh"):
        if column in read.column_names:
            mark = _codes(read, column)
            joint = joint * (int(mark.max()) + 1) + mark
    # A person of no vehicle has nothing in the vehicle's columns.
    known = ~np.all([np.isnan(values) for values in own.values()], axis=0)
    _, first_of, vehicle_known = np.unique(joint[known], return_index=True, return_inverse=True)
    rows = everyone[known][first_of]
    vehicle = np.full(read.num_rows, -1, dtype=np.int64)
    vehicle[known] = vehicle_known
    people = _fill(name, read, PERSON, everyone)
    return (
        _fill(name, read, ACCIDENT, first),
        {column: values[rows] for column, values in own.items()} | {"accident": accident[rows]},
        people | {"accident": accident, "vehicle": vehicle},
    )


def _codes(read: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """Return a number for each distinct text of a column."""
    column = read.column(name).unify_dictionaries().combine_chunks()
    chunk = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(chunk.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _fill(name: str, read: pa.Table, wanted: Sequence[Column], rows: npt.NDArray[Any]) -> Columns:
    missing = np.full(len(rows), np.nan, dtype=np.float32)
    return {
        column.name: _values(name, read, column)[rows] if column.name in read.column_names else missing
        for column in wanted
    }


def _values(name: str, read: pa.Table, column: Column) -> npt.NDArray[np.float32]:
    """Return a column as numbers; InputError for a value that is not allowed."""
    if column.name in TEXT_COLUMNS:
        cells = read.column(column.name).unify_dictionaries()
        distinct = cells.chunk(0).dictionary.to_pylist() if cells.num_chunks else []
        judge = _department if column.name == "dep" else _minutes
        values = np.array([judge(cell) for cell in distinct], dtype=np.float32)[_codes(read, column.name)]
        wrong = values == -np.inf
    else:
        values = read.column(column.name).to_numpy(zero_copy_only=False).astype(np.float32, copy=True)
        values[np.isin(values, list(column.missing))] = np.nan
        if column.kind is Kind.CODE:
            wrong = ~(np.isnan(values) | np.isin(values, list(column.codes)))
        else:
            low = -np.inf if column.low is None else column.low
            high = np.inf if column.high is None else column.high
            wrong = ~(np.isnan(values) | ((values >= low) & (values <= high) & np.isfinite(values)))
    if wrong.any():
        row = int(wrong.argmax())
        value = read.column(column.name)[row].as_py()
        raise InputError(
            f"{name}, person {row + 1}, column {column.name!r}: {value!r} is not allowed.",
            "correct the value, or leave the cell empty; GET /api/v1/features lists what is allowed.",
        )
    return values


def _department(cell: str) -> float:
    text = cell.strip()
    if not text or text == "nan":
        return float("nan")
    known = _DEPARTMENTS.get(text.removesuffix(".0").upper().lstrip("0"))
    return -float("inf") if known is None else float(known)


_DEPARTMENTS: Final = {
    key: number
    for code in DEPARTMENTS
    if (number := department_number(code)) is not None
    for key in (code.lstrip("0"), str(number))
}
"""INSEE codes, and the numbers that the pipeline's files hold instead of them."""


def _minutes(cell: str) -> float:
    """Read HH:MM, or minutes since midnight as in the pipeline's files."""
    text = cell.strip()
    if not text or text == "nan":
        return float("nan")
    try:
        hours, colon, minutes = text.partition(":")
        time = 60 * int(hours) + int(minutes) if colon else float(text)
    except ValueError:
        return -float("inf")
    return float(time) if 0 <= time < 24 * 60 else -float("inf")


def _split(name: str, text: bytes, delimiter: str, rows: int) -> tuple[bytes, list[bytes]]:
    """Return the header and a line a person; a line break within quotes becomes a space."""
    lines = [line for line in text.splitlines() if line]
    if len(lines) == rows + 1:
        return lines[0], lines[1:]
    try:
        records = [r for r in csv.reader(io.StringIO(text.decode(), newline=""), delimiter=delimiter) if r]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{name} cannot be read ({error}).", "save it as CSV in UTF-8.") from error
    if len(records) != rows + 1:
        raise InputError(f"{name} holds {rows} people on {len(records) - 1} lines.", "send one line a person.")
    sink = io.StringIO()
    csv.writer(sink, delimiter=delimiter, lineterminator="\n").writerows(
        [" ".join(cell.splitlines()) for cell in record] for record in records
    )
    lines = sink.getvalue().encode().splitlines()
    return lines[0], lines[1:]
