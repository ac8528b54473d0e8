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
    """Limits of every caller, counted in this process."""

    limiter: SlidingWindowCounterRateLimiter
    items: tuple[RateLimitItem, ...]

    def spend(self, caller: str) -> dict[str, str]:
        """Count one request, and return the headers that tell what is left.

        Raises:
            Problem: nothing is left; its Retry-After tells for how many seconds.
        """
        for item in self.items:
            if not self.limiter.hit(item, caller):
                headers = self._headers(item, caller)
                raise Problem(TOO_MANY, f"The limit is {item}.", {**headers, "Retry-After": headers["RateLimit-Reset"]})
        return self._headers(self.items[0], caller)

    def _headers(self, item: RateLimitItem, caller: str) -> dict[str, str]:
        window = self.limiter.get_window_stats(item, caller)
        return {
            "RateLimit-Limit": str(item.amount),
            "RateLimit-Remaining": str(max(window.remaining, 0)),
            "RateLimit-Reset": str(max(1, math.ceil(window.reset_time - time.time()))),
        }


def new_limits(per_minute: int, per_day: int, storage: Storage | None = None) -> Limits:
    """Limits that nobody has used yet."""
    limiter = SlidingWindowCounterRateLimiter(storage or MemoryStorage())
    return Limits(limiter, (RateLimitItemPerMinute(per_minute), RateLimitItemPerDay(per_day)))
