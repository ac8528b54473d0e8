"""Refusals of product events, and events that vanished under a computation."""

from analytics_pipeline.errors import Passing, Refused


class InvalidRange(Refused, ValueError):
    """The days are no range that can be read."""


class EventsVanished(Passing):
    """Events went while figures were computed of them; the figures stayed as they were."""
