"""Failures of counting the members of segments."""

from analytics_pipeline.errors import Broken, Passing, Refused


class Unsupported(Refused, ValueError):
    """RE2 cannot say it, or cannot be trusted to mean the same."""


class Inexact(Refused, ValueError):
    """SQL cannot say exactly what the engine says; the text says why."""


class Untranslatable(Refused):
    """The segment's rules have no SQL that answers as the engine does; the text says what stands in the way."""


class Unreadable(Refused, ValueError):
    """No row holds what the segment looks at as the engine would see it; the text says why."""


class Replaced(Passing):
    """The snapshot was replaced between two statements of one page."""


class TooSlow(Refused):
    """The time for one segment and one batch is over."""


class Unfaithful(Broken, ValueError):
    """The row does not hold the value as the source did."""


class JudgeDied(Broken):
    """The judge's process ended, or had to be ended, before it answered."""


class SnapshotBusy(Passing):
    """A load is changing the rows that were to be counted; this passes."""
