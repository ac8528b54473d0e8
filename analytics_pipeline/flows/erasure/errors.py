"""Errors of forgetting somebody."""

from analytics_pipeline.errors import Broken, Passing


class KeyMissing(Broken):
    """The key of the erasures is gone: nobody can tell who was forgotten."""


class StillWritten(Passing):
    """Somebody goes on writing what was forgotten."""
