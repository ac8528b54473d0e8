"""The auditor of identities and segments: snapshots are what DynamoDB held when they were captured, counts are the flag
engine's own answers on them."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from operator import itemgetter
from typing import Any, TypeVar

from tests.simulation import truth
from tests.simulation.auditor import Auditor
from tests.simulation.source import MEMBERSHIP, PROJECTS, Identities, Segment

T = TypeVar("T")
Answer = tuple[int | None, str]
_GRACE = timedelta(hours=6)
_LOOKED_BACK = timedelta(days=7)


@dataclass(frozen=True)
class Load:
    """What the ledger says of an environment's snapshot of a day."""

    day: date
    key: str
    project: int
    captured_at: datetime
    rows: int


class SegmentsAuditor(Auditor):
    def findings(self) -> Iterator[str]:
        loads = [Load(*row) for row in self.stores.ledger(_LOADS)]
        recent = [load for load in loads if load.day >= self.source.clock.today - _LOOKED_BACK]
        counts = self._counts()
        for project in PROJECTS:
            own = [load for load in recent if load.project == project]
            if self._is_enabled(project):
                yield from self._snapshots(project, own)
                yield from self._closed(project, own)
                yield from self._history(project, own, counts)
                yield from self._current(project, own)
            else:
                yield from self._nothing_current(project)
            yield from self._gone(project, counts)

    def _is_enabled(self, project: int) -> bool:
        state = self.source.state
        is_on = state.flags.get((MEMBERSHIP, f"organisation:{PROJECTS[project]}"), False)
        return is_on and bool(self._live(project)) and bool(self._environments(project))

    def _live(self, project: int) -> dict[int, Segment]:
        return {
            id_: segment
            for id_, segment in self.source.state.segments.items()
            if segment.project == project and not segment.is_deleted
        }

    def _environments(self, project: int) -> dict[int, str]:
        return {id_: key for id_, (key, its) in self.source.state.environments.items() if its == project}

    def _is_open(self, day: date) -> bool:
        return self.source.clock.now() < _end(day) + _GRACE

    def _snapshots(self, project: int, loads: list[Load]) -> Iterator[str]:
        found: dict[tuple[date, str], set[str]] = defaultdict(set)
        rows = "SELECT snapshot_date, environment_id, identifier, traits.plan.:String FROM identities FINAL"
        for day, key, identifier, plan in self.stores.rows(f"{rows} WHERE project_id = {project}"):
            found[day, key].add(f"{identifier} {plan}")
        for load in loads:
            if load.key not in self._environments(project).values():
                continue
            then = _as_of(self.source.identities_log, load.captured_at)
            expected = {f"{name} {traits.get('plan')}" for (key, name), traits in then.items() if key == load.key}
            if found[load.day, load.key] != expected:
                yield (
                    f"identities of {load.day} in {load.key}: {sorted(found[load.day, load.key])},"
                    f" captured were {sorted(expected)}"
                )
            elif load.rows != len(expected):
                told = f"the ledger says {load.rows} rows, captured were {len(expected)}"
                yield f"identities of {load.day} in {load.key}: {told}"

    def _closed(self, project: int, loads: list[Load]) -> Iterator[str]:
        """The day that has just closed was captured after its end, when anybody could be captured at all."""
        day = self.source.clock.today - timedelta(days=1)
        closing = {load.key for load in loads if load.day == day and load.captured_at >= _end(day)}
        for key in self._environments(project).values():
            if key not in closing and self._is_open(day):
                yield f"identities of {day} in {key} were not captured after the day had ended"

    def _history(self, project: int, loads: list[Load], counts: Mapping[tuple[date, int, int], Any]) -> Iterator[str]:
        by_day: dict[date, dict[str, Load]] = defaultdict(dict)
        for load in loads:
            by_day[load.day][load.key] = load
        newest = max(by_day, default=None)
        for day, its in sorted(by_day.items()):
            for id_, key in self._environments(project).items():
                for segment in self._live(project):
                    found = counts.get((day, segment, id_))
                    where = f"segment_counts of {day}: segment {segment} in {key}"
                    if found is None:
                        if day == newest or not any(own[0] == day for own in counts):
                            yield f"{where} has no count"
                        continue
                    count, status, computed_at = found
                    expected = self._expected(its.get(key), segment, computed_at, is_newest=day == newest)
                    if not _agrees((count, status), expected):
                        yield f"{where} is {count} ({status}), the engine says {expected}"

    def _expected(self, load: Load | None, segment: int, computed_at: datetime, *, is_newest: bool) -> int | None:
        if load is None:
            return None
        rules = self.source.state.segments if is_newest else _as_of(self.source.segments_log, computed_at)
        if segment not in rules:
            return None
        identities: Identities = _as_of(self.source.identities_log, load.captured_at)
        return truth.members(identities, load.key, segment, rules[segment])

    def _current(self, project: int, loads: list[Load]) -> Iterator[str]:
        newest = max((load.day for load in loads), default=None)
        if newest is None:
            return
        found = {(segment, id_): (count, status) for segment, id_, count, status in self._stored(project)}
        own = {load.key: load for load in loads if load.day == newest}
        wanted = {(segment, id_) for segment in self._live(project) for id_ in self._environments(project)}
        for pair in sorted({*found} ^ wanted):
            yield f"current counts: {pair} {'is left over' if pair in found else 'is missing'}"
        for segment, id_ in sorted({*found} & wanted):
            key = self._environments(project)[id_]
            expected = self._expected(own.get(key), segment, self.source.clock.now(), is_newest=True)
            count, status = found[segment, id_]
            answer = (None if status == "failed" else count, status)
            if not _agrees(answer, expected):
                yield f"current count of {segment} in {key} is {count} ({status}), the engine says {expected}"

    def _nothing_current(self, project: int) -> Iterator[str]:
        if left := self._stored(project):
            yield f"current counts of project {project}, which is not enabled, are left over: {left[:3]}"

    def _gone(self, project: int, counts: Mapping[tuple[date, int, int], Any]) -> Iterator[str]:
        """Of a day that can still be captured, what the product has no longer has no count."""
        state = self.source.state
        if not state.flags.get((MEMBERSHIP, f"organisation:{PROJECTS[project]}"), False):
            return
        own = {id_ for id_, segment in state.segments.items() if segment.project == project}
        for day, segment, id_ in sorted(counts):
            is_there = segment in self._live(project) and id_ in self._environments(project)
            if segment in own and self._is_open(day) and not is_there:
                yield f"segment_counts of {day}: segment {segment} in environment {id_} is left over"

    def _counts(self) -> dict[tuple[date, int, int], tuple[int | None, str, datetime]]:
        return {(row[0], row[1], row[2]): (row[3], row[4], row[5]) for row in self.stores.rows(_COUNTS)}

    def _stored(self, project: int) -> list[tuple[Any, ...]]:
        return self.stores.ledger(_CURRENT, project)


def _agrees(found: Answer, expected: int | None) -> bool:
    """Zero and unknown are different answers."""
    return found == (expected, "failed") if expected is None else found[0] == expected and found[1] != "failed"


def _as_of(log: list[tuple[datetime, T]], moment: datetime) -> T:
    """What was the last entry at that moment."""
    return log[max(bisect_right(log, moment, key=itemgetter(0)) - 1, 0)][1]


def _end(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), timezone.utc)


_LOADS = """
    SELECT snapshot_date, environment_key, project_id, captured_at, rows FROM analytics_pipeline.identity_loads
    WHERE captured_at IS NOT NULL
"""
_COUNTS = "SELECT date, segment_id, environment_id, count, status, computed_at FROM segment_counts FINAL"
_CURRENT = """
    SELECT segment_id, environment_id, count, status FROM analytics_pipeline.segment_membership_counts
    WHERE project_id = %s
"""
