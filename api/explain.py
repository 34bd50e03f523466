"""Which fields changed an answer most: each is removed, and the model predicts again.

Occlusion needs nothing of a model but its probabilities, so it works for every model of the catalogue: forests and
boosted trees, calibrated, stacked and linear models, networks. Explainers of trees do not take pipelines or
calibrated models, and sampling ones take seconds. All variants of a person are one batch of some sixty rows.

Its limit: fields with the same information (`col` and the number of vehicles) share their effect, and each looks
weaker than both together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from api import scene_tables
from api.schemas.scenes import ScenePayload
from include.accidents.data.columns import CLASSES
from include.accidents.features import matrix
from include.accidents.models.evaluate import SEVERE, probabilities
from include.accidents.registry.loading import LoadedModel

AGES: Final = (20, 35, 50, 65, 80)
SEXES: Final = (1, 2)
"""A field is made missing, except sex and year of birth. In the files these are missing for a person who fled, nearly
always unharmed. The model would take a missing one as that; so they are averaged over ordinary values."""


def explain(model: LoadedModel, scene: ScenePayload, person: int | None) -> dict[str, Any]:
    """Return how much each given field changed the probabilities of one person.

    Parameters
    ----------
    person
        Position of the person; None for the one who is most probably killed or hospitalised.

    Returns
    -------
    The person's probabilities, and the fields, strongest first. A field's change of a probability is the one with its
    value minus the one without.
    """
    if person is None:
        proba = probabilities(model.estimator, matrix.from_columns(*scene_tables.to_tables([scene])))
        person = int(proba[:, SEVERE].sum(axis=1).argmax())
    variants = list(_variants(scene, person))
    scenes = [scene, *(changed for _, _, changed in variants)]
    rows = np.arange(len(scenes)) * len(scene["people"]) + person
    proba = probabilities(model.estimator, matrix.from_columns(*scene_tables.to_tables(scenes))[rows])
    effects: dict[str, dict[str, Any]] = {}
    for path in dict.fromkeys(path for path, _, _ in variants):
        those = [i for i, variant in enumerate(variants, start=1) if variant[0] == path]
        change = proba[0] - proba[those].mean(axis=0)
        effects[path] = {
            "field": path,
            "name": variants[those[0] - 1][1],
            "value": _value(scene, path),
            "severe_change": round(float(change[SEVERE].sum()), 6),
            "changes": {name: round(float(c), 6) for name, c in zip(CLASSES, change, strict=True)},
        }
    return {
        "person": person,
        "probabilities": {name: round(float(p), 6) for name, p in zip(CLASSES, proba[0], strict=True)},
        "severe_probability": round(float(proba[0][SEVERE].sum()), 6),
        "fields": sorted(effects.values(), key=lambda e: -abs(e["severe_change"])),
    }


def _variants(scene: ScenePayload, person: int) -> Iterator[tuple[str, str, ScenePayload]]:
    """Yield path, name and changed scene. A field of the other vehicles or people is removed from all at once."""
    accident, vehicles, people = scene.get("accident", {}), scene.get("vehicles", []), scene["people"]
    own = next((i for i, v in enumerate(vehicles) if v["id"] == people[person].get("vehicle")), None)
    # The year only dates the scene: without it nobody has an age. One coordinate alone is no position.
    for name in _given([{**accident, "an": None, "com": None, "long": None}]):
        removed = {name: None, "long": None} if name == "lat" else {name: None}
        shown = "com" if name == "lat" and "position_of_commune" in scene else name
        yield f"accident.{shown}", shown, {**scene, "accident": {**accident, **removed}}
    for path, key, rows, chosen in (
        (f"vehicles[{own}]", "vehicles", vehicles, {own} - {None}),
        ("vehicles[others]", "vehicles", vehicles, set(range(len(vehicles))) - {own}),
        (f"people[{person}]", "people", people, {person}),
        ("people[others]", "people", people, set(range(len(people))) - {person}),
    ):
        for name in _given([rows[i] for i in chosen if i is not None]):
            for value in _instead(name, accident):
                changed = [{**row, name: value} if i in chosen else row for i, row in enumerate(rows)]
                yield f"{path}.{name}", name, {**scene, key: changed}


def _given(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(
        dict.fromkeys(n for row in rows for n, v in row.items() if v is not None and n not in ("id", "vehicle"))
    )


def _instead(name: str, accident: Mapping[str, Any]) -> Sequence[int | None]:
    if name == "sexe":
        return SEXES
    if name == "an_nais" and accident.get("an"):
        return [accident["an"] - age for age in AGES]
    return (None,)


def _value(scene: ScenePayload, path: str) -> Any:
    """Return the scene's value at a path; None for several vehicles or people."""
    table, _, name = path.partition(".")
    if table == "accident":
        return scene["accident"][name]
    kind, _, index = table.rstrip("]").partition("[")
    return scene[kind][int(index)].get(name) if index.isdigit() else None
