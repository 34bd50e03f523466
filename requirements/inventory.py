"""`make sbom` and `make audit`: under which licences the locked dependencies are, and what is known against them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, metadata, version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = ROOT / "requirements" / "runtime.txt"
LOCKS: Final = ("uv", "runtime", "dev", "api", "mlflow", "airflow")
TABLE: Final = ROOT / "docs" / "licences.md"
HEAD: Final = """\
# Licences of the dependencies

Of everything that the stack needs when it runs, as `requirements/runtime.txt` locks it and the packages themselves say.
`make sbom` writes this table, and `sbom.json` (CycloneDX).

| package | version | licence |
|---|---|---|
"""


def packages() -> Iterator[tuple[str, str]]:
    """Yield name and version of each locked package that is installed here; some are for other systems."""
    for name, locked in re.findall(r"^([\w.-]+)==([\w.+!-]+)", LOCK.read_text("utf-8"), re.MULTILINE):
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        if installed == locked:
            yield name, locked


def licence(name: str) -> str:
    """Return what a package says of its licence: its expression, its classifiers, or the first line of its text."""
    said = metadata(name)
    if expression := said.get("License-Expression"):
        return str(expression)
    found = [c.rpartition(" :: ")[2] for c in said.get_all("Classifier") or [] if c.startswith("License ::")]
    named = [each for each in found if each != "OSI Approved"]
    text = str(said.get("License") or "").strip().partition("\n")[0]
    return ", ".join(named) or text[:80] or _first_line(name)


def _first_line(name: str) -> str:
    files = [each for each in distribution(name).files or [] if each.name.upper().startswith(("LICENSE", "LICENCE"))]
    lines = files[0].read_text("utf-8").strip().splitlines() if files else []
    return lines[0].strip()[:80] if lines else "not said"


def write_licences() -> None:
    """Write the table of the documentation."""
    rows = [f"| {name} | {locked} | {licence(name).replace('|', '/')} |\n" for name, locked in packages()]
    TABLE.write_text(HEAD + "".join(rows), encoding="utf-8")
    print(f"{TABLE.relative_to(ROOT)}: {len(rows)} packages.")


def audit() -> int:
    """Look for withdrawn releases and known vulnerabilities; 1 when there are some, 2 when not all was looked up."""
    return max(find_withdrawn(), find_vulnerable())


def find_withdrawn() -> int:
    """Ask the package index which locked releases their makers took back."""
    status = 0
    for lock in LOCKS:
        command = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--no-deps", "--no-config"]
        command += ["--target", tempfile.gettempdir(), "-r", f"requirements/{lock}.txt"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"requirements/{lock}.txt: the package index could not be asked for withdrawn releases.")
            return 2
        found = re.findall(r"`(\S+)` is yanked(?: \(reason: \"?(.*?)\"?\))?", done.stderr)
        print(f"requirements/{lock}.txt: {len(found)} withdrawn releases.")
        for release, reason in found:
            print(f"  {release}: {reason or 'no reason given'}")
            status = 1
    return status


def find_vulnerable() -> int:
    """Ask pip-audit of all locks."""
    status = 0
    for lock in LOCKS:
        command = [sys.executable, "-m", "pip_audit", "-r", f"requirements/{lock}.txt", "--disable-pip"]
        command += ["--require-hashes", "--timeout", "10", "--progress-spinner", "off", "--format", "json"]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
            asked = json.loads(done.stdout)["dependencies"]
        except subprocess.TimeoutExpired:
            return _unreachable(lock, "no answer within five minutes")
        except ValueError:
            return _unreachable(lock, (done.stderr.strip().splitlines() or ["no message"])[-1][:200])
        if skipped := [each for each in asked if "skip_reason" in each]:
            return _unreachable(lock, f"{len(skipped)} of {len(asked)} packages: {skipped[0]['skip_reason']}")
        known = [(each["name"], each["version"], v["id"], v["fix_versions"]) for each in asked for v in each["vulns"]]
        print(f"requirements/{lock}.txt: {len(asked)} packages, {len(known)} known vulnerabilities.")
        for name, found, identity, fixed in known:
            print(f"  {name} {found}: {identity}, mended in {', '.join(fixed) or 'no version yet'}")
            status = 1
    return status


def _unreachable(lock: str, reason: str) -> int:
    print(f"requirements/{lock}.txt was not audited: the service of known vulnerabilities could not be asked.")
    print(
        f"({reason})\nTry again where the network lets you reach it: nothing was found, because nothing was looked up."
    )
    return 2


if __name__ == "__main__":
    if sys.argv[1:] == ["audit"]:
        sys.exit(audit())
    write_licences()
