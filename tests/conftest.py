"""One thread a model, as in the pipeline: two cores shared by several thread pools are many times slower than one each."""

from __future__ import annotations

import pytest

from include.accidents import search


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    search.limit_threads()
