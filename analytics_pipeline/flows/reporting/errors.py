"""Refusals of reporting, and states that are missing."""

from analytics_pipeline.errors import Broken, Refused


class UnknownAccount(Refused):
    """The source has no account of that id."""


class AccountForgotten(UnknownAccount):
    """Nothing of the account may be stored, so there is nothing to be read of it."""

    def __init__(self, account_id: int) -> None:
        super().__init__(f"account {account_id} was forgotten (docs/erasure.md); nothing of it is stored")


class NotWritable(Refused):
    """The accounts are a view or not ours to write; `statement` is the SQL that whoever may can run instead."""

    def __init__(self, reason: str, statement: str) -> None:
        self.statement = statement
        super().__init__(reason)


class UnknownZone(Refused, ValueError):
    """The name is neither an IANA zone nor one of the names that Rails gives to some."""


class InvalidRange(Refused, ValueError):
    """The moments are no range that can be reported on."""


class InvalidOffset(Refused, ValueError):
    """No zone has that offset from UTC."""


class InvalidSubject(Refused, ValueError):
    """The report needs an id, or must not have the one given."""


class UnknownMetric(Refused, ValueError):
    """No report has that name."""


class UnknownDimension(Refused, ValueError):
    """Reports are not kept along that dimension."""


class UnknownGroupBy(Refused, ValueError):
    """Time series have no such periods."""


class NoStates(Broken):
    """Rollups from before distinct counts were kept so that they can be merged; the events have to answer."""
