"""Reporting: accounts get, change and lose their time zone, which begins and ends their rollups."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.simulation.flow import Draft, Flow
from tests.simulation.flows.reporting_audit import ReportingAuditor
from tests.simulation.history import History
from tests.simulation.source import Event

ZONES = ("Asia/Kolkata", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Calcutta", "Mars/Base", None)


def _row(draft: Draft) -> Event:
    inbox = None if draft.hour % 3 else 7
    conversation, account = draft.hour % 2, draft.who
    times = (draft.moment, draft.now)
    return Event(draft.id, draft.name, draft.value, 1.0, account, inbox, draft.who, conversation, *times)


REPORTING = Flow(
    name="reporting",
    looks=("reporting_late_rows", "reporting_closed_days"),
    assets=("reporting_events", "reporting_rollups"),
    tables=("reporting_events", "reporting_day_bounds", "reporting_rollups"),
    auditor=ReportingAuditor,
    relations=("reporting_events",),
    row=_row,
)


class Reporting(History):
    """What happens to reporting alone."""

    def begin_reporting(self, zone: str | None) -> None:
        self.source.set_zone(1, zone)

    @precondition(lambda self: REPORTING in self.flows)
    @rule(account=st.integers(1, 2), zone=st.sampled_from(ZONES))
    def set_zone(self, account: int, zone: str | None) -> None:
        self.source.set_zone(account, zone)
