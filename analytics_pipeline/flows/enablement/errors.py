"""Failures of work on an epoch."""

from analytics_pipeline.errors import Refused


class NotClaimed(Refused):
    """The attempt is not this run's to work on: another run has it, it was superseded, or the feature is off again."""
