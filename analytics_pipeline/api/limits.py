"""How often a caller may ask: a rate for a minute and a quota for a day."""

import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.storage import MemoryStorage, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from analytics_pipeline.api.problems import TOO_MANY, Problem


@dataclass(frozen=True)
class Limits:
    """Limits of every caller, counted in this process. A request spends one unit, and one for each further query."""

    limiter: SlidingWindowCounterRateLimiter
    items: tuple[RateLimitItem, ...]

    def spend(self, caller: str) -> "Spent":
        """Count a request.

        Raises:
            Problem: nothing is left; its Retry-After tells for how many seconds.
        """
        for item in self.items:
            if not self.limiter.hit(item, caller):
                headers = self.headers(item, caller)
                raise Problem(TOO_MANY, f"The limit is {item}.", {**headers, "Retry-After": headers["RateLimit-Reset"]})
        return Spent(self, caller)

    def add(self, caller: str, units: int) -> None:
        """Count what a request turned out to take, as far as so much is left."""
        for item in self.items:
            left = self.limiter.get_window_stats(item, caller).remaining
            if min(units, left) > 0:
                self.limiter.hit(item, caller, cost=min(units, left))

    def headers(self, item: RateLimitItem, caller: str) -> dict[str, str]:
        window = self.limiter.get_window_stats(item, caller)
        return {
            "RateLimit-Limit": str(item.amount),
            "RateLimit-Remaining": str(max(window.remaining, 0)),
            "RateLimit-Reset": str(max(1, math.ceil(window.reset_time - time.time()))),
        }


@dataclass(frozen=True)
class Spent:
    """A request that was counted, whose queries are not yet."""

    limits: Limits
    caller: str

    def settled(self, queries: int) -> dict[str, str]:
        """Count the queries of ClickHouse that it made, and return the headers that tell what is left."""
        self.limits.add(self.caller, queries - 1)
        return self.limits.headers(self.limits.items[0], self.caller)


def new_limits(per_minute: int, per_day: int, storage: Storage | None = None) -> Limits:
    """Limits that nobody has used yet."""
    limiter = SlidingWindowCounterRateLimiter(storage or MemoryStorage())
    return Limits(limiter, (RateLimitItemPerMinute(per_minute), RateLimitItemPerDay(per_day)))
