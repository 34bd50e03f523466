"""The API key that reload and rollback require."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyHeader
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.metrics import REFUSED_KEYS
from api.settings import ApiSettings

_HEADER = APIKeyHeader(name="X-Api-Key", auto_error=False, description="The value of ACCIDENTS_API_KEY.")


class Keys:
    """Compares keys in constant time.

    An address that sends too many wrong keys in a minute gets status 429. The right key still passes: otherwise a
    stranger behind the same address could keep the pipeline from reloading. Keys are too long to guess.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._expected = settings.api_key.get_secret_value().encode()
        self._limit = RateLimitItemPerMinute(settings.wrong_keys_per_minute)
        self._wrong = MovingWindowRateLimiter(MemoryStorage())

    def check(self, given: str | None, address: str) -> None:
        """Raise 401 for a missing or wrong key, 429 for too many of them."""
        if given is not None and self._is_right(given):
            return
        if not self._wrong.hit(self._limit, address):
            REFUSED_KEYS.labels("limited").inc()
            raise HTTPException(
                429, "Too many wrong keys came from this address; wait a minute.", {"Retry-After": "60"}
            )
        REFUSED_KEYS.labels("missing" if given is None else "wrong").inc()
        raise HTTPException(
            401,
            "The header X-Api-Key is missing or wrong; send the value of ACCIDENTS_API_KEY.",
            {"WWW-Authenticate": "ApiKey"},
        )

    def _is_right(self, given: str) -> bool:
        # Digests have the same length, so that the time does not reveal the key's length.
        digests = [hmac.digest(b"compare", key, "sha256") for key in (given.encode(), self._expected)]
        return hmac.compare_digest(*digests)


def check_key(request: Request, given: Annotated[str | None, Security(_HEADER)] = None) -> None:
    """Refuse callers without the key."""
    keys: Keys = request.app.state.keys
    keys.check(given, request.client.host if request.client else "")
