"""Senders: whose a token is, and how many events it may still send."""

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from anyio import to_thread
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from analytics_pipeline.api.ingestion.answers import Refusal
from analytics_pipeline.api.tokens import Token, authenticate
from analytics_pipeline.resources.postgres import Postgres

# A token that was good is good for so long: each commit asks again, so that one which was revoked stores nothing.
_GOOD_SECONDS = 30.0
_BAD_SECONDS = 2.0
_MOST_KNOWN = 10_000
_UNAUTHENTICATED = {"WWW-Authenticate": "Bearer"}


@dataclass
class Senders:
    """Tokens of scope `ingest`, remembered for some seconds."""

    store: Postgres
    _known: dict[bytes, tuple[Token | None, float]] = field(default_factory=dict, init=False, repr=False)

    async def sender(self, headers: Mapping[bytes, bytes]) -> Token:
        """The token of a request.

        Raises:
            Refusal: there is none, it has ended, or it is for reads.
        """
        scheme, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise Refusal(401, "there is no token: analytics-pipeline token create", _UNAUTHENTICATED)
        found = await self._found(secret.strip())
        if found is None or found.state != "valid":
            raise Refusal(401, "the token is not known, has expired or was revoked", _UNAUTHENTICATED)
        if found.scope != "ingest":
            raise Refusal(403, "the token is for reads; one with --scope ingest sends events")
        return found

    def forget(self) -> None:
        """Ask for every token again."""
        self._known.clear()

    async def _found(self, secret: str) -> Token | None:
        # Whatever is sent as a token is kept at one size.
        key = hashlib.sha256(secret.encode("latin-1")).digest()
        token, until = self._known.get(key, (None, 0.0))
        if time.monotonic() < until:
            return token
        token = await to_thread.run_sync(authenticate, self.store, secret)
        if len(self._known) >= _MOST_KNOWN:
            self.forget()
        self._known[key] = (token, time.monotonic() + (_GOOD_SECONDS if token else _BAD_SECONDS))
        return token


class Rates:
    """Events of each token in a minute, counted in this process."""

    def __init__(self, per_minute: int) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def spend(self, token_id: int, events: int) -> dict[str, str]:
        """Count the events, and return the headers that tell what is left.

        Raises:
            Refusal: not so many are left.
        """
        key = str(token_id)
        allowed = self._limiter.hit(self._item, key, cost=max(events, 1))
        window = self._limiter.get_window_stats(self._item, key)
        seconds = str(max(1, math.ceil(window.reset_time - time.time())))
        headers = {
            "RateLimit-Limit": str(self._item.amount),
            "RateLimit-Remaining": str(max(window.remaining, 0)),
            "RateLimit-Reset": seconds,
        }
        if not allowed:
            reason = f"the token may send {self._item.amount:,} events in a minute"
            raise Refusal(429, reason, {**headers, "Retry-After": seconds})
        return headers
