from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from include import steps
from include.accidents.errors import CatalogueError, InputError, StorageError
from include.storage import Store

CATALOGUE = json.dumps({"models": {"Tree": {"pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier"}]]}}})


class Objects:
    """The part of a `Store` that reading a catalogue needs, in memory."""

    def __init__(self, objects: dict[tuple[str, str], bytes]) -> None:
        self.objects = objects
        self.versions: dict[str, dict[str, bytes]] = {}

    def read(self, bucket: str, key: str, limit: int | None = None) -> bytes:
        if (bucket, key) not in self.objects:
            raise StorageError(f"s3://{bucket}/{key} does not exist.", "run the DAG from its first task.")
        return self.objects[bucket, key]

    def intact(self, bucket: str, version: str) -> Any:
        return None

    def write_version(self, bucket: str, version: str, contents: dict[str, bytes], facts: dict[str, Any]) -> None:
        self.versions[version] = contents


def load(
    objects: Objects,
    address: str,
    wanted: list[str] | None = None,
    folds: int | None = None,
    max_rows: int | None = None,
) -> tuple[list[str], str]:
    return steps.load_catalogue(cast("Store", objects), address, wanted, folds=folds, max_rows=max_rows)


def test_a_catalogue_is_read_from_a_path_or_from_a_bucket(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text(CATALOGUE)
    store = Objects({("settings", "a/models.json"): CATALOGUE.encode()})
    from_path = load(store, str(tmp_path / "models.json"))
    assert from_path == load(store, "s3://settings/a/models.json")
    assert from_path[0] == ["Tree"]
    assert store.versions[from_path[1]] == {"models.json": CATALOGUE.encode()}


def test_the_forms_folds_and_cap_replace_the_catalogues_but_not_a_models_own_lower_cap() -> None:
    models = json.loads(CATALOGUE)["models"]
    said = {"models": {"Tree": models["Tree"], "Small": {**models["Tree"], "max_rows": 1500}}}
    store = Objects({("b", "k"): json.dumps(said).encode()})
    _, version = load(store, "s3://b/k", folds=4, max_rows=2000)
    kept = json.loads(store.versions[version]["models.json"])
    assert kept["defaults"] == {"search_folds": 4, "evaluation_folds": 4}
    assert {name: model["max_rows"] for name, model in kept["models"].items()} == {"Tree": 2000, "Small": 1500}


@pytest.mark.parametrize("address", ["s3://settings/absent.json", "absent.json"])
def test_a_catalogue_that_is_not_there_is_named(address: str) -> None:
    with pytest.raises(CatalogueError, match=r"absent\.json cannot be read") as caught:
        load(Objects({}), address)
    assert "ACCIDENTS_MODELS_FILE" in caught.value.remedy


def test_a_folder_of_the_form_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder .*nowhere.* 'Folder of CSVs'"):
        steps.load_raw(cast(Store, Objects({})), tmp_path / "nowhere", [], chosen=True)


def test_a_model_that_the_catalogue_does_not_hold_is_refused() -> None:
    with pytest.raises(CatalogueError, match="did you mean 'Tree'"):
        load(Objects({("b", "k"): CATALOGUE.encode()}), "s3://b/k", ["Tre"])


def test_metrics_that_are_no_numbers_fail_the_model() -> None:
    with pytest.raises(steps.ModelError, match="cv_log_loss"):
        steps._check_numbers({"cv_accuracy": 0.5, "cv_log_loss": float("nan")})
