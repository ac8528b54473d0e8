"""Refusals of AI usage, and a registry that is broken."""

from analytics_pipeline.errors import Broken, Refused


class NotAvailable(Refused):
    """AI usage cannot be told: ClickHouse is not configured, its use is switched off, or nothing is there yet."""


class InvalidRegistry(Broken):
    """The registry contradicts itself."""
