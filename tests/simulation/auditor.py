"""Looks at everything that the pipeline has made, and says what is wrong with it, when it has come to rest.

Every figure has to be right, every unknown has to be said, nothing may be left over, and no history done twice. Here is
what all flows have in common; each flow has an auditor of its own beside its rules.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from time import sleep
from typing import Any

from tests.simulation import truth
from tests.simulation.pipeline import Pipeline
from tests.simulation.source import Source, State
from tests.simulation.stores import Stores

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Copy:
    """A table that holds the rows of a relation as they are: where a row's day stands, and the columns to compare.

    `rows` are the source's rows that can be kept, `refused` the ids of the others by day.
    """

    table: str
    moment: str
    columns: str
    rows: Iterable[truth.Kept]
    refused: dict[date, set[str]]


@dataclass(frozen=True)
class Auditor:
    """Compares the stores with the source's own history."""

    source: Source
    stores: Stores
    pipeline: Pipeline
    start: date

    @property
    def state(self) -> State:
        """What of the product's state can be had: days before the first have no partition."""
        return truth.from_day(self.source.state, self.start)

    @property
    def today(self) -> date:
        return self.source.clock.today

    def findings(self) -> Iterator[str]:
        """Everything that is wrong with a flow, in words: what an auditor of one adds."""
        raise NotImplementedError

    def in_common(self) -> Iterator[str]:
        """What is wrong with things that belong to no flow alone."""
        yield from self._leftovers()
        yield from self._histories()

    def copies(self, copy: Copy, first: date) -> Iterator[str]:
        """From `first` on every day has to be there; whatever is there has to be as the source is."""
        table = copy.table
        expected: dict[date, set[tuple[Any, ...]]] = defaultdict(set)
        for event in copy.rows:
            expected[truth.utc_day(event)].add(truth.copied(event))
        found: dict[date, list[tuple[Any, ...]]] = defaultdict(list)
        columns = f"SELECT toDate({copy.moment}), {copy.columns} FROM {self.stores.whole(table)}"
        for day, *row in self.stores.rows(columns):
            found[day].append(tuple(row))
        refused = copy.refused
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
                yield f"{table} of {day}: {difference(set(found[day]), expected[day])}"
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


def difference(found: set[Any], expected: set[Any]) -> str:
    """At most three of each."""
    more, less = sorted(found - expected, key=repr), sorted(expected - found, key=repr)
    counted = "" if more or less else "rows that are equal"
    return f"has {more[:3]} too many, lacks {less[:3]}{counted}"


_LEDGER = "SELECT day, rows, refused FROM analytics_pipeline.source_copies WHERE source = %s"
_LETTERS = "SELECT unit, record_key FROM analytics_pipeline.dead_letters WHERE flow = %s"
_OPEN = """
    SELECT feature, scope, epoch, state, attempt FROM analytics_pipeline.enablements
    WHERE closed_at IS NULL ORDER BY feature, scope
"""
_LEASES = """
    SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE locktype = 'advisory' AND datname = current_database()
"""
