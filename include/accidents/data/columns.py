"""Columns of the BAAC files of every vintage: name, table, kind, labels, codes, bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


@dataclass(frozen=True)
class Label:
    """A name for people, in French (the domain's language) and in English."""

    fr: str
    en: str


Codes = Mapping[int, Label]

NOT_GIVEN: Final = frozenset({-1})
NOT_GIVEN_OR_ZERO: Final = frozenset({-1, 0})


def _codes(*rows: tuple[int, str, str]) -> Codes:
    """Turn rows of code, French label, English label into a mapping."""
    return {code: Label(fr, en) for code, fr, en in rows}


LUM: Final = _codes(
    (1, "Plein jour", "Full daylight"),
    (2, "Crépuscule ou aube", "Dusk or dawn"),
    (3, "Nuit sans éclairage public", "Night, no street lighting"),
    (4, "Nuit avec éclairage public non allumé", "Night, street lighting off"),
    (5, "Nuit avec éclairage public allumé", "Night, street lighting on"),
)
AGG: Final = _codes(
    (1, "Hors agglomération", "Outside built-up area"),
    (2, "En agglomération", "Inside built-up area"),
)
INT: Final = _codes(
    (1, "Hors intersection", "Not at a junction"),
    (2, "Intersection en X", "Crossroads"),
    (3, "Intersection en T", "T junction"),
    (4, "Intersection en Y", "Y junction"),
    (5, "Intersection à plus de 4 branches", "Junction of more than 4 arms"),
    (6, "Giratoire", "Roundabout"),
    (7, "Place", "Square"),
    (8, "Passage à niveau", "Level crossing"),
    (9, "Autre intersection", "Other junction"),
)
ATM: Final = _codes(
    (1, "Normale", "Normal"),
    (2, "Pluie légère", "Light rain"),
    (3, "Pluie forte", "Heavy rain"),
    (4, "Neige - grêle", "Snow or hail"),
    (5, "Brouillard - fumée", "Fog or smoke"),
    (6, "Vent fort - tempête", "Strong wind or storm"),
    (7, "Temps éblouissant", "Dazzling light"),
    (8, "Temps couvert", "Overcast"),
    (9, "Autre", "Other"),
)
COL: Final = _codes(
    (1, "Deux véhicules - frontale", "Two vehicles, head-on"),
    (2, "Deux véhicules - par l'arrière", "Two vehicles, rear-end"),
    (3, "Deux véhicules - par le côté", "Two vehicles, side"),
    (4, "Trois véhicules et plus - en chaîne", "Three or more vehicles, chain"),
    (5, "Trois véhicules et plus - collisions multiples", "Three or more vehicles, multiple collisions"),
    (6, "Autre collision", "Other collision"),
    (7, "Sans collision", "No collision"),
)
CATR: Final = _codes(
    (1, "Autoroute", "Motorway"),
    (2, "Route nationale", "National road"),
    (3, "Route départementale", "Departmental road"),
    (4, "Voie communale", "Municipal road"),
    (5, "Hors réseau public", "Off the public network"),
    (6, "Parc de stationnement ouvert à la circulation publique", "Car park open to public traffic"),
    (7, "Route de métropole urbaine", "Metropolitan road"),
    (9, "Autre", "Other"),
)
CIRC: Final = _codes(
    (1, "À sens unique", "One way"),
    (2, "Bidirectionnelle", "Two way"),
    (3, "À chaussées séparées", "Separate carriageways"),
    (4, "Avec voies d'affectation variable", "Lanes of variable assignment"),
)
VOSP: Final = _codes(
    (0, "Sans objet", "None"),
    (1, "Piste cyclable", "Cycle path"),
    (2, "Bande cyclable", "Cycle lane"),
    (3, "Voie réservée", "Reserved lane"),
)
PROF: Final = _codes(
    (1, "Plat", "Flat"),
    (2, "Pente", "Slope"),
    (3, "Sommet de côte", "Top of a hill"),
    (4, "Bas de côte", "Foot of a hill"),
)
PLAN: Final = _codes(
    (1, "Partie rectiligne", "Straight"),
    (2, "En courbe à gauche", "Curve to the left"),
    (3, "En courbe à droite", "Curve to the right"),
    (4, "En « S »", "S-shaped"),
)
SURF: Final = _codes(
    (1, "Normale", "Normal"),
    (2, "Mouillée", "Wet"),
    (3, "Flaques", "Puddles"),
    (4, "Inondée", "Flooded"),
    (5, "Enneigée", "Snowy"),
    (6, "Boue", "Muddy"),
    (7, "Verglacée", "Icy"),
    (8, "Corps gras - huile", "Grease or oil"),
    (9, "Autre", "Other"),
)
INFRA: Final = _codes(
    (0, "Aucun", "None"),
    (1, "Souterrain - tunnel", "Underpass or tunnel"),
    (2, "Pont - autopont", "Bridge or flyover"),
    (3, "Bretelle d'échangeur ou de raccordement", "Slip road"),
    (4, "Voie ferrée", "Railway"),
    (5, "Carrefour aménagé", "Designed junction"),
    (6, "Zone piétonne", "Pedestrian area"),
    (7, "Zone de péage", "Toll area"),
    (8, "Chantier", "Road works"),
    (9, "Autres", "Other"),
)
SITU: Final = _codes(
    (0, "Aucun", "None"),
    (1, "Sur chaussée", "On the carriageway"),
    (2, "Sur bande d'arrêt d'urgence", "On the hard shoulder"),
    (3, "Sur accotement", "On the verge"),
    (4, "Sur trottoir", "On the pavement"),
    (5, "Sur piste cyclable", "On a cycle path"),
    (6, "Sur autre voie spéciale", "On another special lane"),
    (8, "Autres", "Other"),
)
SENC: Final = _codes(
    (1, "PK, PR ou numéro d'adresse croissant", "Increasing marker or house numbers"),
    (2, "PK, PR ou numéro d'adresse décroissant", "Decreasing marker or house numbers"),
    (3, "Absence de repère", "No marker"),
)
CATV: Final = _codes(
    (0, "Indéterminable", "Cannot be determined"),
    (1, "Bicyclette", "Bicycle"),
    (2, "Cyclomoteur < 50 cm³", "Moped < 50 cm³"),
    (3, "Voiturette (quadricycle à moteur carrossé)", "Microcar (enclosed motor quadricycle)"),
    (4, "Scooter immatriculé (inutilisé depuis 2006)", "Registered scooter (unused since 2006)"),
    (5, "Motocyclette (inutilisé depuis 2006)", "Motorcycle (unused since 2006)"),
    (6, "Side-car (inutilisé depuis 2006)", "Sidecar (unused since 2006)"),
    (7, "VL seul", "Car"),
    (8, "VL + caravane (inutilisé depuis 2006)", "Car + caravan (unused since 2006)"),
    (9, "VL + remorque (inutilisé depuis 2006)", "Car + trailer (unused since 2006)"),
    (10, "VU seul 1,5 t à 3,5 t", "Van 1.5 t to 3.5 t"),
    (11, "VU + caravane (inutilisé depuis 2006)", "Van + caravan (unused since 2006)"),
    (12, "VU + remorque (inutilisé depuis 2006)", "Van + trailer (unused since 2006)"),
    (13, "PL seul 3,5 t à 7,5 t", "Lorry 3.5 t to 7.5 t"),
    (14, "PL seul > 7,5 t", "Lorry > 7.5 t"),
    (15, "PL > 3,5 t + remorque", "Lorry > 3.5 t + trailer"),
    (16, "Tracteur routier seul", "Road tractor alone"),
    (17, "Tracteur routier + semi-remorque", "Road tractor + semi-trailer"),
    (18, "Transport en commun (inutilisé depuis 2006)", "Public transport (unused since 2006)"),
    (19, "Tramway (inutilisé depuis 2006)", "Tram (unused since 2006)"),
    (20, "Engin spécial", "Special machine"),
    (21, "Tracteur agricole", "Farm tractor"),
    (30, "Scooter < 50 cm³", "Scooter < 50 cm³"),
    (31, "Motocyclette 50 à 125 cm³", "Motorcycle 50 to 125 cm³"),
    (32, "Scooter 50 à 125 cm³", "Scooter 50 to 125 cm³"),
    (33, "Motocyclette > 125 cm³", "Motorcycle > 125 cm³"),
    (34, "Scooter > 125 cm³", "Scooter > 125 cm³"),
    (35, "Quad léger <= 50 cm³ (non carrossé)", "Light quad <= 50 cm³ (open)"),
    (36, "Quad lourd > 50 cm³ (non carrossé)", "Heavy quad > 50 cm³ (open)"),
    (37, "Autobus", "City bus"),
    (38, "Autocar", "Coach"),
    (39, "Train", "Train"),
    (40, "Tramway", "Tram"),
    (41, "3RM <= 50 cm³", "Motor tricycle <= 50 cm³"),
    (42, "3RM 50 à 125 cm³", "Motor tricycle 50 to 125 cm³"),
    (43, "3RM > 125 cm³", "Motor tricycle > 125 cm³"),
    (50, "EDP à moteur", "Personal mobility device with motor"),
    (60, "EDP sans moteur", "Personal mobility device without motor"),
    (80, "VAE", "Electrically assisted bicycle"),
    (99, "Autre véhicule", "Other vehicle"),
)
OBS: Final = _codes(
    (0, "Sans objet", "None"),
    (1, "Véhicule en stationnement", "Parked vehicle"),
    (2, "Arbre", "Tree"),
    (3, "Glissière métallique", "Metal guard rail"),
    (4, "Glissière béton", "Concrete barrier"),
    (5, "Autre glissière", "Other barrier"),
    (6, "Bâtiment, mur, pile de pont", "Building, wall, bridge pier"),
    (7, "Support de signalisation ou poste d'appel d'urgence", "Sign post or emergency telephone"),
    (8, "Poteau", "Pole"),
    (9, "Mobilier urbain", "Street furniture"),
    (10, "Parapet", "Parapet"),
    (11, "Îlot, refuge, borne haute", "Traffic island, refuge, high bollard"),
    (12, "Bordure de trottoir", "Kerb"),
    (13, "Fossé, talus, paroi rocheuse", "Ditch, bank, rock face"),
    (14, "Autre obstacle fixe sur chaussée", "Other fixed obstacle on the carriageway"),
    (15, "Autre obstacle fixe sur trottoir ou accotement", "Other fixed obstacle on pavement or verge"),
    (16, "Sortie de chaussée sans obstacle", "Left the carriageway, no obstacle"),
    (17, "Buse - tête d'aqueduc", "Culvert head"),
)
OBSM: Final = _codes(
    (0, "Aucun", "None"),
    (1, "Piéton", "Pedestrian"),
    (2, "Véhicule", "Vehicle"),
    (4, "Véhicule sur rail", "Rail vehicle"),
    (5, "Animal domestique", "Domestic animal"),
    (6, "Animal sauvage", "Wild animal"),
    (9, "Autre", "Other"),
)
CHOC: Final = _codes(
    (0, "Aucun", "None"),
    (1, "Avant", "Front"),
    (2, "Avant droit", "Front right"),
    (3, "Avant gauche", "Front left"),
    (4, "Arrière", "Rear"),
    (5, "Arrière droit", "Rear right"),
    (6, "Arrière gauche", "Rear left"),
    (7, "Côté droit", "Right side"),
    (8, "Côté gauche", "Left side"),
    (9, "Chocs multiples (tonneaux)", "Multiple impacts (rolled over)"),
)
MANV: Final = _codes(
    (1, "Sans changement de direction", "No change of direction"),
    (2, "Même sens, même file", "Same direction, same lane"),
    (3, "Entre 2 files", "Between two lanes"),
    (4, "En marche arrière", "Reversing"),
    (5, "À contresens", "Against the traffic"),
    (6, "En franchissant le terre-plein central", "Crossing the central reservation"),
    (7, "Dans le couloir bus, dans le même sens", "In the bus lane, same direction"),
    (8, "Dans le couloir bus, dans le sens inverse", "In the bus lane, opposite direction"),
    (9, "En s'insérant", "Merging"),
    (10, "En faisant demi-tour sur la chaussée", "Making a U-turn"),
    (11, "Changeant de file à gauche", "Changing lane to the left"),
    (12, "Changeant de file à droite", "Changing lane to the right"),
    (13, "Déporté à gauche", "Veering to the left"),
    (14, "Déporté à droite", "Veering to the right"),
    (15, "Tournant à gauche", "Turning left"),
    (16, "Tournant à droite", "Turning right"),
    (17, "Dépassant à gauche", "Overtaking on the left"),
    (18, "Dépassant à droite", "Overtaking on the right"),
    (19, "Traversant la chaussée", "Crossing the carriageway"),
    (20, "Manœuvre de stationnement", "Parking"),
    (21, "Manœuvre d'évitement", "Avoiding"),
    (22, "Ouverture de porte", "Opening a door"),
    (23, "Arrêté (hors stationnement)", "Stopped (not parked)"),
    (24, "En stationnement (avec occupants)", "Parked (with occupants)"),
    (25, "Circulant sur trottoir", "Driving on the pavement"),
    (26, "Autres manœuvres", "Other manoeuvre"),
)
MOTOR: Final = _codes(
    (1, "Hydrocarbures", "Fuel"),
    (2, "Hybride électrique", "Electric hybrid"),
    (3, "Électrique", "Electric"),
    (4, "Hydrogène", "Hydrogen"),
    (5, "Humaine", "Human"),
    (6, "Autre", "Other"),
)
# The dictionary shows the seats as a drawing: from above, front at the top, rows 1-6-2, 7-8-9 and 4-5-3.
PLACE: Final = _codes(
    (1, "Conducteur", "Driver"),
    (2, "Passager avant droit", "Front right passenger"),
    (3, "Passager arrière droit", "Rear right passenger"),
    (4, "Passager arrière gauche", "Rear left passenger"),
    (5, "Passager arrière milieu", "Rear middle passenger"),
    (6, "Passager avant milieu", "Front middle passenger"),
    (7, "Passager du rang central, gauche", "Middle row, left passenger"),
    (8, "Passager du rang central, milieu", "Middle row, middle passenger"),
    (9, "Passager du rang central, droit", "Middle row, right passenger"),
    (10, "Piéton (non applicable)", "Pedestrian (not applicable)"),
)
CATU: Final = _codes(
    (1, "Conducteur", "Driver"),
    (2, "Passager", "Passenger"),
    (3, "Piéton", "Pedestrian"),
)
GRAV: Final = _codes(
    (1, "Indemne", "Unharmed"),
    (2, "Tué", "Killed"),
    (3, "Blessé hospitalisé", "Hospitalised"),
    (4, "Blessé léger", "Lightly injured"),
)
SEXE: Final = _codes(
    (1, "Masculin", "Male"),
    (2, "Féminin", "Female"),
)
TRAJET: Final = _codes(
    (1, "Domicile - travail", "Home to work"),
    (2, "Domicile - école", "Home to school"),
    (3, "Courses - achats", "Shopping"),
    (4, "Utilisation professionnelle", "Professional use"),
    (5, "Promenade - loisirs", "Leisure"),
    (9, "Autre", "Other"),
)
SECU: Final = _codes(
    (0, "Aucun équipement", "No equipment"),
    (1, "Ceinture", "Seat belt"),
    (2, "Casque", "Helmet"),
    (3, "Dispositif enfants", "Child restraint"),
    (4, "Gilet réfléchissant", "Reflective vest"),
    (5, "Airbag (2RM/3RM)", "Airbag (motorcycle or tricycle)"),
    (6, "Gants (2RM/3RM)", "Gloves (motorcycle or tricycle)"),
    (7, "Gants + airbag (2RM/3RM)", "Gloves + airbag (motorcycle or tricycle)"),
    (8, "Non déterminable", "Cannot be determined"),
    (9, "Autre", "Other"),
)
LOCP: Final = _codes(
    (0, "Sans objet", "Not applicable"),
    (1, "Sur chaussée, à plus de 50 m du passage piéton", "On the road, over 50 m from a crossing"),
    (2, "Sur chaussée, à moins de 50 m du passage piéton", "On the road, under 50 m from a crossing"),
    (3, "Sur passage piéton sans signalisation lumineuse", "On a crossing without lights"),
    (4, "Sur passage piéton avec signalisation lumineuse", "On a crossing with lights"),
    (5, "Sur trottoir", "On the pavement"),
    (6, "Sur accotement", "On the verge"),
    (7, "Sur refuge ou BAU", "On a refuge or hard shoulder"),
    (8, "Sur contre-allée", "On a service lane"),
    (9, "Inconnue", "Unknown"),
)

LETTER_CODES: Final[Mapping[str, int]] = {"A": 10, "B": 11}
"""The integers that stand for the letters of `actp`: the column's codes are one hexadecimal digit each."""

ACTP: Final = _codes(
    (0, "Non renseigné ou sans objet", "Not given or not applicable"),
    (1, "Se déplaçant dans le sens du véhicule heurtant", "Moving in the vehicle's direction"),
    (2, "Se déplaçant en sens inverse du véhicule", "Moving against the vehicle's direction"),
    (3, "Traversant", "Crossing"),
    (4, "Masqué", "Hidden"),
    (5, "Jouant - courant", "Playing or running"),
    (6, "Avec animal", "With an animal"),
    (9, "Autre", "Other"),
    (LETTER_CODES["A"], "Monte ou descend du véhicule", "Getting in or out of the vehicle"),
    (LETTER_CODES["B"], "Inconnue", "Unknown"),
)
ETATP: Final = _codes(
    (1, "Seul", "Alone"),
    (2, "Accompagné", "Accompanied"),
    (3, "En groupe", "In a group"),
)


OLD_EQUIPMENT: Final = _codes(
    (1, "Ceinture", "Seat belt"),
    (2, "Casque", "Helmet"),
    (3, "Dispositif enfants", "Child restraint"),
    (4, "Équipement réfléchissant", "Reflective equipment"),
    (9, "Autre", "Other"),
)
"""First digit of `secu`, the single equipment column to 2018; the codes mean the same in today's `secu1`."""

OLD_EQUIPMENT_USE: Final = _codes(
    (1, "utilisé", "used"),
    (2, "non utilisé", "not used"),
    (3, "utilisation non déterminable", "use cannot be determined"),
)
"""Second digit of `secu`: whether the equipment was used. Today's columns name used equipment only."""

OLD_SECU: Final[Codes] = {
    10 * equipment + use: Label(f"{what.fr}, {used.fr}", f"{what.en}, {used.en}")
    for equipment, what in OLD_EQUIPMENT.items()
    for use, used in OLD_EQUIPMENT_USE.items()
}
ENV1: Final = _codes(
    (3, "À proximité d'une école", "Near a school"),
    (99, "Pas à proximité d'une école", "Not near a school"),
)


CLASSES: Final = ("unharmed", "killed", "hospitalised", "light")
"""Names of the target's classes 0 to 3, in the order of `grav` 1 to 4: class = `grav` - 1."""

CLASS_LABELS: Final[Mapping[str, Label]] = {name: GRAV[grav] for grav, name in enumerate(CLASSES, start=1)}
"""The label of each class for people."""


class Table(StrEnum):
    """The four files of a year, by the publisher's names."""

    CARACTERISTIQUES = "caracteristiques"
    LIEUX = "lieux"
    VEHICULES = "vehicules"
    USAGERS = "usagers"


class Kind(StrEnum):
    """How a column's cells are read."""

    CODE = "code"
    NUMBER = "number"
    KEY = "key"
    TEXT = "text"


@dataclass(frozen=True)
class Column:
    """One column of one file.

    Attributes
    ----------
    name
        Today's name in lower case.
    codes
        Allowed codes of a CODE column, without those that mean "not given". Any other code is a typing error.
    missing
        Values that mean "not given".
    low, high
        Plausible range of a NUMBER, both included; a value outside is a typing error.
    unit
        Unit of a NUMBER in the canonical frame.
    required
        Whether a file of the newest vintages is refused without this column; the others serve people, not
        features.
    first_year, last_year
        The first and the last vintage of which every file holds the column; a file outside of them may.
    """

    name: str
    table: Table
    kind: Kind
    label: Label
    codes: Codes = field(default_factory=dict, hash=False)
    missing: frozenset[int] = NOT_GIVEN
    low: float | None = None
    high: float | None = None
    unit: str = ""
    required: bool = True
    first_year: int = 2005
    last_year: int | None = None


_C, _L, _V, _U = Table.CARACTERISTIQUES, Table.LIEUX, Table.VEHICULES, Table.USAGERS
_ACCIDENT: Final = Label("Numéro de l'accident", "Number of the accident")
_VEHICLE_ID: Final = Label("Identifiant du véhicule", "Identifier of the vehicle")
_VEHICLE_LETTER: Final = Label("Repère du véhicule dans l'accident", "Vehicle's mark within the accident")


def _key(name: str, table: Table, label: Label, first_year: int = 2005) -> Column:
    return Column(name, table, Kind.KEY, label, first_year=first_year)


def _code(name: str, table: Table, label: Label, codes: Codes, first_year: int = 2005) -> Column:
    missing = NOT_GIVEN if 0 in codes else NOT_GIVEN_OR_ZERO
    return Column(name, table, Kind.CODE, label, codes, missing, first_year=first_year)


def _text(name: str, table: Table, label: Label, *, required: bool = False) -> Column:
    return Column(name, table, Kind.TEXT, label, required=required)


COLUMNS: Final[tuple[Column, ...]] = (
    _key("num_acc", _C, _ACCIDENT),
    Column("jour", _C, Kind.NUMBER, Label("Jour du mois", "Day of the month"), low=1, high=31, unit="day"),
    Column("mois", _C, Kind.NUMBER, Label("Mois", "Month"), low=1, high=12, unit="month"),
    Column("an", _C, Kind.NUMBER, Label("Année", "Year"), low=2005, high=2099, unit="year"),
    # Written HH:MM since 2019, HHMM before; the canonical frame counts minutes.
    Column(
        "hrmn",
        _C,
        Kind.NUMBER,
        Label("Heure et minutes", "Time of day"),
        low=0,
        high=24 * 60 - 1,
        unit="minutes since midnight",
    ),
    _code("lum", _C, Label("Lumière", "Light"), LUM),
    _text("dep", _C, Label("Département", "Department"), required=True),
    _text("com", _C, Label("Commune (code INSEE)", "Municipality (INSEE code)")),
    _code("agg", _C, Label("Localisation", "Built-up area"), AGG),
    _code("int", _C, Label("Intersection", "Junction"), INT),
    _code("atm", _C, Label("Conditions atmosphériques", "Weather"), ATM),
    _code("col", _C, Label("Type de collision", "Type of collision"), COL),
    _text("adr", _C, Label("Adresse postale", "Address")),
    # To 2018 a zero latitude marks an accident that nobody located; no French territory lies on the equator.
    # Greenwich's meridian crosses France, so a zero longitude is judged by the latitude beside it.
    Column(
        "lat",
        _C,
        Kind.NUMBER,
        Label("Latitude", "Latitude"),
        missing=frozenset({0}),
        low=-90,
        high=90,
        unit="degrees (WGS84)",
    ),
    Column(
        "long",
        _C,
        Kind.NUMBER,
        Label("Longitude", "Longitude"),
        missing=frozenset(),
        low=-180,
        high=180,
        unit="degrees (WGS84)",
    ),
    _key("num_acc", _L, _ACCIDENT),
    _code("catr", _L, Label("Catégorie de route", "Category of road"), CATR),
    _text("voie", _L, Label("Numéro de la route", "Number of the road")),
    _text("v1", _L, Label("Indice numérique de la route (bis, ter)", "Numeric index of the road")),
    _text("v2", _L, Label("Lettre indice de la route", "Letter index of the road")),
    _code("circ", _L, Label("Régime de circulation", "Traffic regime"), CIRC),
    # Toll plazas and city boulevards reach 12 in the files; beyond 20 it is another field's value.
    Column(
        "nbv",
        _L,
        Kind.NUMBER,
        Label("Nombre total de voies", "Number of lanes"),
        missing=NOT_GIVEN_OR_ZERO,
        low=1,
        high=20,
        unit="lanes",
    ),
    _code("vosp", _L, Label("Voie réservée", "Reserved lane"), VOSP),
    _code("prof", _L, Label("Profil en long", "Gradient"), PROF),
    Column(
        "pr",
        _L,
        Kind.NUMBER,
        Label("Point de repère (borne amont)", "Upstream distance marker"),
        low=0,
        high=9999,
        required=False,
    ),
    Column(
        "pr1",
        _L,
        Kind.NUMBER,
        Label("Distance au point de repère", "Distance from the marker"),
        low=0,
        high=9999,
        unit="m",
        required=False,
    ),
    _code("plan", _L, Label("Tracé en plan", "Alignment"), PLAN),
    # Both widths are written in decimetres to 2018 ("052"), in metres with a decimal comma since.
    Column(
        "lartpc",
        _L,
        Kind.NUMBER,
        Label("Largeur du terre-plein central", "Width of the median strip"),
        low=0,
        high=99,
        unit="m",
        required=False,
    ),
    Column(
        "larrout",
        _L,
        Kind.NUMBER,
        Label("Largeur de la chaussée", "Width of the carriageway"),
        missing=NOT_GIVEN_OR_ZERO,
        low=1,
        high=99,
        unit="m",
        required=False,
    ),
    _code("surf", _L, Label("État de la surface", "Surface"), SURF),
    _code("infra", _L, Label("Aménagement - infrastructure", "Infrastructure"), INFRA),
    _code("situ", _L, Label("Situation de l'accident", "Position of the accident"), SITU),
    # The lowest limit in use is 10 km/h (car parks): 1 to 9 are slips for 10 to 90, 300 to 900 for 30 to 90.
    Column(
        "vma",
        _L,
        Kind.NUMBER,
        Label("Vitesse maximale autorisée", "Speed limit"),
        missing=NOT_GIVEN_OR_ZERO,
        low=10,
        high=130,
        unit="km/h",
        first_year=2019,
    ),
    _key("num_acc", _V, _ACCIDENT),
    _key("id_vehicule", _V, _VEHICLE_ID, first_year=2019),
    _key("num_veh", _V, _VEHICLE_LETTER),
    _code("senc", _V, Label("Sens de circulation", "Direction of travel"), SENC),
    _code("catv", _V, Label("Catégorie du véhicule", "Category of the vehicle"), CATV),
    _code("obs", _V, Label("Obstacle fixe heurté", "Fixed obstacle hit"), OBS),
    _code("obsm", _V, Label("Obstacle mobile heurté", "Moving obstacle hit"), OBSM),
    _code("choc", _V, Label("Point de choc initial", "First point of impact"), CHOC),
    _code("manv", _V, Label("Manœuvre principale avant l'accident", "Main manoeuvre before the accident"), MANV),
    _code("motor", _V, Label("Type de motorisation", "Type of engine"), MOTOR, first_year=2019),
    # Three digits to 2018, 000 for every vehicle that is no public transport.
    Column(
        "occutc",
        _V,
        Kind.NUMBER,
        Label("Occupants du transport en commun", "Occupants of public transport"),
        missing=NOT_GIVEN_OR_ZERO,
        low=1,
        high=999,
        unit="people",
        required=False,
    ),
    _key("num_acc", _U, _ACCIDENT),
    _key("id_usager", _U, Label("Identifiant de l'usager", "Identifier of the person"), first_year=2022),
    _key("id_vehicule", _U, _VEHICLE_ID, first_year=2019),
    _key("num_veh", _U, _VEHICLE_LETTER),
    _code("place", _U, Label("Place dans le véhicule", "Seat"), PLACE),
    _code("catu", _U, Label("Catégorie d'usager", "Category of person"), CATU),
    _code("grav", _U, Label("Gravité de blessure", "Severity of injury"), GRAV),
    _code("sexe", _U, Label("Sexe", "Sex"), SEXE),
    # No one above 110 in the first vintage, 2005. The age itself is judged against the accident's year.
    Column(
        "an_nais",
        _U,
        Kind.NUMBER,
        Label("Année de naissance", "Year of birth"),
        missing=NOT_GIVEN_OR_ZERO,
        low=1895,
        high=2099,
        unit="year",
    ),
    _code("trajet", _U, Label("Motif du déplacement", "Reason for the journey"), TRAJET),
    _code("secu1", _U, Label("Équipement de sécurité 1", "Safety equipment 1"), SECU, first_year=2019),
    _code("secu2", _U, Label("Équipement de sécurité 2", "Safety equipment 2"), SECU, first_year=2019),
    _code("secu3", _U, Label("Équipement de sécurité 3", "Safety equipment 3"), SECU, first_year=2019),
    _code("locp", _U, Label("Localisation du piéton", "Pedestrian's position"), LOCP),
    _code("actp", _U, Label("Action du piéton", "Pedestrian's action"), ACTP),
    _code("etatp", _U, Label("Piéton seul ou non", "Pedestrian's company"), ETATP),
)
"""Every column of today's files, in the files' order."""

RETIRED_COLUMNS: Final[tuple[Column, ...]] = (
    Column("gps", _C, Kind.TEXT, Label("Codage GPS", "Territory of the position"), required=False, last_year=2018),
    Column(
        "env1",
        _L,
        Kind.CODE,
        Label("Proximité d'une école", "Near a school"),
        ENV1,
        NOT_GIVEN_OR_ZERO,
        required=False,
        last_year=2018,
    ),
    Column(
        "secu",
        _U,
        Kind.CODE,
        Label("Équipement de sécurité et son utilisation", "Safety equipment and its use"),
        OLD_SECU,
        NOT_GIVEN_OR_ZERO,
        last_year=2018,
    ),
)
"""Columns of the files to 2018 that today's lack. `secu` is what `secu1` to `secu3` were then."""


def columns(table: Table) -> tuple[Column, ...]:
    """Return today's columns of a table, in the files' order."""
    return tuple(column for column in COLUMNS if column.table == table)


def column(table: Table, name: str) -> Column:
    """Return one of today's columns; KeyError for a name that the table lacks."""
    for each in columns(table):
        if each.name == name:
            return each
    raise KeyError(f"{table} has no column {name!r}")
