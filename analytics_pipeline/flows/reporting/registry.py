"""The registry of rollups: the one place that says which event feeds which metric, and along which dimensions.

A new metric or dimension is one entry here. The version changes with it, which makes every stored day stale: readers
fall back to the raw events until the days have been computed again.
"""

import hashlib
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

# Raised when the same entries come to mean something else, e.g. how missing values count.
_SEMANTICS = 1


class Payload(Enum):
    """The part of its events that a metric stores."""

    COUNT = "count"  # how many
    DURATION = "duration"  # how many, and their seconds; a missing or non-finite value counts as 0 seconds
    DISTINCT_CONVERSATIONS = "distinct_conversations"  # how many conversations, which never add up over dimensions


@dataclass(frozen=True)
class Metric:
    """A rollup metric and the kind of event that feeds it; one kind may feed several."""

    name: str
    event: str
    payload: Payload


@dataclass(frozen=True)
class Dimension:
    """Along what is counted: `column` of the events holds the id; events without one are left out of it alone."""

    name: str
    column: str


@dataclass(frozen=True)
class Registry:
    """All metrics and dimensions. One of the dimensions is the account's."""

    metrics: tuple[Metric, ...]
    dimensions: tuple[Dimension, ...]

    @cached_property
    def version(self) -> str:
        """Changes with every entry; twelve hexadecimal digits."""
        entries = [_SEMANTICS, *sorted(map(repr, self.metrics)), *sorted(map(repr, self.dimensions))]
        return hashlib.sha256(repr(entries).encode()).hexdigest()[:12]

    @property
    def events(self) -> list[str]:
        """The kinds of event that feed any metric, sorted."""
        return sorted({metric.event for metric in self.metrics})

    def metric(self, name: str) -> Metric:
        """The metric of that name, else KeyError."""
        return {metric.name: metric for metric in self.metrics}[name]

    def dimension(self, name: str) -> Dimension:
        """The dimension of that name, else KeyError."""
        return {dimension.name: dimension for dimension in self.dimensions}[name]


REGISTRY = Registry(
    metrics=(
        Metric("resolutions_count", "conversation_resolved", Payload.COUNT),
        Metric("resolution_time", "conversation_resolved", Payload.DURATION),
        Metric("first_response", "first_response", Payload.DURATION),
        Metric("reply_time", "reply_time", Payload.DURATION),
        Metric("bot_resolutions_count", "conversation_bot_resolved", Payload.COUNT),
        Metric("bot_handoffs_count", "conversation_bot_handoff", Payload.DISTINCT_CONVERSATIONS),
    ),
    dimensions=(
        Dimension("account", "account_id"),
        Dimension("agent", "user_id"),
        Dimension("inbox", "inbox_id"),
    ),
)
