"""The fate of every event, counted under one lock so that the figures add up at any moment."""

from collections import Counter
from dataclasses import dataclass, field

_OTHER, _MOST_REASONS = "other", 50


@dataclass(frozen=True)
class Stats:
    """The state of a client at one moment. Counts are events.

    `tracked` = `accepted` + all `refused`, and `accepted` + `recovered` = `delivered` + `duplicate` + all `rejected` +
    all `dropped` + `pending`.

    - `refused` by reason: track() did not take them (`closed`, `queue_full`, `spool_full`, `spool_failed`, `too_large`,
      `not_an_event`, `not_encodable`, `before_send`, `before_send_failed`, `reentrant`,
      `internal_error`).
    - `recovered`: taken from segments that another process left.
    - `rejected` by the server's reason; `dropped` by ours, after they had been accepted.
    - `pending`: not settled yet, `pending_on_disk` of them on disk. After close() they wait for a later process.
    - `torn` and `corrupt`: tails and records of adopted segments that were not whole.
    """

    accepted: int = 0
    recovered: int = 0
    delivered: int = 0
    duplicate: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    pending_on_disk: int = 0
    torn: int = 0
    corrupt: int = 0
    hook_errors: int = 0

    @property
    def tracked(self) -> int:
        return self.accepted + sum(self.refused.values())

    @property
    def settled(self) -> int:
        return self.delivered + self.duplicate + sum(self.rejected.values()) + sum(self.dropped.values())

    @property
    def is_balanced(self) -> bool:
        """Whether every event is accounted for once."""
        return self.accepted + self.recovered == self.settled + self.pending


class Ledger:
    """The counters behind `Stats`; whoever changes them holds the backlog's lock."""

    def __init__(self) -> None:
        self.accepted = self.recovered = self.delivered = self.duplicate = self.hook_errors = 0
        # What was tracked while the same thread was in the middle of counting.
        self.reentrant = 0
        self.refused: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        # The same as the sum of what is settled, for those who wait.
        self.settled = 0

    def settle(self, verdict: str, reason: str, events: int) -> None:
        """Count events as `accepted` (delivered), `duplicate`, `rejected` or `dropped`."""
        self.settled += events
        if verdict == "accepted":
            self.delivered += events
        elif verdict == "duplicate":
            self.duplicate += events
        else:
            counter = self.rejected if verdict == "rejected" else self.dropped
            counter[reason if reason in counter or len(counter) < _MOST_REASONS else _OTHER] += events

    def stats(self, pending: int, on_disk: int, torn: int, corrupt: int) -> Stats:
        return Stats(
            accepted=self.accepted,
            recovered=self.recovered,
            delivered=self.delivered,
            duplicate=self.duplicate,
            refused=dict(self.refused) | ({"reentrant": self.reentrant} if self.reentrant else {}),
            rejected=dict(self.rejected),
            dropped=dict(self.dropped),
            pending=pending,
            pending_on_disk=on_disk,
            torn=torn,
            corrupt=corrupt,
            hook_errors=self.hook_errors,
        )
