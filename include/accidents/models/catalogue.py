"""The catalogue of models: read from JSON, and checked.

Only estimator classes of scikit-learn, LightGBM and XGBoost are imported for the file. Every defect is collected with
its JSON pointer before the file is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import ValidationError

from include.accidents.errors import CatalogueError
from include.accidents.models import shared_steps
from include.accidents.models.build import check_levels, check_model, check_weights
from include.accidents.models.defects import Defects, closest, closest_quoted, list_allowed, pointer_to
from include.accidents.models.specification import (
    Catalogue,
    DecisionSpec,
    Defaults,
    Distribution,
    ModelSpec,
    SearchSpec,
    Selection,
    Step,
    Strict,
    Weights,
)

MAX_BYTES = 1 << 20  # of the file
MAX_DEPTH = 50  # of objects and lists within each other


def load(text: str, source: str, *, built: Collection[str] | None = None) -> Catalogue:
    """Read and check a catalogue.

    Parameters
    ----------
    text
        The JSON document.
    source
        Its path or address, for messages.
    built
        The models that are built once as a check; None: all. A task of one model needs no other one.

    Returns
    -------
    The catalogue, shared steps put in place.

    Raises
    ------
    CatalogueError
        It lists every defect with its JSON pointer.
    """  # noqa: DOC501  (raised by a helper that makes it)
    document, filled = shared_steps.resolve(_parse(text, source))
    defects = Defects()
    catalogue: Catalogue | None
    try:
        catalogue = Catalogue.model_validate(document)
    except ValidationError as error:
        _add_defects(error, document, defects)
        catalogue = _without(document, error)  # the rest is checked too: all defects are reported at once
    if catalogue is not None:
        check_weights(catalogue.selection.weights, defects)
        check_levels(catalogue.decision, defects)
        for name, spec in catalogue.models.items():
            if built is None or name in built:
                check_model(name, spec, defects)
    if defects.messages or catalogue is None:
        raise _refuse(source, shared_steps.at_shared_places(defects.messages, filled))
    return catalogue


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    schema = Catalogue.model_json_schema(by_alias=True)
    step = schema["$defs"]["ModelSpec"]["properties"]["pipeline"]["items"]["prefixItems"]
    step[1] = {"anyOf": [step[1], {"type": "string", "description": "The name of a shared step."}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def decode(content: bytes, source: str) -> str:
    """Return the text of a catalogue's file; CatalogueError when it is too large or not in UTF-8."""
    if len(content) > MAX_BYTES:
        raise CatalogueError(f"{source} holds more than {MAX_BYTES:,} bytes.", "name a catalogue of models.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CatalogueError(f"{source} is not encoded in UTF-8 ({error}).", "save it as UTF-8.") from error


def _parse(text: str, source: str) -> Any:
    try:
        document = json.loads(text, object_pairs_hook=_no_doubles, parse_constant=_no_number)
        _check_depth(document)
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise CatalogueError(f"{source} is not JSON ({place}).", "correct the file at that place.") from error
    except RecursionError as error:
        raise CatalogueError(f"{source} is nested too deeply.", "write it flatter.") from error
    except UnicodeEncodeError as error:
        raise CatalogueError(f"{source} holds half a character ({error}).", "write it in UTF-8.") from error
    except _DoubledNameError as error:
        raise CatalogueError(f"{source} has the name {error} twice in one object.", "keep one of the two.") from error
    except ValueError as error:  # a number of thousands of digits, or one that JSON does not have
        raise CatalogueError(f"{source} contains an impossible number: {error}.", "correct that number.") from error
    return document


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise RecursionError
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inside:
        _check_depth(each, depth + 1)


def _add_defects(error: ValidationError, document: Any, defects: Defects) -> None:
    """Add a defect for each place of the wrong shape: the value there, and what is allowed."""
    misfits: dict[str, tuple[list[str], Any]] = {}  # a place of several allowed types has an error for each
    for each in error.errors():
        path = _path(document, each["loc"], absent=each["type"] == "missing")
        if each["type"] == "extra_forbidden":
            allowed = _fields_at(path[:-1])
            unknown = f"{path[-1]!r} is not known here{closest(str(path[-1]), allowed)}{list_allowed(allowed)}"
            defects.add(pointer_to(path), unknown)
        elif each["type"] == "missing":
            defects.add(pointer_to(path), f"{path[-1]!r} is missing")
        else:
            misfits.setdefault(pointer_to(path), ([], each["input"]))[0].append(each["msg"])
    absent = shared_steps.unknown(document)
    for pointer, (messages, value) in misfits.items():
        if pointer in absent:
            defects.add(pointer, absent[pointer])
            continue
        if any(other.startswith(f"{pointer}/") for other in misfits):
            continue  # the type is right, and the defect lies inside
        message = messages[0] + "".join(f", or {m.removeprefix('Input should be ')}" for m in messages[1:])
        near = closest_quoted(value, message)
        defects.add(pointer, f"{message}; found {json.dumps(value, default=str)[:80]}{near}")


def _path(document: Any, location: Sequence[int | str], *, absent: bool = False) -> list[int | str]:
    """Return the path of a defect, without the parts of pydantic's location that only name a type.

    Parameters
    ----------
    absent
        Whether the last part is missing in the document.

    Returns
    -------
    Names and positions from the document's root.
    """
    path: list[int | str] = []
    for i, part in enumerate(location):
        inside = (
            part in document
            if isinstance(document, dict)
            else isinstance(document, list) and isinstance(part, int) and part < len(document)
        )
        if inside:
            document = document[part]
            path.append(part)
        elif absent and i == len(location) - 1:
            path.append(part)
    return path


def _fields_at(path: Sequence[int | str]) -> list[str]:
    """Return the names that are known at a place of the document."""
    known: dict[int, type[Strict]] = {0: Catalogue, 2: ModelSpec, 3: SearchSpec, 5: Step}
    model: type[Strict] = known.get(len(path), Distribution)
    match list(path):
        case ["defaults"]:
            model = Defaults
        case ["selection"]:
            model = Selection
        case ["selection", "weights"]:
            model = Weights
        case ["decision"]:
            model = DecisionSpec
        case ["steps", _]:
            model = Step
        case ["models", _, "param_distributions", _]:
            model = Distribution
    return [field.alias or name for name, field in model.model_fields.items()]


def _without(document: Any, error: ValidationError) -> Catalogue | None:
    """Return the catalogue without its parts of the wrong shape; None when too little is left."""
    if not isinstance(document, dict):
        return None
    left = json.loads(json.dumps(document))
    for each in error.errors():
        match _path(document, each["loc"]):
            case ["models", _, "param_grid" | "param_distributions", _, *_] as path:
                _drop(left, path[:4])
            case ["models", _, *_] | ["decision", "recall", _] as path:
                _drop(left, path[:3])
            case ["steps", _, *_] as path:
                _drop(left, path[:2])
            case ["decision", "recall"] if isinstance(left.get("decision", {}).get("recall"), dict):
                pass  # an object is allowed instead of a number; its parts have errors of their own
            case path:
                _drop(left, path[:1])
    models = left.get("models") or {}
    left["models"] = {name: spec for name, spec in models.items() if isinstance(spec, dict) and "pipeline" in spec}
    try:
        return Catalogue.model_validate(left)
    except ValidationError:
        return None


def _drop(document: Any, path: Sequence[int | str]) -> None:
    """Remove the value at a place of the document, if it is still there."""
    *way, last = path or [""]
    for key in way:
        document = document.get(key) if isinstance(document, dict) else None
    if isinstance(document, dict):
        document.pop(last, None)


class _DoubledNameError(ValueError):
    """A JSON object holds one name twice; the json module would silently keep the last one."""


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise _DoubledNameError(repr(key))
        members[key] = value
    return members


def _refuse(source: str, defects: Sequence[str]) -> CatalogueError:
    if len(defects) == 1:
        cause = f"{source} has 1 defect: {defects[0]}."
    else:
        cause = f"{source} has {len(defects)} defects:" + "".join(f"\n- {defect}" for defect in defects) + "\n"
    return CatalogueError(
        cause,
        "correct the file; docs/models.md shows how Python is written in JSON.",
    )
