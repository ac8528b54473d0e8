"""Refusals of product events, and trouble with their stores that passes."""

from analytics_pipeline.errors import Passing, Refused


class UnreadableBatch(Refused):
    """A body is not what the protocol says, as a whole; nothing of it was stored."""


class TooMuch(Refused):
    """An object of an event is nested too deeply, or has too many values; the event is rejected."""


class StoreAway(Passing):
    """A store did not take events; those that were not answered for are to be sent again."""


class InvalidRange(Refused, ValueError):
    """The days are no range that can be read."""


class EventsVanished(Passing):
    """Events went while figures were computed of them; the figures stayed as they were."""
