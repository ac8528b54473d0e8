"""What a tick of a sensor or a schedule does first: read the settings, look, and say why it could not."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import dagster as dg
import psycopg
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.resources.clickhouse.client import ClickHouse, Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import Postgres, postgres

T = TypeVar("T")
# Older gaps are an operator's decision: their snapshots may be about to expire.
LOOK_BACK = timedelta(days=7)
# What a tick asks ClickHouse takes milliseconds; a sensor must not wait for a store that is in trouble.
TICK_SECONDS = 20


def settings_with_clickhouse() -> Settings:
    """The settings, for what needs at least ClickHouse.

    Raises:
        NotConfigured: it has no address.
    """
    settings = Settings.load()
    if settings.clickhouse_url is None:
        raise NotConfigured("clickhouse", "CLICKHOUSE_URL")
    return settings


def looked_at_stores(flow: str, look: Callable[[Settings, Postgres, ClickHouse], T]) -> T | dg.SkipReason:
    """What `look` finds in both stores, or why the tick is skipped; also when ClickHouse does not answer at once."""

    def in_stores(settings: Settings) -> T:
        with connect(settings, Tag(flow, "tick"), attempts=1, timeout_seconds=TICK_SECONDS) as clickhouse:
            return look(settings, postgres(settings), clickhouse)

    try:
        return looked(in_stores)
    except (ClickHouseError, ConnectionError) as error:
        return dg.SkipReason(f"skipped: {reason_of(error)}")


def looked(look: Callable[[Settings], T]) -> T | dg.SkipReason:
    """What `look` finds, or why the tick is skipped: a store is not configured, or not migrated yet."""
    try:
        return look(settings_with_clickhouse())
    except NotConfigured as error:
        return dg.SkipReason(f"skipped: {error.reason}")
    except psycopg.errors.UndefinedTable as error:
        return dg.SkipReason(f"skipped: {reason_of(error)}")
