"""What the process that reads models sends back is taken only where it is a model of the file."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.tree import DecisionTreeClassifier

from include.accidents.data import dataset
from include.accidents.errors import ModelError
from include.accidents.features import clean
from include.accidents.models import candidates, catalogue, training
from include.accidents.registry import pickles, skops_files
from tests.helpers import sample_scenes
from tests.unit.test_catalogue import SHIPPED

NIGHT = SHIPPED.with_name("models-night.json")


def trained(file: Path, name: str) -> tuple[Any, dataset.Dataset]:
    checked = catalogue.load(file.read_text("utf-8"), file.name)
    spec = checked.model(name).model_copy(update={"max_rows": 400})
    data, _ = clean.clean(sample_scenes(2023))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return training.train(spec, checked.defaults, candidates.candidates(spec, checked.defaults)[0], data), data


@pytest.mark.parametrize(
    ("file", "name"),
    [(file, name) for file in (SHIPPED, NIGHT) for name in catalogue.load(file.read_text("utf-8"), "m").models],
    ids=lambda value: value if isinstance(value, str) else value.stem,
)
def test_every_model_comes_back_as_it_was(file: Path, name: str) -> None:
    fitted, data = trained(file, name)
    content = skops_files.dumps(fitted)
    back = pickles.read(pickle.dumps(skops_files.loads(content), 5), content)
    np.testing.assert_array_equal(back.predict_proba(data.x[:50]), fitted.predict_proba(data.x[:50]))


class Calls:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


def test_a_reader_that_was_taken_over_runs_nothing_here(tmp_path: Path) -> None:
    content = skops_files.dumps(DecisionTreeClassifier().fit(np.zeros((4, 3)), [0, 1, 2, 3]))
    harm = tmp_path / "harm"
    for made in (
        pickle.dumps(Calls(Path.touch, harm)),
        pickle.dumps(Calls(np.memmap, str(harm), "u1", "w+", 0, (1,))),
        pickle.dumps(Calls(eval, f"open({str(harm)!r}, 'w')")),  # noqa: S307
        pickle.dumps(Calls(partial, open, str(harm), "w")),
        b"cbuiltins\nopen\n(V" + str(harm).encode() + b"\nVw\ntR.",
    ):
        with pytest.raises(ModelError, match=r"names .* and the file does not"):
            pickles.read(made, content)
        assert not harm.exists()
    for broken in (b"", b"no pickle", pickle.dumps([1])[:-2]):
        with pytest.raises(ModelError, match="is not accepted"):
            pickles.read(broken, content)


def test_a_file_that_is_none_names_nothing() -> None:
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("other", "")
    for content in (b"", empty.getvalue()):
        with pytest.raises(ModelError, match="is not accepted"):
            pickles.read(pickle.dumps(DecisionTreeClassifier()), content)
