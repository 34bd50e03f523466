"""The error of a scene that is not valid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Defect = tuple[str, str]
"""The path of a field, and what is wrong with it."""


class SceneError(ValueError):
    """A request that is not a scene, or contradicts itself.

    Attributes
    ----------
    defects
        Pairs of field path and message.
    example
        The scene that was probably meant, where the request allows to build one.
    """

    def __init__(self, defects: Sequence[Defect], example: dict[str, Any] | None = None) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in defects))
        self.defects = defects
        self.example = example
