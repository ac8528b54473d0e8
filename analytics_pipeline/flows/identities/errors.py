"""Failures of captures and loads of identities."""

from collections.abc import Sequence

from analytics_pipeline.errors import Broken, Refused
from analytics_pipeline.flows.tenants import Environment


class Unmappable(Refused, ValueError):
    """The document cannot become a row; the text says why."""


class IncompleteLoad(Broken):
    """ClickHouse did not take every row of the capture."""


class EnvironmentsRefused(Refused):
    """Some environments of a batch cannot be loaded; the others can, without them."""

    def __init__(self, environments: Sequence[Environment], reason: str) -> None:
        self.environments = frozenset(environment.key for environment in environments)
        super().__init__(reason)


class NotCaptured(Refused):
    """The landing zone has no capture of the environment for the day, or one that this version cannot read."""


class StaleCapture(Refused):
    """ClickHouse already holds a newer capture than the landing zone does."""


class DayHasClosed(Refused):
    """The day can no longer be captured: the identity store holds only the present."""


class TooManyDeadLetters(Broken):
    """So many documents are refused that the mapping, not the documents, must be wrong."""


class ExportFailed(Broken):
    """DynamoDB did not export the table; the text says why and what to do."""
