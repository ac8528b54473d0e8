"""A limit of time for a piece of work of many steps, which each step asks how much of it is left."""

import math
import time
from dataclasses import dataclass


class TimeLimitReached(Exception):
    """The work was stopped because its time is over; the text says what was stopped, what stayed, and the repair."""


@dataclass(frozen=True)
class Deadline:
    """When work has to have ended, on the clock of `time.monotonic`; `message` is what the operator reads then."""

    at: float
    message: str

    @classmethod
    def after(cls, seconds: float, message: str) -> "Deadline":
        return cls(time.monotonic() + seconds, message)

    @property
    def remaining(self) -> float:
        """Seconds, negative when it has passed."""
        return self.at - time.monotonic()

    @property
    def whole_seconds(self) -> int:
        """The remaining seconds for what takes no fractions; never 0, which ClickHouse takes for no limit."""
        return max(1, math.ceil(self.remaining))

    def check(self) -> None:
        """Stop when it has passed.

        Raises:
            TimeLimitReached: with the message.
        """
        if self.remaining <= 0:
            raise TimeLimitReached(self.message)

    def earlier(self, seconds: float) -> "Deadline":
        """One that leaves so many seconds for what comes after it."""
        return Deadline(self.at - seconds, self.message)
