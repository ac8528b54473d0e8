"""The ledger `held_days`: what the last swap left in ClickHouse of each day, and whether that is still there.

A day is forgotten before its swap and recorded after it, so a process that dies between the two leaves a day that
nobody vouches for, which is brought in again. The store is asked as well: a partition that was dropped, an older
backup of either store, a swap that no ledger knows of, all show as a day that is not as recorded.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

from analytics_pipeline.flows.held_tables import NOTHING, Content, HeldTable
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Connection, Postgres

State: TypeAlias = Literal["held", "swapping", "lost"]


@dataclass(frozen=True)
class _Recorded:
    """A day as the ledger has it."""

    content: Content
    state: State
    swapped_at: datetime


def swap_days(
    clickhouse: ClickHouse,
    ledger: Connection,
    table: HeldTable,
    staging: str,
    days: Sequence[date],
    left_out: Sequence[date] = (),
) -> list[Content]:
    """Replace the days by what the staging table holds of them; `left_out` are days of it that are not wanted any more.

    Of a table that is kept by month the days are neighbours in one month, and all their rows have one version, which is
    later than any that the table holds of them. Returns what the days hold now, in their order.

    To be called under the table's lease. Commits that the days are forgotten before it changes anything; what it
    records afterwards is the caller's to commit, together with the caller's own ledger.

    Raises:
        LostRows: the staging table holds other days as well; nothing was swapped.
    """
    staged = table.complete(clickhouse, staging, days)
    named = {"relation": table.name, "lease": table.lease, "days": list(days)}
    ledger.execute(_FORGET_LEFTOVERS, named)
    ledger.execute(_FORGET, named)
    ledger.commit()
    table.show(clickhouse, staging, days, left_out)
    found = [staged.get(day, NOTHING) for day in days]
    values = {"rows": [one.rows for one in found], "checksums": [one.checksum for one in found]}
    ledger.execute(_RECORD, {**named, **values})
    return found


def change_in_place(
    clickhouse: ClickHouse, ledger: Connection, table: HeldTable, days: Collection[date], change: Callable[[], None]
) -> dict[date, Content]:
    """Let `change` alter rows of the days where they are; returns what the days hold afterwards, as recorded.

    To be called under the table's lease, with days that somebody vouched for before. Commits that they are forgotten
    before anything changes; what it records afterwards is the caller's to commit.
    """
    named = {"relation": table.name, "lease": table.lease, "days": list(days)}
    ledger.execute(_FORGET, named)
    ledger.commit()
    change()
    found = table.closely(clickhouse, days) if days else {}
    held = [found.get(day, NOTHING) for day in days]
    values = {"rows": [one.rows for one in held], "checksums": [one.checksum for one in held]}
    ledger.execute(_RECORD, {**named, **values})
    return dict(zip(days, held, strict=True))


def vouched_days(postgres: Postgres, table: HeldTable) -> set[date]:
    """The days that ClickHouse holds as recorded, as far as anybody has noticed."""
    return {day for (day,) in postgres.query(_VOUCHED, relation=table.name)}


def unheld_days(
    postgres: Postgres, clickhouse: ClickHouse, table: HeldTable, thoroughly: Collection[date] = ()
) -> dict[date, datetime | None]:
    """The days that ClickHouse does not hold as recorded, with when they were swapped; changes nothing.

    All days are compared by what ClickHouse tells for little, those in `thoroughly` by their rows as well. Days that
    are being swapped, and those that are known to be lost, are not among them. None: days that ClickHouse holds rows of
    and the ledger has never heard of.
    """
    before = _recorded(postgres, table)
    held = table.at_a_glance(clickhouse)
    if thoroughly:
        held |= table.closely(clickhouse, thoroughly)
    suspects = [day for day in {*before, *held} if not _is_held(before.get(day), held.get(day, NOTHING))]
    if not suspects:
        return {}
    # A swap forgets the day before ClickHouse shows anything of it: what was as it is now is no swap's doing.
    now = _recorded(postgres, table)
    return {
        day: before[day].swapped_at if day in before else None for day in suspects if now.get(day) == before.get(day)
    }


def note_losses(
    postgres: Postgres, clickhouse: ClickHouse, table: HeldTable, thoroughly: Collection[date] = ()
) -> None:
    """Let nobody vouch for the days that ClickHouse does not hold as recorded; `lost_days` has them from then on."""
    found = unheld_days(postgres, clickhouse, table, thoroughly)
    if found:
        with postgres.ledgers.connect() as connection:
            values = {"days": list(found), "swapped_at": list(found.values())}
            connection.execute(_LOSE, {"relation": table.name, "lease": table.lease, **values})


def lose_days(ledger: Connection, table: HeldTable, days: Collection[date]) -> None:
    """Forget what is known of these days, so that nobody vouches for them."""
    ledger.execute(_LOSE_ALL, {"relation": table.name, "days": list(days)})


def lost_days(postgres: Postgres, table: HeldTable, limit: int = 400) -> set[date]:
    """The days to be brought in again because nobody vouches for them: the newest few hundred."""
    return {day for (day,) in postgres.query(_LOST, relation=table.name, limit=limit)}


def lost_at_rest(postgres: Postgres, table: HeldTable) -> set[date]:
    """The same days, for who asks that they are brought in again: none while somebody swaps days of the table.

    New days are vouched for by nobody until their first swap is recorded, and would be brought in twice.
    """
    lost = lost_days(postgres, table)
    return set() if lost and postgres.is_leased(table.lease) else lost


def _is_held(recorded: _Recorded | None, held: Content) -> bool:
    """Whether a day is as recorded, or is somebody's already; what was not recorded cannot differ."""
    if recorded is None:
        return held.rows == 0
    return recorded.state != "held" or all(
        None in (one, other) or one == other
        for one, other in (
            (recorded.content.rows, held.rows),
            (recorded.content.checksum, held.checksum),
        )
    )


