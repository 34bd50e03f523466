"""The host names under which a service answers.

A hostile page may let its own name point to this machine (DNS rebinding); the browser then lets it read the answers.
A service that knows its own names refuses such requests.
"""

from __future__ import annotations

import re
from typing import Final

OWN: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
ANY: Final = "*"
REFUSED: Final = "This service does not answer under that name; add the name to ACCIDENTS_ALLOWED_HOSTS."

_PORT: Final = re.compile(r":\d+$")


def allowed(extra: str, *services: str) -> frozenset[str]:
    """Return the names of this machine, those of the service inside a stack of containers, and extra ones.

    Parameters
    ----------
    extra
        The value of `ACCIDENTS_ALLOWED_HOSTS`: names without a port, separated by commas; `*` allows any.

    Returns
    -------
    Names without a port, as `is_allowed` takes them.
    """
    return OWN | frozenset(services) | {name.strip().lower() for name in extra.split(",") if name.strip()}


def is_allowed(host: str, names: frozenset[str]) -> bool:
    """Return whether a request with this header `Host` is answered."""
    return ANY in names or _PORT.sub("", host.lower()) in names
