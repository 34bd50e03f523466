"""`airflow_settings.yaml`, checked, filled in from the environment, and rendered for Airflow.

The file has the format that `astro dev` reads, with `${NAME}` for what the environment provides.
Does not import Airflow.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from include.accidents.errors import SettingsError

T = TypeVar("T")

FILE: Final = Path(__file__).resolve().parent.parent / "airflow_settings.yaml"

_PLACEHOLDER: Final = re.compile(r"\$\{(\w+)\}")
_CONNECTION_FIELDS: Final = ("type", "host", "schema", "login", "password", "port", "extra")


@dataclass(frozen=True)
class AirflowSettings:
    """Connections, pools and variables by name, each as Airflow's import commands take it."""

    connections: Mapping[str, Mapping[str, Any]]
    pools: Mapping[str, Mapping[str, Any]]
    variables: Mapping[str, str]

    def write(self, folder: Path) -> list[Path]:
        """Write `connections.json`, `pools.json` and `variables.json`, readable by the owner alone."""
        contents = {"connections": self.connections, "pools": self.pools, "variables": self.variables}
        return [_write_private(folder / f"{name}.json", json.dumps(each)) for name, each in contents.items()]


def load(path: Path, environ: Mapping[str, str]) -> AirflowSettings:
    """Read the file and fill in its placeholders.

    Parameters
    ----------
    path
        The YAML file.
    environ
        Values of the placeholders.

    Raises
    ------
    SettingsError
        If the file is absent, not of the format, or names a variable that is not set.
    """
    filled = _fill(_sections(path), environ, path)
    return AirflowSettings(
        connections=_by_name(filled["connections"], "conn_id", _connection, path),
        pools=_by_name(filled["pools"], "pool_name", _pool, path),
        variables=_by_name(filled["variables"], "variable_name", _variable, path),
    )


class _Loader(yaml.SafeLoader):
    """Reads plain values, and no alias: a few lines of these can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias is not allowed here", event.start_mark)
        return super().compose_node(parent, index)


def _sections(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError as error:
        raise SettingsError(f"{path} does not exist.", "restore it from the repository.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that cannot be, text that is not UTF-8
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())}.", "correct that line.") from error
    airflow = content.get("airflow") if isinstance(content, dict) else None
    if not isinstance(airflow, dict):
        raise SettingsError(f"{path} has no mapping `airflow` at its top.", "put `airflow:` over the sections.")
    sections = {name: airflow.get(name) or [] for name in ("connections", "pools", "variables")}
    for name, entries in sections.items():
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise SettingsError(f"{path}: `{name}` is not a list of mappings.", "begin each entry with a dash.")
    return sections


def _fill(value: Any, environ: Mapping[str, str], path: Path) -> Any:
    """Replace the placeholders in all strings of a nested value."""
    if isinstance(value, dict):
        return {key: _fill(each, environ, path) for key, each in value.items()}
    if isinstance(value, list):
        return [_fill(each, environ, path) for each in value]
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: _lookup(match.group(1), environ, path), value)
    return value


def _lookup(name: str, environ: Mapping[str, str], path: Path) -> str:
    if not environ.get(name):
        raise SettingsError(f"{path} refers to ${{{name}}}, which is not set.", f"set {name} in the environment.")
    return environ[name]


def _by_name(
    entries: list[dict[str, Any]], field: str, read: Callable[[Mapping[str, Any], Path], T], path: Path
) -> dict[str, T]:
    """Read the entries of a section, each under the name that stands in `field`."""
    found: dict[str, T] = {}
    for entry in entries:
        name = entry.get(field)
        if not isinstance(name, str) or not name:
            raise SettingsError(f"{path}: an entry has no `{field}`.", f"give it a `{field}`.")
        if name in found:
            raise SettingsError(f"{path}: two entries have the `{field}` {name}.", "remove one of them.")
        found[name] = read(entry, path)
    return found


def _connection(entry: Mapping[str, Any], path: Path) -> dict[str, Any]:
    _check_fields(entry, {"conn_id", *(f"conn_{field}" for field in _CONNECTION_FIELDS)}, path)
    given = {field: entry[f"conn_{field}"] for field in _CONNECTION_FIELDS if entry.get(f"conn_{field}")}
    if "port" in given:
        given["port"] = _integer(given["port"], f"the port of the connection {entry['conn_id']}", path)
    if "extra" in given:
        given["extra"] = given["extra"] if isinstance(given["extra"], str) else _json(given["extra"], entry, path)
    return {"conn_type": given.pop("type", "generic"), **given}


def _json(value: Any, entry: Mapping[str, Any], path: Path) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"{path}: the extra of the connection {entry['conn_id']} is no JSON ({error}).", "put dates in quotes."
        ) from error


def _pool(entry: Mapping[str, Any], path: Path) -> dict[str, Any]:
    _check_fields(entry, {"pool_name", "pool_slot", "pool_description"}, path)
    slots = _integer(entry.get("pool_slot"), f"the slots of the pool {entry['pool_name']}", path)
    return {
        "slots": slots,
        "description": str(entry.get("pool_description") or ""),
        "include_deferred": False,
    }


def _variable(entry: Mapping[str, Any], path: Path) -> str:
    _check_fields(entry, {"variable_name", "variable_value"}, path)
    return str(entry.get("variable_value") or "")


def _check_fields(entry: Mapping[str, Any], known: set[str], path: Path) -> None:
    for field in entry:
        if field not in known:
            raise SettingsError(f"{path}: the field `{field}` is not known.", f"use one of {', '.join(sorted(known))}.")


def _integer(value: object, what: str, path: Path) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise SettingsError(f"{path}: {what} is {value!r}.", "make it a whole number.") from error


def _write_private(path: Path, text: str) -> Path:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    return path
