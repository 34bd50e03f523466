"""Reads the pickle of a model that another process of ours made from a signed file, without running foreign code.

A pickle calls whatever it names. Here it may name the types that the skops file names, whose signature was checked,
and the helpers with which NumPy and Cython rebuild their objects; nothing else.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Iterator
from typing import Any, Final

from include.accidents.errors import ModelError

_HELPERS: Final = frozenset(
    {
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.random._mt19937", "MT19937"),
        ("numpy.random._pcg64", "PCG64"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._pickle", "__generator_ctor"),
        ("numpy.random._pickle", "__randomstate_ctor"),
        ("numpy.random.bit_generator", "SeedSequence"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
    }
)
_CYTHON: Final = "__pyx_unpickle_"


def read(pickled: bytes, content: bytes) -> Any:
    """Read the pickle of a model with only the types of its skops file.

    Parameters
    ----------
    pickled
        The pickle that another process made from `content`.
    content
        The skops file, its signature checked.

    Returns
    -------
    The fitted model.

    Raises
    ------
    ModelError
        When the pickle names a type that the file does not, or is damaged.
    MemoryError
        When memory is short. The file may be good.
    """
    try:
        schema = zipfile.ZipFile(io.BytesIO(content)).read("schema.json")
        return _Unpickler(io.BytesIO(pickled), frozenset(_named(json.loads(schema)))).load()
    except MemoryError:  # the file may be good
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise ModelError(f"The model's pickle is not accepted ({error}).", "train the model again.") from error


def _named(node: Any) -> Iterator[tuple[str, str]]:
    """Yield module and name of each type and function in a skops file's description."""
    if isinstance(node, dict):
        if "__module__" in node:
            yield str(node["__module__"]), str(node.get("__class__"))
        if "module_path" in node:
            yield str(node["module_path"]), str(node.get("function"))
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from _named(child)


class _Unpickler(pickle.Unpickler):  # noqa: S301
    def __init__(self, file: io.BytesIO, named: frozenset[tuple[str, str]]) -> None:
        super().__init__(file)
        self._named = named

    def find_class(self, module: str, name: str) -> Any:
        wanted = (module, name.removeprefix(_CYTHON))
        if (module, name) not in _HELPERS and wanted not in self._named:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and the file does not")
        return super().find_class(module, name)
