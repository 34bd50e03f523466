"""Reference data for requests: fields, features, levels of knowledge, communes."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query

from api.routes.common import COMMON
from api.schemas import answers, fields
from include.accidents.data import communes
from include.accidents.data.columns import Kind
from include.accidents.data.departments import DEPARTMENTS
from include.accidents.features import definitions, knowledge
from include.accidents.features.levels import LEVELS
from include.accidents.features.version import feature_version

router = APIRouter(prefix="/api/v1")


@router.get("/features", summary="Every field of a scene and every feature made from it", responses=COMMON)
def list_features() -> answers.Features:
    """Return types, codes with French and English labels, units, ranges and defaults."""
    parts = (("accident", fields.ACCIDENT), ("vehicles", fields.VEHICLE), ("people", fields.PERSON))
    scene_fields: Any = [
        {
            "name": c.name,
            "table": c.table,
            "part": part,
            "type": _type(c.name, c.kind, c.unit),
            "label": {"fr": c.label.fr, "en": c.label.en},
            "unit": "" if c.name == "hrmn" else c.unit,
            "low": None if c.name == "hrmn" else c.low,
            "high": None if c.name == "hrmn" else c.high,
            "default": None,
            "codes": _DEPARTMENTS
            if c.name == "dep"
            else [{"code": code, "fr": label.fr, "en": label.en} for code, label in c.codes.items()],
        }
        for part, columns in parts
        for c in columns
    ]
    scene_fields.append(_COMMUNE)
    features: Any = [
        {
            "name": f.name,
            "label": {"fr": f.label.fr, "en": f.label.en},
            "source": ", ".join(f.source),
            "unit": f.unit,
            "known_at": knowledge.known_at(f),
        }
        for f in definitions.FEATURES
    ]
    levels: Any = [
        {"name": level.name, "label": {"fr": level.label.fr, "en": level.label.en}, "fields": sorted(level.fields)}
        for level in LEVELS.values()
    ]
    return answers.Features(fields=scene_fields, features=features, levels=levels, version=feature_version())


@router.get("/communes", summary="Communes whose name begins with a text", responses=COMMON)
def list_communes(
    name: Annotated[str, Query(max_length=60, description="The beginning of the name; accents do not matter.")],
    department: Annotated[str | None, Query(max_length=3, description="INSEE code of the département.")] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> list[answers.CommuneAnswer]:
    """Return code, name, population and position of communes, the largest first."""
    return [
        answers.CommuneAnswer(
            code=commune.code,
            name=commune.name,
            department=commune.department,
            population=commune.population,
            lat=None if math.isnan(commune.lat) else commune.lat,
            long=None if math.isnan(commune.long) else commune.long,
        )
        for commune in communes.starting_with(name, limit, department)
    ]


_DEPARTMENTS: Final = [{"code": code, "fr": name, "en": name} for code, name in DEPARTMENTS.items()]


_COMMUNE: Final[dict[str, Any]] = {
    "name": "com",
    "table": "caracteristiques",
    "part": "accident",
    "type": "commune",
    "label": {"fr": "Commune (code INSEE)", "en": "Municipality (INSEE code)"},
    "unit": "",
    "low": None,
    "high": None,
    "default": None,
    "codes": [],
}


def _type(name: str, kind: Kind, unit: str) -> str:
    if name == "hrmn":
        return "time"
    if name == "dep":
        return "department"
    if kind is Kind.CODE:
        return "code"
    return "integer" if unit in fields.WHOLE_NUMBERS else "number"
