"""Looks at everything that the pipeline has made, and says what is wrong with it, when it has come to rest.

Every figure has to be right, every unknown has to be said, nothing may be left over, and no history done twice.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from time import sleep
from typing import Any
from zoneinfo import ZoneInfo

from tests.simulation import truth
from tests.simulation.pipeline import Pipeline
from tests.simulation.readers import ReadAiUsage, ReadReports
from tests.simulation.source import AI_HISTORY, Source, State
from tests.simulation.stores import Stores

_DAY = timedelta(days=1)
_COPIES = {
    "reporting_events": (
        "reporting_events",
        "created_at",
        "id, name, value, value_in_business_hours, account_id, inbox_id, user_id, conversation_id, created_at,"
        " updated_at",
    ),
    "duo_chat_events": (
        "ai_duo_chat_events",
        "timestamp",
        "id, user_id, event, namespace_path, timestamp, created_at, '', 0",
    ),
    "code_suggestion_events": (
        "ai_code_suggestion_events",
        "timestamp",
        "id, user_id, event, namespace_path, timestamp, created_at, language, suggestion_size",
    ),
}


@dataclass
class Auditor:
    """Compares the stores with the source's own history."""

    source: Source
    stores: Stores
    pipeline: Pipeline
    start: date

    def findings(self) -> list[str]:
        """Everything that is wrong, in words."""
        looks = (self._reporting, self._ai_usage, self._leftovers, self._histories)
        return [finding for look in looks for finding in look()]

    @property
    def state(self) -> State:
        """What of the product's state can be had: days before the first have no partition."""
        return truth.from_day(self.source.state, self.start)

    @property
    def today(self) -> date:
        return self.source.clock.today

    def _reporting(self) -> Iterator[str]:
        zoned = truth.zoned(self.state)
        if not zoned:
            return
        events = [row for row in truth.events(self.state) if row.account_id in zoned]
        first = min((truth.utc_day(row) for row in events), default=self.today)
        yield from self._copies("reporting_events", max(first, self.start))
        yield from self._rollups(zoned)
        yield from self._reports()

    def _ai_usage(self) -> Iterator[str]:
        epochs = self.stores.ledger("SELECT 1 FROM analytics_pipeline.enablements WHERE feature = 'ai_usage'")
        answer = self.pipeline.do(ReadAiUsage(self.start, self.today))
        if not self.source.state.ai_is_on:
            if answer is not None:
                yield f"AI usage is switched off and answers {answer}"
            return
        if not epochs and not self.source.state.flags.get((AI_HISTORY, "global"), False):
            return
        rows = [
            row
            for relation in ("ai_duo_chat_events", "ai_code_suggestion_events")
            for row in truth.ai_events(self.state, relation)
        ]
        first = max(min(map(truth.utc_day, rows), default=self.today), self.start)
        yield from self._copies("duo_chat_events", first)
        yield from self._copies("code_suggestion_events", first)
        yield from self._figures(first)
        yield from self._usage_as_read(answer, first)

    def _copies(self, table: str, first: date) -> Iterator[str]:
        """From `first` on every day has to be there; whatever is there has to be as the source is."""
        relation, moment, columns = _COPIES[table]
        state = self.state
        accepted = truth.events(state) if relation == "reporting_events" else truth.ai_events(state, relation)
        expected: dict[date, set[tuple[Any, ...]]] = defaultdict(set)
        for event in accepted:
            expected[truth.utc_day(event)].add(truth.copied(event))
        found: dict[date, list[tuple[Any, ...]]] = defaultdict(list)
        for day, *row in self.stores.rows(f"SELECT toDate({moment}), {columns} FROM {self.stores.whole(table)}"):
            found[day].append(tuple(row))
        refused = truth.refused(state, relation)
        letters = self._dead_letters(table)
        ledger = {day: (rows, count) for day, rows, count in self.stores.ledger(_LEDGER, table)}
        for day in sorted({*expected, *found, *ledger, *truth.days_between(first, self.today)}):
            if day not in ledger:
                if found[day]:
                    yield f"{table} of {day}: {len(found[day])} rows that no ledger knows of"
                elif day >= first:
                    yield f"{table} of {day} was never copied"
                continue
            if set(found[day]) != expected[day] or len(found[day]) != len(expected[day]):
                yield f"{table} of {day}: {_difference(set(found[day]), expected[day])}"
            if letters.get(day, set()) != refused.get(day, set()):
                yield f"{table} of {day}: dead letters {letters.get(day)}, refused are {refused.get(day)}"
            told = (len(expected[day]), len(refused.get(day, ())))
            if ledger[day] != told:
                yield f"{table} of {day}: the ledger says {ledger[day]}, the source has {told}"

    def _dead_letters(self, table: str) -> dict[date, set[str]]:
        found: dict[date, set[str]] = defaultdict(set)
        for unit, key in self.stores.ledger(_LETTERS, table):
            found[date.fromisoformat(unit)].add(key)
        return found

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
                difference = _difference({*found[account, day].items()}, {*expected.items()})
                yield f"reporting_rollups of {day}: account {account}: {difference}"
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
        answers = self.pipeline.do(ReadReports(tuple(zones), self.today - 4 * _DAY, self.today))
        for (account, metric), (points, missing) in answers.items():
            zone = zones[account] or ZoneInfo("Etc/UTC")
            own = [row for row in truth.events(self.source.state) if row.account_id == account]
            if any(last >= self.start for _, last in missing) and zones[account] is not None:
                yield f"report of account {account}, {metric}: {missing} are missing"
            for moment, value, count in points:
                day = datetime.fromtimestamp(moment, zone).date()
                if any(first - _DAY <= day <= last + _DAY for first, last in missing):
                    continue
                expected = _figure(own, account, zone, day, metric)
                if (value, count) != expected:
                    yield f"report of account {account} on {day}, {metric}: {(value, count)} instead of {expected}"

    def _figures(self, first: date) -> Iterator[str]:
        found = {
            tuple(row[:6]): tuple(row[6:]) for row in self.stores.rows(_USAGE + self.stores.whole("ai_usage_daily"))
        }
        expected = truth.usage(self.state)
        if found != expected:
            yield f"ai_usage_daily: {_difference({*found.items()}, {*expected.items()})}"
        counted = {day for (day,) in self.stores.ledger("SELECT day FROM analytics_pipeline.ai_usage_days")}
        for day in truth.days_between(first, self.today):
            if day not in counted:
                yield f"ai_usage_daily of {day} was never counted"

    def _usage_as_read(self, answer: Any, first: date) -> Iterator[str]:
        if answer is None:
            yield "AI usage is switched on and does not answer"
            return
        events, missing = answer
        if any(last >= first for _, last in missing):
            yield f"AI usage: {missing} are missing"
        expected = truth.happened(self.state, truth.days_between(self.start, self.today))
        if events != dict(expected):
            yield f"AI usage reads {events} instead of {dict(expected)}"

    def _leftovers(self) -> Iterator[str]:
        if not self.pipeline.faults and (staging := self.stores.staging()):
            yield f"tables are left over: {staging}"
        for _ in range(20):
            held = self.stores.ledger(_LEASES)
            if not held:
                return
            sleep(0.1)
        yield f"{len(held)} leases are held by nobody"

    def _histories(self) -> Iterator[str]:
        for feature, scope, epoch, state, attempt in self.stores.ledger(_OPEN):
            if state != "completed":
                yield f"the history of {feature} {scope} (epoch {epoch}) is {state} after attempt {attempt}"
        if self.pipeline.faults or self.pipeline.damages:
            return
        runs: dict[str, int] = defaultdict(int)
        for ran in self.pipeline.ran:
            tag = ran.tags.get("analytics_pipeline/enablement", "")
            if tag and ran.materialised:
                runs[tag.rpartition(":")[0]] += 1
        for history, count in runs.items():
            if count > 1:
                yield f"the history {history} was brought in by {count} runs"


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


