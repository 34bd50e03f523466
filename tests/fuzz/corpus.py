"""Damaged files, catalogues, settings and requests, made by code: what the fuzzers start from and `make test` reads."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from api import uploads
from api.schemas.scenes import EXAMPLE, EXAMPLE_IN_LABELS
from include.accidents.data import reader
from include.accidents.data.columns import Table
from ops import airflow_settings
from tests.fuzz.targets import TABLES, YEARS, year_files

ROOT: Final = Path(__file__).resolve().parents[2]
TREE: Final = "sklearn.tree.DecisionTreeClassifier"
C, L, V, U = Table

CELLS: Final = [
    b"", b"-1", b"-0", b"1.5", b"1e5", b"1e400", b"inf", b"NaN", b"9" * 19, b"9" * 30, b"9" * 6000, b"9" * 200_000,
    "²".encode(), "١٢".encode(), b"\x00", b"\xff\xfe", b'"', b'"a', b'a"b', b"a\nb", b"\r", b"24:60", b"2A", b"x" * 300,
]  # fmt: skip
PIECES: Final = [
    *CELLS[:12], b";", b",", b"\t", b"\n", b"\r\n", b"\xc2\xa0", b"{}", b"[]", b"null", b"\\ud800", b"@all", b"&a ",
    b"*a", b"? ", b"2021-99-99", b": ", b"- ",
]  # fmt: skip


NUMBERS: Final = (
    (2009, C, "hrmn"), (2009, C, "an"), (2018, U, "secu"), (2022, U, "grav"), (2022, U, "an_nais"), (2022, U, "actp"),
    (2022, C, "lat"), (2022, V, "id_vehicule"),
)  # fmt: skip


# --- whole inputs, undamaged


@cache
def good(target: str) -> tuple[bytes, ...]:
    """Return inputs that a target takes, to be damaged."""
    match target:
        case "raw_csv":
            return tuple(
                bytes([i + len(YEARS) * j]) + year_files(year)[table][1]
                for i, year in enumerate(YEARS)
                for j, table in enumerate(TABLES)
            )
        case "merged_csv":
            return (uploads.merged(reader.read_year(year_files(2022), 2022)[0]),)
        case "four_csvs":
            return tuple(bytes([i]) + content for i, (_, content) in enumerate(year_files(2022).values()))
        case "models_json":
            said = json.loads((ROOT / "include" / "models.json").read_text("utf-8"))
            return tuple(json.dumps({**said, "models": {name: m}}).encode() for name, m in said["models"].items())
        case "scene_json":
            return tuple(json.dumps(scene).encode() for scene in (EXAMPLE, EXAMPLE_IN_LABELS, [EXAMPLE, EXAMPLE]))
        case _:
            return (airflow_settings.FILE.read_bytes(),)


# --- damage


def mutants(target: str, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield inputs that were damaged at random, the same ones for the same seed."""
    chance = random.Random(seed)  # noqa: S311
    for _ in range(count):
        content = bytearray(chance.choice(good(target)))
        for _ in range(chance.randint(1, 5)):
            _damage(content, chance)
        yield bytes(content)


def _damage(content: bytearray, chance: random.Random) -> None:
    if not content:
        return
    at = chance.randrange(len(content))
    end = min(len(content), at + chance.randint(1, 30))
    match chance.randrange(7):
        case 0:
            content[at] = chance.randrange(256)
        case 1:
            del content[at:end]
        case 2:
            content[at:at] = content[at:end] * chance.randint(1, 3)
        case 3:
            content[at:at] = chance.choice(PIECES)
        case 4:
            del content[at:]
        case 5:
            lines = content.split(b"\n")
            chance.shuffle(lines)
            content[:] = b"\n".join(lines)
        case 6:
            lines = content.split(b"\n")
            row = chance.randrange(len(lines))
            mark = b";" if b";" in lines[row] else b","
            cells = lines[row].split(mark)
            cells[chance.randrange(len(cells))] = bytearray(chance.choice(CELLS))
            lines[row] = mark.join(cells)
            content[:] = b"\n".join(lines)


# --- damaged by hand: what once was wrong, or is likely to be


def known(target: str) -> Iterator[tuple[str, bytes]]:
    """Yield inputs with a name each."""
    match target:
        case "raw_csv":
            yield from _raw_files()
        case "merged_csv":
            yield from _merged_files()
        case "models_json":
            yield from _catalogues()
        case "scene_json":
            yield from _bodies()
        case "settings_yaml":
            yield from _settings()


