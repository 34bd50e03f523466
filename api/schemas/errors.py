"""What is wrong with a scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Defect = tuple[str, str]
"""The path of a field, and what is wrong with it."""


class SceneError(ValueError):
    """A request that is no scene or contradicts itself.

    Attributes
    ----------
    defects
        Pairs of field path and message.
    example
        The scene that was probably meant, where one can be made of the request.
    """

    def __init__(self, defects: Sequence[Defect], example: dict[str, Any] | None = None) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in defects))
        self.defects = defects
        self.example = example


Given = dict[str, Any]
"""A scene as it was read and checked: codes as numbers, None for what is not known.

`people_assumed` is True when `people` was left out and filled with one driver a vehicle, `position_of_commune` when
`lat` and `long` are those of the commune `com`; else both keys are absent.
"""
