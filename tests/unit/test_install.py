"""What `requirements/install.sh` says on a machine that lacks something; what it does, every other test shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def install(folder: Path, *, python: str = "", path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", "requirements/install.sh", str(folder / "venv"), "runtime", python]
    return subprocess.run(command, cwd=ROOT, env={"PATH": path}, capture_output=True, text=True, check=False)


@pytest.fixture
def old_python(tmp_path: Path) -> Path:
    """A `python3` that says of itself that it is 3.9."""
    program = tmp_path / "bin" / "python3"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ncase "$2" in *"3, 11"*) exit 1 ;; *) echo 3.9.2 ;; esac\n')
    program.chmod(0o755)
    for tool in ("cat", "rm", "uname"):
        (program.parent / tool).symlink_to(str(shutil.which(tool)))
    return program


def test_a_python_too_old_is_said_in_one_line_with_what_to_do(tmp_path: Path, old_python: Path) -> None:
    done = install(tmp_path, python=str(old_python))
    assert done.returncode == 1
    assert done.stderr == f"{old_python} is not a Python from 3.11 to 3.13: name another, as in PYTHON=python3.12.\n"
    assert not (tmp_path / "venv").exists()


def test_no_python_that_fits_is_said_in_one_line_with_what_to_do(tmp_path: Path, old_python: Path) -> None:
    done = install(tmp_path, path=str(old_python.parent))
    assert done.returncode == 1
    assert "There is no Python from 3.11 to 3.13 here: install one" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_table_of_licences_lists_what_is_locked() -> None:
    locked = set(re.findall(r"^([\w.-]+)==([\w.+!-]+)", (ROOT / "requirements/runtime.txt").read_text(), re.MULTILINE))
    listed = set(re.findall(r"^\| ([\w.-]+) \| ([\w.+!-]+) \|", (ROOT / "docs/licences.md").read_text(), re.MULTILINE))
    assert len(listed) > 150
    assert listed - {("package", "version")} <= locked, "run `make sbom`"
    # What is not listed is for other systems or other versions of Python.
    assert len({name for name, _ in locked} - {name for name, _ in listed}) < 20
