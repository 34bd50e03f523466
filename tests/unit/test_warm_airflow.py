"""What the process that tasks are forked from has loaded, and what it has not."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.helpers import ROOT

IMPORTED = """
import json, sys
from ops import warm_airflow
warm_airflow.load()
before = set(sys.modules)
ours = [name for name in before if name.startswith(("include.", "ops."))]
from include.accidents.pipeline import clean, ingest, inputs, log, predict, prepare, prune, search, select, services, train
from include.accidents.storage import s3
print(json.dumps([ours, sorted({name for name in sys.modules if name not in before})]))
"""


def test_a_task_imports_only_the_code_of_the_project() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], cwd=ROOT, capture_output=True, text=True, check=True)
    ours, imported = json.loads(done.stdout.splitlines()[-1])
    assert ours == ["ops.warm_airflow"], "a task would not see that this code has changed"
    assert {"include.accidents.pipeline.log", "include.accidents.models.search"} <= set(imported)
    assert [name for name in imported if not name.startswith("include")] == []
