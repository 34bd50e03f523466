"""What a stranger could put into the registry: each is refused with its reason, and the model before it goes on serving."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.tree import DecisionTreeClassifier

from api.models import Models
from include.accidents.errors import ModelError
from include.accidents.features.definitions import NAMES
from include.accidents.registry import signing, skops_files
from include.accidents.registry.names import MODEL_FILE
from tests.api.world import SIGNING, World


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def world(folder: Path) -> World:
    return World(folder)


@pytest.fixture(scope="module")
def models(world: World) -> Models:
    """The API's models, serving a first good version."""
    world.add(seed=0)
    served = Models(world.settings())
    served.reload("Forest")
    return served


def wild_tree() -> bytes:
    """Return a model of types that are all on our list, whose tree points out of its memory."""
    x = np.random.default_rng(0).random((200, len(NAMES))).astype(np.float32)
    fitted = DecisionTreeClassifier(max_depth=3).fit(x, np.arange(200) % 4)
    state = fitted.tree_.__getstate__()
    state["nodes"]["left_child"][0] = state["nodes"]["right_child"][0] = 2**30
    fitted.tree_.__setstate__(state)
    return skops_files.dumps(fitted)


def own_types(path: Path) -> bytes:
    """Return a skops file that calls a function of the standard library when it is loaded."""
    made = io.BytesIO(skops_files.dumps(DecisionTreeClassifier()))
    with zipfile.ZipFile(made) as file:
        schema = json.loads(file.read("schema.json"))
    schema |= {"__class__": "touch", "__module__": "pathlib.Path", "__loader__": "MethodNode"}
    harm = io.BytesIO()
    with zipfile.ZipFile(harm, "w") as file:
        file.writestr("schema.json", json.dumps(schema))
    return harm.getvalue()


def put(world: World, folder: Path, content: Callable[[Path], bytes], *, key: str | None) -> Any:
    """Register a good version, replace its file, and sign it again where the stranger has a key."""
    version = world.add(seed=7)
    newest = max(folder.rglob(MODEL_FILE), key=lambda path: path.stat().st_mtime_ns)
    made = content(folder / "harm")
    newest.write_bytes(made)
    # MLflow's own loader believes what the model says of itself.
    described = newest.with_name("MLmodel")
    said = yaml.safe_load(described.read_text())
    said["flavors"]["sklearn"]["skops_trusted_types"] = ["pathlib.Path.touch", "sklearn.tree._tree.Tree"]
    described.write_text(yaml.safe_dump(said))
    if key:
        signing.sign_tags(world.client, version, signing.lineage_of(version), {MODEL_FILE: made}, key.encode())
    return version


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "a pickle": lambda path: pickle.dumps(Touch(path)),
    "a wild tree": lambda _: wild_tree(),
    "types of its own": own_types,
    "nothing": lambda _: b"",
    "half a file": lambda _: wild_tree()[:1000],
}


@pytest.mark.parametrize(
    ("harm", "key"),
    [("a pickle", None), ("a pickle", "x" * 32), ("a wild tree", None), ("types of its own", "x" * 32)],
    ids=["a pickle", "a pickle, signature forged", "a wild tree", "types of its own, signature forged"],
)
def test_what_the_pipeline_did_not_sign_is_not_even_opened(
    world: World, models: Models, folder: Path, harm: str, key: str | None
) -> None:
    refused(models, world, folder, put(world, folder, HOSTILE[harm], key=key), "signature")


def test_a_good_model_with_a_forged_signature_is_refused(world: World, models: Models, folder: Path) -> None:
    refused(models, world, folder, world.add(seed=8, key="x" * 32), "signature")


def test_a_model_that_was_not_registered_by_the_pipeline_is_refused(world: World, models: Models, folder: Path) -> None:
    version = world.client.create_model_version("Forest", source=world.add(seed=9, name="Other").source)
    refused(models, world, folder, version, "not registered by the pipeline")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("a pickle", "cannot be read"),
        ("types of its own", "types that are not on the list: pathlib.Path.touch|cannot be read"),
        ("nothing", "cannot be read"),
        ("half a file", "cannot be read"),
    ],
)
def test_with_the_key_stolen_the_list_of_types_still_stands(
    world: World, models: Models, folder: Path, harm: str, reason: str
) -> None:
    refused(models, world, folder, put(world, folder, HOSTILE[harm], key=SIGNING), reason)


def test_a_refused_model_does_not_keep_the_others_from_being_followed(
    world: World, models: Models, folder: Path
) -> None:
    put(world, folder, HOSTILE["nothing"], key=SIGNING)
    world.add(name="Zebra", seed=10)  # the registry lists it after Forest
    models._catch_up()
    assert models.get("Zebra") is not None


def refused(models: Models, world: World, folder: Path, version: Any, reason: str) -> None:
    before = models.get("Forest")
    assert before is not None
    with pytest.raises(ModelError, match=reason) as told:
        models.reload("Forest")
    assert told.value.remedy
    assert models.get("Forest") is before
    before.model.estimator.predict_proba(world.data.x[:1])
    assert not (folder / "harm").exists()
    world.client.delete_model_version("Forest", version.version)
