"""The first steps of every tick: read the settings, look at the stores, or skip the tick and say why."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import dagster as dg
import psycopg
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.failures import passes, reason_of
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import glance
from analytics_pipeline.resources.clickhouse.errors import MISSING_IN_SCHEMA, error_code
from analytics_pipeline.resources.kept_sessions import kept_sessions
from analytics_pipeline.resources.postgres import Postgres, postgres

T = TypeVar("T")
# Older gaps are an operator's decision: their snapshots may be about to expire.
LOOK_BACK = timedelta(days=7)


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
    """Return what `look` finds in both stores, or why the tick is skipped.

    It is skipped as well when ClickHouse does not answer at once.
    """

    def in_stores(settings: Settings) -> T:
        with glance(settings, flow) as clickhouse:
            return look(settings, postgres(settings), clickhouse)

    try:
        return looked(in_stores)
    except (ClickHouseError, ConnectionError) as error:
        return dg.SkipReason(f"skipped: {reason_of(error)}")


def looked(
    look: Callable[[Settings], T], settings: Callable[[], Settings] = settings_with_clickhouse
) -> T | dg.SkipReason:
    """The answer of `look`, or a skip that says why: a store is not configured, not migrated yet, or locked for now.

    Every sensor and schedule looks this way, so that none fails for what an operator still has to do.
    """
    try:
        with kept_sessions():
            return look(settings())
    except NotConfigured as error:
        return dg.SkipReason(f"skipped: {error.reason}")
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        return dg.SkipReason(f"skipped: {reason_of(error)}")
    except psycopg.OperationalError as error:
        if not passes(error):
            raise
        return dg.SkipReason(f"skipped: {reason_of(error)}")
    except ClickHouseError as error:
        if error_code(error) not in MISSING_IN_SCHEMA:
            raise
        return dg.SkipReason(f"skipped: {reason_of(error)}")
