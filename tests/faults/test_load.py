"""A little of `make load`: traffic at the API while its model is reloaded and its registry dies, comes back, freezes."""

from __future__ import annotations

import pytest

from benchmarks import load


def test_no_answer_fails_or_is_mixed_while_the_registry_dies_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "lines", [])
    load.traffic(20)
    figures = {line["name"].removeprefix("load."): line["value"] for line in load.lines}
    assert figures["requests"] > 200
    assert figures["reloads_refused_while_away"] >= 1, "the registry was not away"
    # The bar of memory is for ten minutes; in these seconds the first models are loaded.
    assert not [line for line in load.lines if load.missed(line) and line["name"] != "load.memory_growth"]
