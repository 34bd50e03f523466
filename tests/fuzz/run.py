"""`make fuzz`: search for inputs that end in anything but a result or a named error; write what was found to a table.

    python -m tests.fuzz.run MINUTES

Atheris, which follows the branches of our code, takes most of the time; then come the property tests of the CSV reader
(hypothesis) and of the API's description (schemathesis) with more and other examples than `make test` has. An input
that does harm is kept in `.local/fuzz`; the status is 1 then.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / ".local" / "fuzz"
SEEDS: Final = 200  # damaged inputs that Atheris begins with, beside the undamaged ones
LARGEST: Final = 1 << 16
EXAMPLES_A_MINUTE: Final = 40
PROPERTIES: Final = {
    "tests/unit/test_raw_properties.py": "CSV reader (hypothesis)",
    "tests/api/test_openapi.py": "requests (schemathesis)",
}


@dataclass(frozen=True)
class Found:
    """What came of one target."""

    what: str
    tried: str
    reached: str
    seconds: float
    defect: str


def main(minutes: float) -> int:
    """Try every target for its share of the time; write the table; 1 if there was a defect."""
    from tests.fuzz.targets import TARGETS

    FOLDER.mkdir(parents=True, exist_ok=True)
    share = 0.8 * 60 * minutes / len(TARGETS)
    found = [_atheris(name, share) for name in TARGETS] if _has_atheris() else [_by_chance(n, share) for n in TARGETS]
    found += [_properties(path, what, minutes) for path, what in PROPERTIES.items()]
    rows = [f"| {f.what} | {f.tried} | {f.reached} | {f.seconds:.0f} | {f.defect or 'none'} |" for f in found]
    table = "\n".join(["| what | inputs tried | branches reached | seconds | defect |", "|---|---|---|---|---|", *rows])
    (FOLDER / "result.md").write_text(table + "\n", encoding="utf-8")
    print(table)  # noqa: T201
    return int(any(f.defect for f in found))


def _has_atheris() -> bool:
    try:
        import atheris  # noqa: F401  (it is made for Linux alone)
    except ImportError:
        return False
    return True


def _atheris(name: str, seconds: float) -> Found:
    corpus = FOLDER / name
    corpus.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.run", "--target", name, str(corpus), str(max(1, int(seconds)))]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    told = done.stdout + done.stderr
    (FOLDER / f"{name}.log").write_text(told, encoding="utf-8")
    tried = re.search(r"number_of_executed_units:\s*(\d+)", told)
    reached = re.findall(r"\bcov: (\d+)", told)
    defect = "" if done.returncode == 0 else _reason(told)
    took = time.monotonic() - began
    return Found(f"{name} (Atheris)", tried[1] if tried else "?", reached[-1] if reached else "?", took, defect)


def _reason(told: str) -> str:
    errors = re.findall(r"^(?:\w+\.)*(?:\w*Error|\w*Exception)\b.*$", told, re.MULTILINE)
    return errors[-1][:200] if errors else "it ended by itself; see its log"


def _by_chance(name: str, seconds: float) -> Found:
    """Do without Atheris: damage at random."""
    from tests.fuzz import corpus
    from tests.fuzz.targets import TARGETS

    began, tried, seed = time.monotonic(), 0, time.time_ns()
    while time.monotonic() - began < seconds:
        for content in corpus.mutants(name, 20, seed + tried):
            tried += 1
            try:
                TARGETS[name](content)
            except Exception as error:
                (FOLDER / f"{name}-defect").write_bytes(content)
                return Found(name, str(tried), "", time.monotonic() - began, f"{type(error).__name__}: {error}"[:200])
    return Found(f"{name} (by chance)", str(tried), "", time.monotonic() - began, "")


def _properties(path: str, what: str, minutes: float) -> Found:
    examples = max(20, int(EXAMPLES_A_MINUTE * minutes))
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path]
    environ = {**os.environ, "ACCIDENTS_FUZZ_EXAMPLES": str(examples)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    (FOLDER / f"{Path(path).stem}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    failed = re.findall(r"^FAILED (.*)$", done.stdout, re.MULTILINE)
    defect = "" if done.returncode == 0 else (failed[0][:200] if failed else "see its log")
    return Found(what, f"{examples} a property", "", time.monotonic() - began, defect)


def _fuzz(name: str, folder: str, seconds: str) -> None:
    """Hand one target to Atheris, which ends this process."""
    import logging
    import warnings

    import atheris

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["include.accidents", "ops", "api", "json", "csv"]):
        from tests.fuzz import corpus
        from tests.fuzz.targets import TARGETS
    for i, content in enumerate((*corpus.good(name), *corpus.mutants(name, SEEDS))):
        if len(content) <= LARGEST:
            (Path(folder) / f"seed-{i}").write_bytes(content)
    arguments = [
        *(sys.argv[0], folder, f"-max_total_time={seconds}", f"-max_len={LARGEST}", "-rss_limit_mb=4096"),
        *("-timeout=20", "-print_final_stats=1", f"-artifact_prefix={FOLDER}/{name}-"),
    ]
    atheris.Setup(arguments, lambda content: TARGETS[name](content) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1] == "--target":
        _fuzz(*sys.argv[2:])
    else:
        sys.exit(main(float(sys.argv[1])))
