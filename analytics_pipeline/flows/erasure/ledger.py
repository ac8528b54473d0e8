"""The ledgers `erasures` and `erased_rows`: who was forgotten, and what went from where."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from analytics_pipeline.flows.erasure.forgotten import key_of
from analytics_pipeline.flows.erasure.subjects import Subject
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Begun:
    """A place that is being emptied, or was: rows that went, and days of which something was being removed."""

    rows: int
    days: tuple[date, ...]
    is_done: bool


@dataclass(frozen=True)
class ErasureLedger:
    """Records the erasure of one subject."""

    postgres: Postgres
    id: int

    @classmethod
    def begin(cls, postgres: Postgres, subject: Subject) -> "ErasureLedger":
        """Let every writer leave the subject out from now on."""
        key = key_of(postgres)
        with postgres.ledgers.connect() as connection:
            row = connection.execute(_BEGIN, {"kind": subject.kind, "subject": subject.digest(key)}).fetchone()
        assert row is not None
        return cls(postgres, row[0])

    def add_parts(self, parts: Collection[Subject]) -> None:
        """Let every writer leave out these parts of the subject as well."""
        key = key_of(self.postgres)
        with self.postgres.ledgers.connect() as connection:
            connection.cursor().executemany(_ADD_PART, [[one.kind, one.digest(key), self.id] for one in parts])

    def begun(self) -> dict[str, Begun]:
        """The places of which something was ever removed."""
        rows = self.postgres.query(_BEGUN, erasure=self.id)
        return {place: Begun(count, tuple(days), state == "done") for place, count, days, state in rows}

    def start(self, place: str, rows: int, days: Sequence[date]) -> tuple[date, ...]:
        """Record that so many rows of the place are about to go; returns all days that are not done with."""
        values = {"erasure": self.id, "place": place, "rows": rows, "days": list(days)}
        with self.postgres.ledgers.connect() as connection:
            row = connection.execute(_START, values).fetchone()
        assert row is not None
        return tuple(sorted(row[0]))

    def finish(self, place: str) -> None:
        """Record that the place holds nothing of the subject any more."""
        with self.postgres.ledgers.connect() as connection:
            connection.execute(_FINISH, [self.id, place])

    def complete(self) -> None:
        """Record that no place holds anything of the subject any more."""
        with self.postgres.ledgers.connect() as connection:
            connection.execute(_COMPLETE, {"erasure": self.id})


_BEGIN = """
    INSERT INTO analytics_pipeline.erasures (kind, subject) VALUES (%(kind)s, %(subject)s)
    ON CONFLICT (kind, subject) DO UPDATE SET state = 'running'
    RETURNING id
"""
_ADD_PART = """
    INSERT INTO analytics_pipeline.erasures (kind, subject, part_of) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING
"""
_BEGUN = "SELECT place, rows, days, state FROM analytics_pipeline.erased_rows WHERE erasure = %(erasure)s"
# What was counted before a command died is counted again by the next one.
_START = """
    INSERT INTO analytics_pipeline.erased_rows AS erased (erasure, place, rows, days, state)
    VALUES (%(erasure)s, %(place)s, %(rows)s, %(days)s, 'running')
    ON CONFLICT (erasure, place) DO UPDATE SET
        rows = CASE erased.state WHEN 'done' THEN erased.rows + excluded.rows
            ELSE greatest(erased.rows, excluded.rows) END,
        days = ARRAY(SELECT DISTINCT unnest(erased.days || excluded.days)),
        state = 'running',
        updated_at = clock_timestamp()
    RETURNING days
"""
_FINISH = """
    UPDATE analytics_pipeline.erased_rows SET state = 'done', days = '{}', updated_at = clock_timestamp()
    WHERE erasure = %s AND place = %s
"""
_COMPLETE = """
    UPDATE analytics_pipeline.erasures SET state = 'completed', completed_at = clock_timestamp()
    WHERE id = %(erasure)s OR part_of = %(erasure)s
"""
