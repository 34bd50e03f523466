"""Errors that a user can act on: each says the cause and the remedy."""

from __future__ import annotations


class AccidentsError(Exception):
    """Something a person has to fix; trying again would not help.

    Parameters
    ----------
    cause
        What was found and where (file, line, column, field), and what was expected.
    remedy
        What to do about it, as one sentence.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy
        self.log: list[str] = []  # lines that show what happened, of the process that failed

    def __str__(self) -> str:
        return f"{self.cause} Fix: {self.remedy}"


class InputError(AccidentsError):
    """A raw file cannot be read, or the files of a year do not belong together."""


class CatalogueError(AccidentsError):
    """The catalogue of models is not valid."""


class ModelError(AccidentsError):
    """A stored model may not or cannot be used (signature, types, features)."""


class StorageError(AccidentsError):
    """A stored object is absent, or is not what its manifest says."""


class SettingsError(AccidentsError):
    """A setting is missing or unusable."""
