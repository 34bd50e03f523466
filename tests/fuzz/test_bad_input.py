"""Whatever a file or a request holds: a result or a named error, in time and in bounded memory."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api import uploads
from include.accidents.data import files, reader
from include.accidents.errors import InputError
from tests.fuzz import corpus
from tests.fuzz.targets import TARGETS, year_files

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = {
    "raw_csv": 60,
    "merged_csv": 300,
    "four_csvs": 40,
    "models_json": 40,
    "scene_json": 1000,
    "settings_yaml": 300,
}
HOSTILE = """
import json, re, sys
from pathlib import Path
from api import uploads
from include.accidents.data import reader
from include.accidents.errors import InputError
from include.accidents.data.columns import Table
from tests.fuzz import corpus
from tests.fuzz.targets import year_files
MB = 1 << 20
plain = year_files(2022)
header = (plain[Table.USAGERS][1] if sys.argv[1] == "pipeline" else corpus.good("merged_csv")[0]).partition(b"\\n")[0]
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
def read(content):
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of making the input, does not count
    before = peak()
    try:
        if sys.argv[1] == "pipeline":
            reader.read_year({**plain, Table.USAGERS: ("usagers-2022.csv", content)}, 2022)
        else:
            uploads.read({"people.csv": content}, 256 * MB)
        said = "read"
    except InputError as error:
        said = str(error)
    return said, (peak() - before) // 1024
print(json.dumps({name: read(made(header)) for name, made in corpus.HOSTILE.items()}))
"""
MEGABYTES = 800  # of reading, beyond the input itself: three times the largest file that is read


@pytest.mark.parametrize("target", list(TARGETS))
def test_each_known_kind_of_damage_ends_in_a_result_or_a_named_error(target: str) -> None:
    for name, content in corpus.known(target):
        began = time.monotonic()
        try:
            TARGETS[target](content)
        except Exception as error:
            raise AssertionError(f"{target}, {name}: {type(error).__name__}: {error}") from error
        assert time.monotonic() - began < 10, name


@pytest.mark.parametrize("target", list(TARGETS))
def test_random_damage_ends_in_a_result_or_a_named_error(target: str) -> None:
    outcomes = {TARGETS[target](content) for content in corpus.mutants(target, MUTANTS[target])}
    assert len(outcomes) > 1  # some inputs are still read


@pytest.mark.parametrize("target", list(TARGETS))
def test_what_is_not_damaged_is_read(target: str) -> None:
    assert {TARGETS[target](content) for content in corpus.good(target)} == {"result"}


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is read from Linux's /proc")
@pytest.mark.parametrize("reader", ["pipeline", "upload"])
def test_memory_stays_bounded(reader: str) -> None:
    command = [sys.executable, "-c", HOSTILE, reader]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for case, (said, grown) in json.loads(done.stdout).items():
        assert "Fix:" in said, case
        assert grown < MEGABYTES, case


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for name, content in year_files(2022).values():
        (tmp_path / name).write_bytes(content)
    with (tmp_path / "usagers-2022.csv").open("r+b") as file:
        file.truncate(files.MAX_BYTES + 1)
    with pytest.raises(InputError, match=r"usagers-2022\.csv holds more than 268,435,456 bytes"):
        files.find(tmp_path)


def test_all_parts_of_a_gzip_file_are_read() -> None:
    plain = b"num_acc;id_vehicule\n" + b"1;a\n" * 10
    parts = gzip.compress(plain[:25]) + gzip.compress(plain[25:])
    assert len(uploads.read({"people.csv": parts}, 1 << 20).lines) == 10


def test_what_four_files_hold_together_is_limited() -> None:
    sent = {name: gzip.compress(content + b"\n" * 1000) for name, content in year_files(2022).values()}
    with pytest.raises(InputError, match="holds more than"):
        uploads.read(sent, 3500)


def test_a_long_cell_does_not_hide_the_line_of_a_defect() -> None:
    plain = year_files(2022)
    (table, (name, content)), *_ = ((t, f) for t, f in plain.items() if t.value == "caracteristiques")
    lines = content.split(b"\n")
    header = lines[0].decode().strip().split(";")
    cells = lines[1].split(b";")
    cells[[c.strip('"').lower() for c in header].index("adr")] = b'"' + b"x" * 300_000 + b'\nsecond line"'
    lines[1] = b";".join(cells)
    lines[2] = b"wrong" + lines[2]
    with pytest.raises(InputError, match="line 4, column 'num_acc'"):
        reader.read_year({**plain, table: (name, b"\n".join(lines))}, 2022)
