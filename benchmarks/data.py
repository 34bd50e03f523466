"""Benchmark of the data, from raw CSV files to written splits: plain pandas, this project, and the floor (pyarrow).

`RAW` names a folder of the publisher's CSVs (plain or .gz); without it, the generated sample of one year is used.
Prints one JSON line for each figure; exit status 1 when one misses its bar. Each side runs in a process of its own, in
turn, several times (`ROUNDS`, 3): the shortest time and the highest peak count. Imports are measured apart. `GROWTH=0`
leaves out the twenty generated vintages; `GROWTH=folder` keeps them there for the next time (2.5 million people take
minutes).
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

ACCIDENTS_A_YEAR = 56_000  # as many as in 2021: some 125,000 people
VINTAGES = tuple(range(2005, 2025))
TWO = (2018, 2019)  # the last of the old form, and the first of today's
Side = Callable[[Path, Path, Path], Callable[[], None]]


def pandas_way(raw: Path, out: Path, _: Path) -> Callable[[], None]:
    """Return the plain pandas way: all columns as text, CSV between the steps, rows with any gap dropped."""
    import pandas as pd
    from sklearn.model_selection import train_test_split

    from include.accidents.data import files
    from include.accidents.data.columns import Table

    def read(path: Path, year: int) -> pd.DataFrame:
        old = year < 2019
        tabs = "caracteristiques" in path.name and year == 2009
        separator = "\t" if tabs else "," if old else ";"
        frame = pd.read_csv(path, sep=separator, encoding="latin-1" if old else "utf-8", dtype=str)
        return frame.rename(columns={"Accident_Id": "Num_Acc"})

    def run() -> None:
        merged = []
        for year, tables in files.find(raw).items():
            data = read(tables[Table.CARACTERISTIQUES], year).merge(read(tables[Table.LIEUX], year), on="Num_Acc")
            data = data.merge(read(tables[Table.VEHICULES], year), on="Num_Acc")
            people = read(tables[Table.USAGERS], year)
            keys = [key for key in ("Num_Acc", "id_vehicule", "num_veh") if key in data and key in people]
            data = data.merge(people, on=keys)
            data.to_csv(out / f"df_accidents_{year}.csv", sep=";", index=False)
            merged.append(out / f"df_accidents_{year}.csv")
        data = pd.concat([pd.read_csv(path, sep=";", dtype=str) for path in merged], ignore_index=True)
        data.to_csv(out / "df_accidents.csv", sep=";", index=False)

        data = pd.read_csv(out / "df_accidents.csv", sep=";", dtype=str)
        data = data.replace(",", ".", regex=True)
        useless = (
            "adr", "voie", "v1", "v2", "pr", "pr1", "lartpc", "larrout", "occutc", "id_vehicule", "id_usager",
            "num_veh", "com", "gps", "env1",
        )  # fmt: skip
        data = data.drop(columns=[name for name in useless if name in data])
        data["hrmn"] = data["hrmn"].str.replace(":", "")
        data["nbv"] = data["nbv"].replace(["#ERREUR", "#VALEURMULTI", " -1"], None)
        data = data.apply(pd.to_numeric, errors="coerce").dropna()
        data.to_csv(out / "df_accident_clean.csv", sep=";", index=False)

        data = pd.read_csv(out / "df_accident_clean.csv", sep=";")
        x, y = data.drop(columns=["grav", "Num_Acc"]), data["grav"] - 1
        parts = train_test_split(x, y, test_size=0.1, random_state=0)
        for name, part in zip(("X_train_test", "X_global_test", "y_train_test", "y_global_test"), parts, strict=True):
            part.to_csv(out / f"{name}.csv", sep=";", index=False)

    return run


def project(raw: Path, out: Path, _: Path) -> Callable[[], None]:
    """Return the project's way, with everything that it does: checks, report, features, Parquet and CSV."""
    import holidays

    from include.accidents.pipeline import clean, prepare
    from include.accidents.storage.folder import FolderStore

    holidays.country_holidays("FR")  # imports the country's module

    def run() -> None:
        store = FolderStore(out)
        prepared = [prepare.prepare_year(store, year, read) for year, read in prepare.folder_years(raw)]
        clean.clean_data(store, prepared)

    return run


