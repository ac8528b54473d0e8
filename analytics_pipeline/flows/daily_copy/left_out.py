"""Rows of a staged copy that name somebody who was forgotten: they go before anything is swapped."""

from collections.abc import Sequence
from dataclasses import replace

from analytics_pipeline.flows.daily_copy.ledger import DayState
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.erasure.forgotten import forgotten, scrub
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres


def without_forgotten(
    postgres: Postgres, clickhouse: ClickHouse, source: DaySource, staging: str, states: Sequence[DayState]
) -> list[DayState]:
    """The states of the copy without them; they count as refused, so that the source's day is still known again.

    To be asked under the lease of the swap: who forgets somebody waits for it, and then removes what was swapped.
    """
    if not scrub(clickhouse, forgotten(postgres), source.table, staging):
        return list(states)
    final = "FINAL" if source.key else ""
    counted = f"SELECT {source.partition} AS day, count() FROM {quoted(staging)} {final} GROUP BY day"
    rows = dict(clickhouse.query(counted))
    left = [(one, rows.get(one.day, 0)) for one in states]
    return [replace(one, rows=count, refused=one.rows + one.refused - count) for one, count in left]
