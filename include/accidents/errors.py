"""Errors that a user can act on: each names the cause and the remedy."""

from __future__ import annotations


class AccidentsError(Exception):
    """A problem that a person must fix; another try would not help.

    Parameters
    ----------
    cause
        What is wrong and where (file, line, column, field), and what was expected.
    remedy
        The fix, as one sentence.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy
        self.log: list[str] = []  # last lines of the failed process

    def __str__(self) -> str:
        return f"{self.cause} Fix: {self.remedy}"


class InputError(AccidentsError):
    """A raw file cannot be read, or the files of a year do not belong together."""


class CatalogueError(AccidentsError):
    """The catalogue of models is not valid."""


class ModelError(AccidentsError):
    """A stored model must not or cannot be used (signature, types, features)."""


class StorageError(AccidentsError):
    """A stored object is absent, or differs from its manifest."""


class SettingsError(AccidentsError):
    """A setting is missing or unusable."""