def floor(raw: Path, out: Path, written: Path) -> Callable[[], None]:
    """Return the floor: pyarrow parses the same files and writes the project's outputs, with nothing in between."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    semicolons = pyarrow.csv.ParseOptions(delimiter=";")
    outputs = {}
    for path in sorted(written.rglob("*")):
        if path.suffix == ".csv":
            outputs[path.relative_to(written)] = pyarrow.csv.read_csv(path, parse_options=semicolons)
        elif path.suffix == ".parquet":
            outputs[path.relative_to(written)] = pq.read_table(path)
    for name in outputs:
        (out / name).parent.mkdir(parents=True, exist_ok=True)

    def run() -> None:
        for path in sorted(raw.iterdir()):
            with path.open("rb") as file:
                header = file.readline()
            delimiter = max(";,\t", key=lambda sign: header.count(sign.encode()))
            pyarrow.csv.read_csv(
                path,
                pyarrow.csv.ReadOptions(encoding="latin-1" if delimiter != ";" else "utf8"),
                pyarrow.csv.ParseOptions(delimiter=delimiter),
            )
        for name, table in outputs.items():
            if name.suffix == ".csv":
                pyarrow.csv.write_csv(table, out / name, pyarrow.csv.WriteOptions(delimiter=";"))
            else:
                pq.write_table(table, out / name)

    return run


SIDES: dict[str, Side] = {"pandas": pandas_way, "project": project, "floor": floor}


def child(side: str, raw: Path, out: Path, written: Path) -> None:
    """Run one side in this process and print its cost."""
    started = time.perf_counter()
    run = SIDES[side](raw, out, written)
    ready, cpu = time.perf_counter(), time.process_time()
    run()
    seconds, cpu = time.perf_counter() - ready, time.process_time() - cpu
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    print(json.dumps({"seconds": seconds, "cpu": cpu, "imports": ready - started, "peak_mib": peak}))


def measure(side: str, raw: Path, written: Path) -> dict[str, float]:
    """Run one side in a child process; only the project's output is kept, in `written`: the floor writes it again."""
    with tempfile.TemporaryDirectory(prefix="accidents-bench-") as folder:
        command = [sys.executable, str(Path(__file__).resolve()), "--side", side, str(raw), folder, str(written)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
        if side == "project" and not any(written.iterdir()):
            shutil.copytree(folder, written, dirs_exist_ok=True)
    cost: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return cost


def unpack(raw: Path | None, folder: Path) -> Path:
    """Put the CSVs to read into a folder, uncompressed: gzip costs every side the same."""
    from include.accidents.data import files
    from include.accidents.synthetic import sample

    if raw is None:
        sample.write_sample(folder, years=(2021,), accidents_per_year=ACCIDENTS_A_YEAR)
        (folder / files.MARKER).unlink()
        return folder
    for tables in files.find(raw).values():
        for path in tables.values():
            content = path.read_bytes()
            plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            (folder / (path.stem if path.suffix.lower() == ".gz" else path.name)).write_bytes(plain)
    return folder


def print_figure(name: str, value: float, unit: str, better: str, bar: float | None = None) -> bool:
    """Print a figure; return whether it meets its bar."""
    line: dict[str, Any] = {"name": name, "value": round(value, 3), "unit": unit, "better": better}
    if bar is not None:
        line["bar"] = bar
    print(json.dumps(line), flush=True)
    return bar is None or (value >= bar if better == "higher" else value <= bar)


def compare(raw: Path, written: Path, rounds: int) -> bool:
    """Measure the three sides in turn; return whether every bar is met."""
    costs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in ("pandas", "project", "floor"):
            costs[side].append(measure(side, raw, written))
    best = {side: min(cost["seconds"] for cost in of_side) for side, of_side in costs.items()}
    peak = {side: max(cost["peak_mib"] for cost in of_side) for side, of_side in costs.items()}
    kept = []
    for side, seconds in best.items():
        print_figure(f"data.{side}_seconds", seconds, "s", "lower")
    for side in ("pandas", "project"):
        print_figure(f"data.{side}_cpu_seconds", min(cost["cpu"] for cost in costs[side]), "s", "lower")
        print_figure(f"data.{side}_import_seconds", min(cost["imports"] for cost in costs[side]), "s", "lower")
        print_figure(f"data.{side}_peak_memory", peak[side], "MiB", "lower")
    kept.append(print_figure("data.speedup", best["pandas"] / best["project"], "x", "higher", 8))
    kept.append(print_figure("data.memory_share", peak["project"] / peak["pandas"], "x", "lower", 0.5))
    kept.append(print_figure("data.over_floor", best["project"] / best["floor"], "x", "lower", 2))
    return all(kept)


def growth(folder: Path, written: Path) -> bool:
    """Measure two generated vintages and twenty; those that `folder` already holds are not generated again."""
    from include.accidents.data import files
    from include.accidents.synthetic import sample

    twenty, two = folder / "20", folder / "2"
    for year in VINTAGES:
        if not twenty.is_dir() or not any(str(year) in path.name for path in twenty.iterdir()):
            sample.write_sample(twenty, years=(year,), accidents_per_year=ACCIDENTS_A_YEAR)
    shutil.rmtree(two, ignore_errors=True)
    two.mkdir()
    for year in TWO:
        for path in files.find(twenty)[year].values():
            os.link(path, two / path.name)
    costs = {years: [measure("project", raw, written) for _ in range(2)] for years, raw in ((2, two), (20, twenty))}
    seconds = {years: min(cost["seconds"] for cost in of) for years, of in costs.items()}
    print_figure("data.two_vintages_seconds", seconds[2], "s", "lower")
    print_figure("data.twenty_vintages_seconds", seconds[20], "s", "lower")
    kept = [
        print_figure("data.growth", seconds[20] / seconds[2], "x", "lower", 11),
        print_figure(
            "data.twenty_vintages_peak_memory", max(cost["peak_mib"] for cost in costs[20]) / 1024, "GiB", "lower", 6
        ),
    ]
    return all(kept)


def main() -> int:
    """Measure everything; 1 when a bar is missed."""
    raw = os.environ.get("RAW")
    with tempfile.TemporaryDirectory(prefix="accidents-bench-") as folder:
        plain, written, many = (Path(folder) / name for name in ("raw", "written", "many"))
        for path in (plain, written, many):
            path.mkdir()
        kept = compare(unpack(Path(raw) if raw else None, plain), written, int(os.environ.get("ROUNDS", "3")))
        setting = os.environ.get("GROWTH", "1")
        if setting != "0":
            kept = growth(many if setting == "1" else Path(setting), written) and kept
    return 0 if kept else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        child(sys.argv[2], *map(Path, sys.argv[3:6]))
    else:
        sys.exit(main())
