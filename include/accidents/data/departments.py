"""The départements, and where France lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DEPARTMENTS: Final[Mapping[str, str]] = {
    "01": "Ain",
    "02": "Aisne",
    "03": "Allier",
    "04": "Alpes-de-Haute-Provence",
    "05": "Hautes-Alpes",
    "06": "Alpes-Maritimes",
    "07": "Ardèche",
    "08": "Ardennes",
    "09": "Ariège",
    "10": "Aube",
    "11": "Aude",
    "12": "Aveyron",
    "13": "Bouches-du-Rhône",
    "14": "Calvados",
    "15": "Cantal",
    "16": "Charente",
    "17": "Charente-Maritime",
    "18": "Cher",
    "19": "Corrèze",
    "2A": "Corse-du-Sud",
    "2B": "Haute-Corse",
    "21": "Côte-d'Or",
    "22": "Côtes-d'Armor",
    "23": "Creuse",
    "24": "Dordogne",
    "25": "Doubs",
    "26": "Drôme",
    "27": "Eure",
    "28": "Eure-et-Loir",
    "29": "Finistère",
    "30": "Gard",
    "31": "Haute-Garonne",
    "32": "Gers",
    "33": "Gironde",
    "34": "Hérault",
    "35": "Ille-et-Vilaine",
    "36": "Indre",
    "37": "Indre-et-Loire",
    "38": "Isère",
    "39": "Jura",
    "40": "Landes",
    "41": "Loir-et-Cher",
    "42": "Loire",
    "43": "Haute-Loire",
    "44": "Loire-Atlantique",
    "45": "Loiret",
    "46": "Lot",
    "47": "Lot-et-Garonne",
    "48": "Lozère",
    "49": "Maine-et-Loire",
    "50": "Manche",
    "51": "Marne",
    "52": "Haute-Marne",
    "53": "Mayenne",
    "54": "Meurthe-et-Moselle",
    "55": "Meuse",
    "56": "Morbihan",
    "57": "Moselle",
    "58": "Nièvre",
    "59": "Nord",
    "60": "Oise",
    "61": "Orne",
    "62": "Pas-de-Calais",
    "63": "Puy-de-Dôme",
    "64": "Pyrénées-Atlantiques",
    "65": "Hautes-Pyrénées",
    "66": "Pyrénées-Orientales",
    "67": "Bas-Rhin",
    "68": "Haut-Rhin",
    "69": "Rhône",
    "70": "Haute-Saône",
    "71": "Saône-et-Loire",
    "72": "Sarthe",
    "73": "Savoie",
    "74": "Haute-Savoie",
    "75": "Paris",
    "76": "Seine-Maritime",
    "77": "Seine-et-Marne",
    "78": "Yvelines",
    "79": "Deux-Sèvres",
    "80": "Somme",
    "81": "Tarn",
    "82": "Tarn-et-Garonne",
    "83": "Var",
    "84": "Vaucluse",
    "85": "Vendée",
    "86": "Vienne",
    "87": "Haute-Vienne",
    "88": "Vosges",
    "89": "Yonne",
    "90": "Territoire de Belfort",
    "91": "Essonne",
    "92": "Hauts-de-Seine",
    "93": "Seine-Saint-Denis",
    "94": "Val-de-Marne",
    "95": "Val-d'Oise",
    "971": "Guadeloupe",
    "972": "Martinique",
    "973": "Guyane",
    "974": "La Réunion",
    "975": "Saint-Pierre-et-Miquelon",
    "976": "Mayotte",
    "977": "Saint-Barthélemy",
    "978": "Saint-Martin",
    "986": "Wallis-et-Futuna",
    "987": "Polynésie française",
    "988": "Nouvelle-Calédonie",
}
"""Names of the departments and overseas territories by INSEE code, as `dep` writes them since 2019."""

_CORSICA: Final[Mapping[str, int]] = {"2A": 201, "2B": 202}


def department_number(code: str) -> int | None:
    """Return a department's number in numeric data.

    Parameters
    ----------
    code
        Today's INSEE code with or without its leading zero, in any case.

    Returns
    -------
    1 to 95, 201 for 2A, 202 for 2B, 971 to 988; None for any other text.
    """
    known = code.strip().upper().zfill(2)
    if known not in DEPARTMENTS:
        return None
    return _CORSICA.get(known) or int(known)


@dataclass(frozen=True)
class Box:
    """A rectangle of positions, in degrees (WGS84), its edges included."""

    south: float
    west: float
    north: float
    east: float


TERRITORIES: Final[Mapping[str, Box]] = {
    "metropolitan France": Box(42.3, -5.2, 51.15, 8.3),
    "Corsica": Box(41.3, 8.5, 43.1, 9.6),
    "971": Box(15.8, -61.85, 16.55, -60.95),
    "972": Box(14.35, -61.25, 14.95, -60.75),
    "973": Box(2.05, -54.65, 5.85, -51.55),
    "974": Box(-21.45, 55.15, -20.8, 55.9),
    "975": Box(46.7, -56.5, 47.2, -56.05),
    "976": Box(-13.1, 44.95, -12.55, 45.35),
    "977": Box(17.8, -63.0, 18.0, -62.7),
    "978": Box(17.98, -63.2, 18.2, -62.9),
    "986": Box(-14.45, -178.3, -13.1, -176.0),
    "987": Box(-28.0, -154.8, -7.8, -134.3),
    "988": Box(-22.9, 163.3, -19.4, 169.1),
}
"""Where France is: a box for the mainland, for Corsica, and for each overseas territory by INSEE code.

Sources: the outermost points that IGN gives, rounded outward by about 0.05 degrees. The mainland: the ridge above
Prats-de-Mollo, Ushant, Bray-Dunes, Lauterbourg; Corsica: Lavezzi, Capo Rosso, Capo Corso, Alistro. A box also holds
sea and parts of neighbouring countries: a position outside is wrong, one inside may still be. Polynesia's box spans
its archipelagos; 986 is Wallis, Futuna and Alofi, 988 the inhabited islands. Each lies on one side of the
antimeridian, so no box crosses it.
"""


def in_france(lat: float, long: float) -> bool:
    """Return whether a position in degrees (WGS84) may lie in France, overseas included; False for a missing one."""
    return any(box.south <= lat <= box.north and box.west <= long <= box.east for box in TERRITORIES.values())
