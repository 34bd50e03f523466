"""Whether data and models of another version of the code can be used: decided by what the code does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from include.accidents.data import columns
from include.accidents.data.columns import Label
from include.accidents.features import arrays, definitions, version
from include.accidents.models import masking
from include.accidents.models import version as method

# A rule was changed on purpose? Then data and models are made again: enter the new version, and say so in CHANGELOG.md.
FEATURES = "ea5c69b36a58"
METHOD = "7414135341d2"


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    version.feature_version.cache_clear()
    method.method_version.cache_clear()
    yield
    version.feature_version.cache_clear()
    method.method_version.cache_clear()


def test_the_versions_are_the_same_on_every_python() -> None:
    assert (version.feature_version(), method.method_version()) == (FEATURES, METHOD)


def test_a_renamed_label_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(columns.CLASS_LABELS, "light", Label("Blesse leger", "Slightly hurt"))
    assert version.feature_version() == FEATURES


def test_a_changed_rule_of_a_feature_changes_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "PERSON_MASS", arrays.PERSON_MASS + 5)
    assert version.feature_version() != FEATURES


def test_another_name_of_a_feature_changes_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "NAMES", (*definitions.NAMES[:-1], "renamed"))
    assert version.feature_version() != FEATURES


def test_other_masks_change_the_version_of_the_method_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "WITHOUT_POSITION", 0.9)
    assert method.method_version() != METHOD
    assert version.feature_version() == FEATURES