def _index(year: int, table: Table) -> bytes:
    return bytes([YEARS.index(year) + len(YEARS) * TABLES.index(table)])


def with_cell(year: int, table: Table, column: str, cell: bytes) -> bytes:
    """Return a file of which one cell of the first row is replaced."""
    lines = year_files(year)[table][1].split(b"\n")
    header = lines[0].decode("latin-1").strip()
    mark = max(";,\t", key=header.count)
    cells = lines[1].split(mark.encode())
    cells[[name.strip('"').lower() for name in header.split(mark)].index(column)] = cell
    lines[1] = mark.encode().join(cells)
    return _index(year, table) + b"\n".join(lines)


def _raw_files() -> Iterator[tuple[str, bytes]]:
    plain = year_files(2022)[U][1]
    header, _, rows = plain.partition(b"\n")
    here = _index(2022, U)
    yield "nothing", here
    yield "a header alone", here + header
    yield "a header and empty lines", here + header + b"\n" * 100_000
    yield "no line breaks", here + plain.replace(b"\n", b";").replace(b"\r", b"")
    yield "a header of 200 KB", here + b";".join([b"a%d" % i for i in range(30_000)]) + b"\n1;2\n"
    yield "a line of 10 MB", here + plain + b"x" * (10 << 20)
    yield "an open quote", here + plain + b'"' + b"x\n" * 100_000
    yield "a quoted cell of 6 MB", here + plain + b'"' + b"x\n" * (3 << 20) + b'"\n'
    yield "UTF-16", here + plain.decode("latin-1").encode("utf-16")
    yield "zeros", here + bytes(10_000)
    yield "columns doubled", here + header + b";" + header + b"\n" + rows
    yield "half a gzip file", here + gzip.compress(plain)[:-20]
    yield "a gzip file with a wrong checksum", here + gzip.compress(plain)[:-8] + b"\x00" * 8
    yield "a gzip file of a gzip file", here + gzip.compress(gzip.compress(plain))
    for i, cell in enumerate(CELLS):
        for year, table, column in ((2009, C, "dep"), (2022, U, "num_acc"), NUMBERS[i % len(NUMBERS)]):
            yield f"{column} of {year} is {cell[:12]!r}", with_cell(year, table, column, cell)


def _merged_files() -> Iterator[tuple[str, bytes]]:
    (plain,) = good("merged_csv")
    header, _, rows = plain.partition(b"\n")
    yield "nothing", b""
    yield "a header alone", header
    yield "a header of 200 KB", b";".join([b"a%d" % i for i in range(30_000)]) + b"\n1;2\n"
    yield "a line of 10 MB", plain + b"x" * (10 << 20)
    yield "500,001 lines", header + b"\n" * 500_001
    yield "UTF-16", plain.decode().encode("utf-16")
    yield "half a gzip file", gzip.compress(plain)[:-20]
    yield "columns doubled", header + b";" + header + b"\n" + rows
    for cell in CELLS:
        for column in (b"num_acc", b"dep", b"hrmn", b"an_nais", b"catv"):
            lines = plain.split(b"\n")
            cells = lines[1].split(b";")
            cells[lines[0].replace(b'"', b"").strip().split(b";").index(column)] = cell
            lines[1] = b";".join(cells)
            yield f"{column.decode()} is {cell[:12]!r}", b"\n".join(lines)


def _catalogue(cls: str, params: Any = None, **more: Any) -> bytes:
    step = {"class": cls, "params": {} if params is None else params}
    return json.dumps({"models": {"A": {"pipeline": [["c", step]], **more}}}).encode()


