"""ONNX copies: of every shipped tree model, answering like the original, or none at all."""

from __future__ import annotations

import json
import logging
from functools import cache

import numpy as np
import pytest

from include.accidents.data import dataset, split
from include.accidents.errors import ModelError
from include.accidents.features import clean
from include.accidents.features.knowledge import STATES
from include.accidents.models import catalogue, decision, evaluate, judging, training
from include.accidents.models.specification import Catalogue
from include.accidents.registry import onnx_files
from tests.helpers import ROOT, rules, sample_scenes, with_rules

COPIED = ("LightGBM", "XGBoost")
"""The shipped models whose last step is one of `onnx_files.CONVERTED`."""
SMALLER = {"LightGBM": {"clf__n_estimators": 20}}


def shipped() -> Catalogue:
    return catalogue.load((ROOT / "include" / "models.json").read_text("utf-8"), "models.json")


@cache
def parts() -> tuple[dataset.Dataset, dataset.Dataset]:
    """Accidents to learn from, and others. Nobody has a speed limit, as before 2019."""
    data, _ = clean.clean(sample_scenes(2013, 1500))
    train, test = split.folds(data.y, data.accident, n_splits=3, seed=0)[0]
    return data.take(train), data.take(test)


@cache
def fitted(name: str) -> object:
    checked, (learned, _) = shipped(), parts()
    return with_rules(training.train(checked.model(name), checked.defaults, SMALLER.get(name), learned))


@pytest.mark.parametrize("name", COPIED)
def test_a_boosted_model_has_a_copy_that_answers_like_it_in_every_state_of_knowledge(name: str) -> None:
    model, (_, held_out) = fitted(name), parts()
    asked = [judging.at_state(held_out.x, state)[0] for state in STATES]
    content = onnx_files.dumps(model, asked)
    assert content is not None
    copy = onnx_files.loads(content)
    for x in (*asked, held_out.x[:1], held_out.x[:0], np.full_like(held_out.x[:3], np.nan)):
        ours = evaluate.probabilities(copy, x)
        assert ours.shape == (len(x), 4)
        theirs = evaluate.probabilities(model, x) if len(x) else ours
        assert np.abs(ours - theirs).max(initial=0) <= onnx_files.TOLERANCE
    assert decision.of(copy) == rules()
    assert getattr(copy, evaluate.UNSEEN) == getattr(model, evaluate.UNSEEN)


@pytest.mark.parametrize("name", [name for name in shipped().models if name not in COPIED])
def test_the_other_models_are_asked_themselves(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert onnx_files.fastest(fitted(name), [parts()[1].x]) is fitted(name)
    assert "No ONNX copy: of a " in caplog.text


def test_a_forest_takes_a_gap_for_a_value_and_such_a_copy_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(onnx_files, "CONVERTED", ("RandomForestClassifier",))
    assert onnx_files.dumps(fitted("RandomForest"), [parts()[1].x]) is None
    assert "No ONNX copy: it would answer otherwise" in caplog.text


def test_a_failure_of_the_converter_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> bytes:
        raise RuntimeError("unknown operator\nand more")

    monkeypatch.setattr(onnx_files, "_convert", fail)
    assert onnx_files.dumps(fitted("XGBoost"), []) is None
    assert "No ONNX copy: it cannot be made (unknown operator)." in caplog.text


def test_a_copy_that_answers_otherwise_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = onnx_files.dumps(fitted("XGBoost"), [])
    monkeypatch.setattr(onnx_files, "_convert", lambda _: other)
    assert onnx_files.dumps(fitted("LightGBM"), [parts()[1].x]) is None
    assert "it would answer otherwise than the model (probabilities differ by" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08" * 50])
def test_a_damaged_file_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="cannot be read as an ONNX file"):
        onnx_files.loads(content)


def test_a_file_of_somebody_else_is_refused() -> None:
    import onnx

    content = onnx_files.dumps(fitted("XGBoost"), [])
    assert content is not None
    graph = onnx.load_from_string(content)
    del graph.metadata_props[:]
    with pytest.raises(ModelError, match="cannot be read as an ONNX file"):
        onnx_files.loads(graph.SerializeToString())


def test_the_facts_beside_the_graph_are_plain_json() -> None:
    import onnx

    content = onnx_files.dumps(fitted("XGBoost"), [])
    assert content is not None
    (facts,) = [p.value for p in onnx.load_from_string(content).metadata_props if p.key == "accidents"]
    assert set(json.loads(facts)["attributes"]) == {evaluate.UNSEEN, decision.ATTRIBUTE}
