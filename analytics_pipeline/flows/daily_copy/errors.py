"""How a copy fails; nothing was swapped then."""

from analytics_pipeline.errors import Broken, Passing, Refused


class ReadingTooSlow(Refused):
    """Postgres needs longer for very few rows than one statement of ours may hold a lock; nothing was swapped."""


class SourceReshaped(Passing):
    """The relation was rewritten, or lost or got a partition, while it was read; nothing was swapped."""


class IncompleteCopy(Broken):
    """ClickHouse did not store as many rows as Postgres sent; nothing was swapped."""
