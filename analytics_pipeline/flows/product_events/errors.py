"""What can go wrong with the events of services."""

from analytics_pipeline.errors import Passing, Refused


class UnreadableBatch(Refused):
    """A body is not what the protocol says, as a whole; nothing of it was stored."""


class StoreAway(Passing):
    """A store did not take events; those that were not answered for are to be sent again."""


class TooMuch(Refused):
    """An object of an event is nested too deeply, or has too many values; the event is rejected."""