def _catalogues() -> Iterator[tuple[str, bytes]]:
    yield "not UTF-8", b'{"models": "\xff"}'
    yield "an integer of 5,000 digits", b'{"models": ' + b"9" * 5000 + b"}"
    yield "half a character", b'{"models": {"\\ud800": {}}}'
    yield "100,000 lists", b'{"models": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield "900 lists", b'{"models": ' + b"[" * 900 + b"]" * 900 + b"}"
    yield "not a number", _catalogue(TREE, {"ccp_alpha": float("nan")})
    yield "an infinite number", b'{"models": {"A": {"pipeline": [["c", {"class": "x.Y", "params": {"a": 1e999}}]]}}}'
    yield "2 MB", json.dumps({"models": {f"m{i}": {} for i in range(130_000)}}).encode()
    yield "2,000 wrong models", json.dumps({"models": {f"A{i}": {"pipeline": []} for i in range(2000)}}).encode()
    for path in (
        "os.system", "sklearn.conftest.X", "sklearn.tests.test_base.K", "xgboost.testing.X", "xgboost.spark.X",
        "lightgbm.basic.Booster", "sklearn.base.ClassifierMixin", "sklearn.base.BaseEstimator", "sklearn..tree.X",
        "sklearn.pipeline.Pipeline", "sklearn.model_selection.GridSearchCV", "sklearn.multiclass.OneVsRestClassifier",
    ):  # fmt: skip
        yield path, _catalogue(path)
    for value in (
        10**400,
        {"a": [1]},
        [1, 2],
        {"class": 5},
        {"class": None},
        {"class": {}},
        "@all",
        "x" * 10_000,
        True,
    ):
        yield f"max_depth {str(value)[:20]}", _catalogue(TREE, {"max_depth": value})
        yield f"tried max_depth {str(value)[:20]}", _catalogue(TREE, param_grid={"c__max_depth": [value]})
        yield f"weight {str(value)[:20]}", _catalogue(TREE, {"class_weight": value})
    for value in (5, [], [["a", {"class": TREE}]], [["a", 5]], {"a": 1}, [[5]], ["a"]):
        yield f"estimators {str(value)[:20]}", _catalogue("sklearn.ensemble.VotingClassifier", {"estimators": value})
    for low, high in ((0, 10**400), (1e-320, 1e308), (5, 5)):
        span = {"distribution": "integers", "low": low, "high": high}
        yield f"from {low}", _catalogue(TREE, param_distributions={"c__max_depth": span}, search={"kind": "random"})


def _bodies() -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    yield "a million lists", b"[" * 1_000_000
    yield "half a character", b'{"people": [{"vehicle": "\\ud800"}]}'
    yield "an integer of 5,000 digits", b'{"people": [{"an_nais": ' + b"9" * 5000 + b"}]}"
    yield "an infinite number", b'{"people": [{"catu": 1e400}]}'
    yield "not a number", b'{"people": [{"catu": NaN}]}'
    yield "300,000 unknown fields", b'{"people": [{}],' + b",".join(b'"k%d":1' % i for i in range(300_000)) + b"}"
    yield "299,700 wrong people", b"[" + b",".join([b'{"people":[' + b",".join([b"1"] * 300) + b"]}"] * 999) + b"]"


def _settings() -> Iterator[tuple[str, bytes]]:
    yield "not UTF-8", b"a: \xff"
    yield "5,000 lists", b"[" * 5000
    yield (
        "a bomb of aliases",
        b"a: &a [x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (i, i, b",".join([b"*%c" % (i - 1)] * 9)) for i in range(98, 122)),
    )
    yield "an alias of itself", b"&a [*a]"
    yield "a date that cannot be", b"a: 2021-99-99"
    yield "an integer of 5,000 digits", b"airflow: " + b"9" * 5000
    yield "a date in an extra", b"airflow: {connections: [{conn_id: a, conn_extra: {a: 2021-01-01}}]}"
    yield "a date as a name", b"airflow: {connections: [{conn_id: a, conn_extra: {2021-01-01: 1}}]}"
    yield "a list as a key", b"? [a]\n: b"


# --- that would take all memory, from the header of a file


def _bomb(gigabytes: int) -> bytes:
    """Return a small gzip file of many parts that holds as many gigabytes of zeros."""
    return gzip.compress(bytes(64 << 20), 1) * (16 * gigabytes)


def _one_part(megabytes: int) -> bytes:
    """Return a gzip file of one part that holds as many megabytes of zeros."""
    made = io.BytesIO()
    with gzip.GzipFile(fileobj=made, mode="wb", compresslevel=1) as file:
        for _ in range(megabytes):
            file.write(bytes(1 << 20))
    return made.getvalue()


MB: Final = 1 << 20
HOSTILE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "a line of 1 GB": lambda header: b"%s\n%s" % (header, b"a" * (1024 * MB)),
    "a line of 250 MB": lambda header: b"%s\n%s" % (header, b"a" * (250 * MB)),
    "250 MB of empty lines": lambda header: b"%s\n%s" % (header, b"\n" * (250 * MB)),
    "250 MB of short lines": lambda header: b"%s\n%s" % (header, b"1;1\n" * (62 * MB)),
    "a bomb of 3 GB": lambda _: _bomb(3),
    "a bomb of one part": lambda _: _one_part(400),
    "a million columns": lambda header: b"%s;%s\n1\n" % (header, b";".join(b"a%d" % i for i in range(1_000_000))),
    "a million cells": lambda header: b"%s\n%s\n" % (header, b"1;" * 1_000_000),
}
