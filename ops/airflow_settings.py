"""Checks `airflow_settings.yaml`, fills it in from the environment, and renders it for Airflow.

The file has the format that `astro dev` reads, with `${NAME}` for values from the environment. This module does not
import Airflow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from include.accidents.errors import SettingsError
from ops import envfile

FILE: Final = Path(__file__).resolve().parent.parent / "airflow_settings.yaml"

T = TypeVar("T", bound=BaseModel)

_PLACEHOLDER: Final = re.compile(r"\$\{(\w+)\}")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


class _Connection(_Entry):
    conn_id: str = Field(min_length=1)
    conn_type: str = "generic"
    conn_host: str | None = None
    conn_schema: str | None = None
    conn_login: str | None = None
    conn_password: str | None = None
    conn_port: int | None = None
    conn_extra: JsonValue = None

    def rendered(self) -> dict[str, Any]:
        given = {name.removeprefix("conn_"): value for name, value in self if value and name != "conn_id"}
        if not isinstance(given.get("extra", ""), str):
            given["extra"] = json.dumps(given["extra"])
        return {"conn_type": given.pop("type"), **given}


class _Pool(_Entry):
    pool_name: str = Field(min_length=1)
    pool_slot: int
    pool_description: str = ""


class _Variable(_Entry):
    variable_name: str = Field(min_length=1)
    variable_value: str = ""


def _nothing(value: object) -> object:
    return [] if value is None else value  # `pools:` with nothing below it


class _Sections(_Entry):
    connections: Annotated[list[_Connection], BeforeValidator(_nothing)] = []
    pools: Annotated[list[_Pool], BeforeValidator(_nothing)] = []
    variables: Annotated[list[_Variable], BeforeValidator(_nothing)] = []


class _File(_Entry):
    airflow: _Sections


@dataclass(frozen=True)
class AirflowSettings:
    """Connections, pools and variables by name, each as Airflow's import commands take it."""

    connections: Mapping[str, Mapping[str, Any]]
    pools: Mapping[str, Mapping[str, Any]]
    variables: Mapping[str, str]

    def write(self, folder: Path) -> list[Path]:
        """Write `connections.json`, `pools.json` and `variables.json`, readable by the owner alone."""
        contents = {"connections": self.connections, "pools": self.pools, "variables": self.variables}
        paths = {folder / f"{name}.json": json.dumps(each) for name, each in contents.items()}
        for path, text in paths.items():
            envfile.write_private(path, text)
        return list(paths)


def load(path: Path, environ: Mapping[str, str]) -> AirflowSettings:
    """Read the file and fill in its placeholders.

    Parameters
    ----------
    path
        The YAML file.
    environ
        Values of the placeholders.

    Returns
    -------
    Connections, pools and variables by name, their placeholders filled in.

    Raises
    ------
    SettingsError
        If the file is absent, not of the format, or names a variable that is not set.
    """
    filled = _fill(_content(path), environ, path)
    try:
        sections = _File.model_validate(filled).airflow
    except ValidationError as error:
        # The message leaves the values out: they may be secrets.
        defects = [
            f"{'.'.join(str(part) for part in each['loc']) or 'the file'}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise SettingsError(f"{path}: {'; '.join(defects)}.", "correct these entries.") from None
    return AirflowSettings(
        connections={name: each.rendered() for name, each in _by_name(sections.connections, "conn_id", path).items()},
        pools={
            name: {"slots": each.pool_slot, "description": each.pool_description, "include_deferred": False}
            for name, each in _by_name(sections.pools, "pool_name", path).items()
        },
        variables={
            name: each.variable_value for name, each in _by_name(sections.variables, "variable_name", path).items()
        },
    )


class _Loader(yaml.SafeLoader):
    """Reads plain values, and refuses aliases: with these, a few lines can expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias is not allowed here", event.start_mark)
        return super().compose_node(parent, index)


def _content(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError as error:
        raise SettingsError(f"{path} does not exist.", "restore it from the repository.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # an impossible date, text that is not UTF-8
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())}.", "correct that line.") from error


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


def _by_name(entries: Sequence[T], field: str, path: Path) -> dict[str, T]:
    by_name: dict[str, T] = {}
    for entry in entries:
        name = getattr(entry, field)
        if name in by_name:
            raise SettingsError(f"{path}: two entries have the `{field}` {name}.", "remove one of them.")
        by_name[name] = entry
    return by_name
