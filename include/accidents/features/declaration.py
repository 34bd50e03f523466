"""The declaration of a feature: its name, labels, unit and source, and the function that makes it, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from include.accidents.data.columns import COLUMNS, Label

if TYPE_CHECKING:
    from include.accidents.features.arrays import SceneArrays

Floats = npt.NDArray[np.float32]
Make = Callable[["SceneArrays"], Floats]

LABELS: Final[Mapping[str, Label]] = {column.name: column.label for column in COLUMNS}


@dataclass(frozen=True)
class Feature:
    """One column of the feature matrix.

    Attributes
    ----------
    make
        Returns its value for each person, shape (people,), NaN where it is not known.
    source
        The BAAC columns that it is made from, or the tables whose rows are counted.
    categorical
        Whether its numbers are codes without an order.
    partly
        Whether it is known for some people without its columns; `knowledge` says for whom.
    of_vehicle
        Whether it is missing for a person of unknown role, who may ride the vehicle or be hit by it.
    of_everybody
        Whether it is missing where the list of people is assumed (`people_assumed`).
    """

    name: str
    label: Label
    make: Make
    source: tuple[str, ...]
    categorical: bool = False
    unit: str = ""
    partly: bool = False
    of_vehicle: bool = False
    of_everybody: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.source if name not in LABELS and name not in ("people", "vehicles")]
        if unknown or not self.source:
            raise ValueError(f"feature {self.name}: the source {unknown} is not a column of the files")


class Features(dict[str, Feature]):
    """Features by name, in the order of declaration, which is that of the matrix's columns."""

    def add(self, feature: Feature) -> None:
        """Declare a feature; ValueError when its name is taken."""
        if feature.name in self:
            raise ValueError(f"the feature {feature.name} is declared twice")
        self[feature.name] = feature

    def codes(self, names: tuple[str, ...], make: Callable[[SceneArrays, str], Floats], *, of_vehicle: bool) -> None:
        """Declare features that are the codes of columns, unchanged."""
        for name in names:
            self.add(
                Feature(
                    name,
                    LABELS[name],
                    lambda scene, name=name: make(scene, name),  # type: ignore[misc]
                    (name,),
                    categorical=True,
                    of_vehicle=of_vehicle,
                )
            )

    def codes_of(
        self, whose: tuple[str, str, str], names: tuple[str, ...], make: Callable[[SceneArrays, str], Floats]
    ) -> None:
        """Declare codes of another person or vehicle; `whose`: prefix of the names, French and English label."""
        prefix, fr, en = whose
        for name in names:
            self.add(
                Feature(
                    f"{prefix}_{name}",
                    Label(f"{LABELS[name].fr} ({fr})", f"{LABELS[name].en} ({en})"),
                    lambda scene, name=name: make(scene, name),  # type: ignore[misc]
                    (name,),
                    categorical=True,
                    of_vehicle=True,
                )
            )

    def feature(
        self,
        fr: str,
        en: str,
        source: str,
        *,
        categorical: bool = False,
        unit: str = "",
        partly: bool = False,
        of_vehicle: bool = False,
        of_everybody: bool = False,
    ) -> Callable[[Make], Make]:
        """Declare the feature that the decorated function makes, under the function's name."""

        def declare(make: Make) -> Make:
            self.add(
                Feature(
                    make.__name__,
                    Label(fr, en),
                    make,
                    tuple(source.split(", ")),
                    categorical,
                    unit,
                    partly,
                    of_vehicle,
                    of_everybody,
                )
            )
            return make

        return declare
