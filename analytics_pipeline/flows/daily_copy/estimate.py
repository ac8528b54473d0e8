"""Estimates of what a copy would read, to be had before it begins: no row is read for them."""

from collections.abc import Sequence
from datetime import date

from analytics_pipeline.flows.daily_copy.ledger import between, planned
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.daily_copy.typed import as_found
from analytics_pipeline.flows.days import day_start, next_day
from analytics_pipeline.flows.held_tables import Estimate
from analytics_pipeline.resources.postgres import Postgres


def estimates(postgres: Postgres, source: DaySource, days: Sequence[date]) -> dict[date, Estimate]:
    """Rows and bytes that Postgres expects in each of the UTC days, from its statistics.

    Raises:
        WrongTypes: columns of the source cannot be read.
    """
    found = as_found(postgres, source)
    with postgres.connect() as connection:
        plans = {
            day: planned(connection, postgres, found, between(found, day_start(day), day_start(next_day(day))))
            for day in days
        }
    return {day: Estimate(rows, rows * width) for day, (rows, width) in plans.items()}
