"""Cells of generated files as texts: digits, blanks, choices, the marks of vehicles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

if TYPE_CHECKING:
    from include.accidents.synthetic.shares import Values

ACCIDENTS_A_YEAR: Final = 10**8  # the publisher's own numbering: 202100000001 is the first accident of 2021
NO_BREAK_SPACE: Final = "\u00a0"

Text: TypeAlias = pa.Array
"""The cells of a column, as strings."""

Formatted = dict[str, Text]


# --- cells

STREETS: Final = (
    "Rue des Érables",
    "Avenue de la République",
    "Route départementale",
    "Boulevard Pasteur",
    "Place du Marché",
    "Chemin du Moulin",
    "Allée des Tilleuls",
    "N/A",
    " Rond-point de l'Europe",
    "RN 20",
)


def digits(values: Values, width: int = 0) -> Text:
    """Return whole numbers as texts, padded with zeros to a width."""
    return pc.utf8_lpad(pa.array(values).cast(pa.string()), width, "0")


def blank(cells: Text, blank: Values, text: str) -> Text:
    """Return the cells with a text in place of those where `blank` is True."""
    return pc.if_else(pa.array(blank), text, cells)


def choice(rng: np.random.Generator, texts: Sequence[str], size: int) -> Text:
    """Return one of some texts for each row, drawn at random."""
    return pa.array(np.array(texts, dtype=object)[rng.integers(0, len(texts), size)], pa.string())


def sprinkle(rng: np.random.Generator, cells: Text, texts: Sequence[str], share: float) -> Text:
    """Return the cells with a share of them replaced by some texts, at random."""
    return pc.if_else(pa.array(rng.random(len(cells)) < share), choice(rng, texts, len(cells)), cells)


def decimal(values: Values, digits: int) -> Text:
    """Return numbers with decimal commas; the publisher's negative numbers begin with a space."""
    return pa.array([f"{value:.{digits}f}".replace("-", " -").replace(".", ",") for value in values])


def accident_numbers(year: int, accidents: Values) -> Text:
    """Return the numbers of accidents: the first of 2021 is 202100000001."""
    return digits(year * ACCIDENTS_A_YEAR + 1 + accidents)


def vehicle_marks(accidents: Values, ranks: Values, number: Callable[[Values], Values]) -> Text:
    """Return a letter for the vehicle's rank, and two digits; a few accidents begin past Z, as in the real files."""
    past_z = np.where((accidents % 2003 == 7) & (ranks == 0), 26, ranks)
    letters = np.array([chr(ord("A") + rank) for rank in range(27)], dtype=object)
    return pc.binary_join_element_wise(
        pa.array(letters[np.minimum(past_z, 26)], pa.string()), digits(number(ranks), 2), ""
    )