def _recorded(postgres: Postgres, table: HeldTable) -> dict[date, _Recorded]:
    rows = postgres.query(_RECORDED, relation=table.name)
    return {day: _Recorded(Content(count, checksum), *rest) for day, count, checksum, *rest in rows}


# Under the lease nobody else swaps: who has forgotten these days died before recording them.
_FORGET_LEFTOVERS = """
    UPDATE analytics_pipeline.held_days SET state = 'lost' WHERE relation = %(relation)s AND state = 'swapping'
"""

# Only what was vouched for is vouched for until it is swapped.
_FORGET = """
    INSERT INTO analytics_pipeline.held_days AS held (relation, day, rows, checksum, state, lease)
    SELECT %(relation)s, day, 0, 0, 'lost', %(lease)s FROM unnest(%(days)s::date[]) AS day
    ON CONFLICT (relation, day) DO UPDATE SET state = 'swapping', lease = excluded.lease WHERE held.state = 'held'
"""

_RECORD = """
    INSERT INTO analytics_pipeline.held_days (relation, day, rows, checksum, state, lease)
    SELECT %(relation)s, day, rows, checksum, 'held', %(lease)s
    FROM unnest(%(days)s::date[], %(rows)s::bigint[], %(checksums)s::numeric[]) AS held (day, rows, checksum)
    ON CONFLICT (relation, day) DO UPDATE SET
        rows = excluded.rows,
        checksum = excluded.checksum,
        state = excluded.state,
        swapped_at = excluded.swapped_at
"""

_LOSE = """
    INSERT INTO analytics_pipeline.held_days AS held (relation, day, rows, checksum, state, lease, swapped_at)
    SELECT %(relation)s, day, 0, 0, 'lost', %(lease)s, coalesce(swapped_at, now())
    FROM unnest(%(days)s::date[], %(swapped_at)s::timestamptz[]) AS lost (day, swapped_at)
    ON CONFLICT (relation, day) DO UPDATE SET state = 'lost'
    WHERE held.state = 'held' AND held.swapped_at = excluded.swapped_at
"""

_LOSE_ALL = """
    UPDATE analytics_pipeline.held_days SET state = 'lost' WHERE relation = %(relation)s AND day = ANY(%(days)s)
"""

_LOST = """
    SELECT day FROM analytics_pipeline.held_days AS held
    WHERE relation = %(relation)s AND NOT EXISTS (
        SELECT FROM analytics_pipeline.vouched_days AS vouched
        WHERE vouched.relation = held.relation AND vouched.day = held.day
    )
    ORDER BY day DESC
    LIMIT %(limit)s
"""

_VOUCHED = "SELECT day FROM analytics_pipeline.vouched_days WHERE relation = %(relation)s"

_RECORDED = """
    SELECT day, rows, checksum, state, swapped_at FROM analytics_pipeline.held_days WHERE relation = %(relation)s
"""
