"""How ticks look at the stores: what passes by itself is skipped with its reason, all else fails the tick."""

import dagster as dg
import psycopg
import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.orchestration.ticks import looked


def test_looked__somebody_locks_the_relation__skips_and_names_postgres_without_its_statement() -> None:
    def look(_: Settings) -> str:
        raise psycopg.errors.LockNotAvailable('canceling statement due to lock timeout\nLINE 2: FROM "accounts"')

    found = looked(look, Settings)

    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == (
        "skipped: Postgres: canceling statement due to lock timeout. Somebody alters or locks what was to be read, and"
        " it was left to them. Run it again when they have ended"
    )


def test_looked__statement_takes_too_long__fails_the_tick() -> None:
    def look(_: Settings) -> str:
        raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")

    with pytest.raises(psycopg.errors.QueryCanceled):
        looked(look, Settings)
