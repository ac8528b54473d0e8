"""The auditor of reporting: copies are the product's events; rollups and reports are counted from them."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from tests.simulation import truth
from tests.simulation.auditor import DAY, Auditor, Copy, difference
from tests.simulation.readers import ReadReports

_COLUMNS = (
    "id, name, value, value_in_business_hours, account_id, inbox_id, user_id, conversation_id, created_at, updated_at"
)


class ReportingAuditor(Auditor):
    def findings(self) -> Iterator[str]:
        zoned = truth.zoned(self.state)
        if not zoned:
            return
        events = [row for row in truth.events(self.state) if row.account_id in zoned]
        first = min((truth.utc_day(row) for row in events), default=self.today)
        refused = truth.refused(self.state, "reporting_events")
        copy = Copy("reporting_events", "created_at", _COLUMNS, truth.events(self.state), refused)
        yield from self.copies(copy, max(first, self.start))
        yield from self._rollups(zoned)
        yield from self._reports()

    def _rollups(self, zoned: dict[int, Any]) -> Iterator[str]:
        found: dict[tuple[int, date], truth.Rollup] = defaultdict(dict)
        for account, day, dimension, id_, metric, *figures in self.stores.rows(
            _ROLLUPS + self.stores.whole("reporting_rollups")
        ):
            if (dimension, id_, metric) in found[account, day]:
                yield f"reporting_rollups of {day}: account {account} has {dimension} {id_} {metric} twice"
            found[account, day][dimension, id_, metric] = (figures[0], figures[1], figures[2])
        covered = {(account, day): zone for account, day, zone in self.stores.ledger(_COVERAGE)}
        for account, day in sorted({*found} - {*covered}):
            yield f"reporting_rollups of {day}: account {account} has rows that no ledger covers"
        for (account, day), stored in sorted(covered.items()):
            zone = zoned.get(account)
            # Those of another zone are not read; what is read is told by the reports.
            if zone is None or not _same(zone, stored, day):
                continue
            expected = truth.rollup(self.state, account, zone, day)
            if found[account, day] != expected:
                told = difference({*found[account, day].items()}, {*expected.items()})
                yield f"reporting_rollups of {day}: account {account}: {told}"
        yield from self._uncovered(zoned, {key for key, zone in covered.items() if zone})

    def _uncovered(self, zoned: dict[int, Any], covered: set[tuple[int, date]]) -> Iterator[str]:
        """A history that was asked for has no holes, and the current days are there."""
        for account, zone in zoned.items():
            rows = self.stores.ledger(_FIRST_DAY, f"account:{account}")
            if not rows or rows[0][0] is None:
                continue
            first, last = max(rows[0][0], self.start), self.source.clock.now().astimezone(zone).date()
            for day in truth.days_between(first, last):
                if (account, day) not in covered:
                    yield f"reporting_rollups of {day}: account {account} has none"

    def _reports(self) -> Iterator[str]:
        zones = {account: truth.zone_of(stored) for account, stored in self.source.state.zones.items()}
        answers = self.pipeline.do(ReadReports(tuple(zones), self.today - 4 * DAY, self.today))
        for (account, metric), (points, missing) in answers.items():
            zone = zones[account] or ZoneInfo("Etc/UTC")
            own = [row for row in truth.events(self.source.state) if row.account_id == account]
            if any(last >= self.start for _, last in missing) and zones[account] is not None:
                yield f"report of account {account}, {metric}: {missing} are missing"
            for moment, value, count in points:
                day = datetime.fromtimestamp(moment, zone).date()
                if any(first - DAY <= day <= last + DAY for first, last in missing):
                    continue
                expected = _figure(own, account, zone, day, metric)
                if (value, count) != expected:
                    yield f"report of account {account} on {day}, {metric}: {(value, count)} instead of {expected}"


def _same(zone: Any, stored: str, day: date) -> bool:
    """Whether both names mean the same zone, as far as that day can tell."""
    other = truth.zone_of(stored)
    noon = datetime.combine(day, time(12))
    return other is not None and noon.replace(tzinfo=zone).utcoffset() == noon.replace(tzinfo=other).utcoffset()


def _figure(own: list[Any], account: int, zone: Any, day: date, metric: str) -> tuple[float, int | None]:
    kind = {"avg_first_response_time": "first_response", "resolutions_count": "conversation_resolved"}
    name = kind.get(metric, "conversation_bot_handoff")
    rows = [row for row in own if row.name == name and row.created_at.astimezone(zone).date() == day]
    if metric == "avg_first_response_time":
        seconds = sum(row.value or 0 for row in rows)
        return (seconds / len(rows) if rows else 0, len(rows))
    return (len({row.conversation_id for row in rows}) if metric == "bot_handoffs_count" else len(rows), None)


_COVERAGE = "SELECT account_id, date, timezone FROM analytics_pipeline.reporting_coverage"
_FIRST_DAY = """
    SELECT source_first_day FROM analytics_pipeline.enablements
    WHERE feature = 'reporting' AND scope = %s AND closed_at IS NULL
"""
_ROLLUPS = """
    SELECT account_id, date, dimension_type, dimension_id, metric, count, sum_value, sum_value_business_hours
    FROM """