def _difference(found: set[Any], expected: set[Any]) -> str:
    """At most three of each."""
    more, less = sorted(found - expected, key=repr), sorted(expected - found, key=repr)
    counted = "" if more or less else "rows that are equal"
    return f"has {more[:3]} too many, lacks {less[:3]}{counted}"


_LEDGER = "SELECT day, rows, refused FROM analytics_pipeline.source_copies WHERE source = %s"
_LETTERS = "SELECT unit, record_key FROM analytics_pipeline.dead_letters WHERE flow = %s"
_COVERAGE = "SELECT account_id, date, timezone FROM analytics_pipeline.reporting_coverage"
_FIRST_DAY = """
    SELECT source_first_day FROM analytics_pipeline.enablements
    WHERE feature = 'reporting' AND scope = %s AND closed_at IS NULL
"""
_OPEN = """
    SELECT feature, scope, epoch, state, attempt FROM analytics_pipeline.enablements
    WHERE closed_at IS NULL ORDER BY feature, scope
"""
_LEASES = """
    SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE locktype = 'advisory' AND datname = current_database()
"""
_ROLLUPS = """
    SELECT account_id, date, dimension_type, dimension_id, metric, count, sum_value, sum_value_business_hours
    FROM """
_USAGE = """
    SELECT date, feature, event, user_id, namespace_path, language, occurrences, suggestion_size_sum, last_at
    FROM """
