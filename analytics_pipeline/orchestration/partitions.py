"""Days are the only partition dimension. The ledgers and the metadata tell what happened to each tenant."""

from datetime import date

import dagster as dg


class EmptyRange(Exception):
    """The run asks for no day at all: its range is reversed."""


def daily(start: date) -> dg.DailyPartitionsDefinition:
    """UTC days from `start`; today is among them, as an open day."""
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), timezone="UTC", end_offset=1)


def local_dates(start: date) -> dg.DailyPartitionsDefinition:
    """Dates of any zone from `start`: seen from UTC, half of the earth may be in tomorrow.

    Assets with different partitions cannot share a run, so the events that the dates are made of have these partitions
    too. Their tomorrow is a day of UTC that is still empty.
    """
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), timezone="UTC", end_offset=2)


def range_tags(first: date, last: date) -> dict[str, str]:
    """The tags of a run that covers the days from `first` to `last`, both inclusive."""
    return {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }


def days_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> list[date]:
    """The days that the run covers, in order.

    Raises:
        EmptyRange: there is none. Without this error the run would succeed and do nothing.
    """
    days = [date.fromisoformat(key) for key in context.partition_keys]
    if not days:
        raise EmptyRange("the run covers no day: the range's end lies before its start")
    return days
