"""Under which names a service may be asked.

A stranger's page may let its own name point to this machine (DNS rebinding); the browser then lets it read the answers.
A service that knows its names gives none.
"""

from __future__ import annotations

import re
from typing import Final

OWN: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
ANY: Final = "*"
REFUSED: Final = "This service is not asked under that name; add the name to ACCIDENTS_ALLOWED_HOSTS."

_PORT: Final = re.compile(r":\d+$")


def allowed(extra: str, *services: str) -> frozenset[str]:
    """Return the names of this machine, those of the service inside a stack of containers, and extra ones.

    Parameters
    ----------
    extra
        What `ACCIDENTS_ALLOWED_HOSTS` says: names without a port, with commas between them; `*` is any.
    """
    return OWN | frozenset(services) | {name.strip().lower() for name in extra.split(",") if name.strip()}


def is_allowed(host: str, names: frozenset[str]) -> bool:
    """Whether a request with this header `Host` is answered."""
    return ANY in names or _PORT.sub("", host.lower()) in names
