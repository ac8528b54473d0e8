"""What the ledgers say in one statement is what the rules in Python say day by day."""

from datetime import date, timedelta

import pytest

from analytics_pipeline.flows.reporting.accounts import Account, account
from analytics_pipeline.flows.reporting.ledger import copies, coverage, stale
from analytics_pipeline.flows.reporting.reads.periods import whole
from analytics_pipeline.flows.reporting.reads.plan import whole_days
from analytics_pipeline.flows.reporting.reads.vouched import UNKNOWN, Ledgers
from analytics_pipeline.flows.reporting.registry import REGISTRY
from tests.flows.reporting.desk import add_account, add_event, ask, at, build
from tests.product import Product
from tests.thorough import rarely

# Each breaks one day, or two; the clocks of all these zones change in these weeks.
_CHANGES = (
    "UPDATE analytics_pipeline.reporting_coverage SET timezone = 'Europe/Rome' WHERE date = '2026-03-27'",
    "UPDATE analytics_pipeline.reporting_coverage SET registry_version = 'old' WHERE date = '2026-03-28'",
    "UPDATE analytics_pipeline.reporting_coverage SET starts_at = starts_at + interval '1 s' WHERE date = '2026-03-30'",
    "UPDATE analytics_pipeline.reporting_coverage SET ends_at = ends_at - interval '1 h' WHERE date = '2026-03-31'",
    "UPDATE analytics_pipeline.reporting_coverage SET source_swapped_at = NULL WHERE date = '2026-04-01'",
    "UPDATE analytics_pipeline.source_copies SET swapped_at = now() WHERE day = '2026-04-03'",
    "DELETE FROM analytics_pipeline.source_copies WHERE day = '2026-04-06'",
    "DELETE FROM analytics_pipeline.reporting_coverage WHERE date = '2026-04-08'",
    "UPDATE analytics_pipeline.held_days SET state = 'lost' WHERE day = '2026-04-10'",
    "UPDATE analytics_pipeline.held_days SET state = 'swapping' WHERE day = '2026-04-12'",
)
_FLUSH = "SELECT pg_stat_force_next_flush()"
_READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'reporting_coverage'"


@pytest.mark.parametrize("zone", ["America/New_York", *rarely("Europe/Kiev", "Australia/Lord_Howe", "Asia/Kathmandu")])
def test_vouched__days_that_lapsed_for_every_reason__are_those_that_the_rules_name(
    empty_product: Product, zone: str
) -> None:
    first, last = date(2026, 3, 25), date(2026, 4, 14)
    add_account(empty_product, 1, zone)
    add_event(empty_product, "reply_time", at("2026-03-29 12:00"), value=1)
    build(empty_product, first, last)
    for change in _CHANGES:
        empty_product.execute(change)
    postgres, span = empty_product.postgres, whole(ask("2026-03-25 00:00", "2026-04-14 00:00"))
    known = account(postgres, 1)
    assert isinstance(known, Account)
    days = whole_days(known, span)

    found = Ledgers(postgres, 1, REGISTRY, span, at("2026-04-15 00:00")).vouched(days)

    around = (first - timedelta(days=3), last + timedelta(days=3))
    lapsed = stale(days, coverage(postgres, *around), copies(postgres, *around), REGISTRY)
    held = {day.date for day in days} - {day.date for ones in lapsed.values() for day in ones}
    assert set(lapsed) == {"never", "timezone", "registry", "bounds", "source"}
    assert {*found.versions} == held - {date(2026, 4, 12)}
    assert UNKNOWN not in found.versions.values()
    assert found.lacking == (date(2026, 4, 6), date(2026, 4, 10), date(2026, 4, 12))


def test_vouched__plan_that_serves_any_account__reads_only_the_one(empty_product: Product) -> None:
    """A kept connection prepares the statement, and its plan is then made for whatever it is asked."""
    add_account(empty_product, 1, "Etc/UTC")
    span = whole(ask("2026-03-25 00:00", "2026-04-14 00:00"))
    known = account(empty_product.postgres, 1)
    assert isinstance(known, Account)
    empty_product.execute(
        "INSERT INTO analytics_pipeline.reporting_coverage SELECT account, date, 'Etc/UTC', date, date, 'v', true,"
        " now(), now(), 'r' FROM generate_series(1, 100) AS account,"
        " generate_series('2026-01-01'::date, '2026-06-01', '1 day') AS date"
    )
    empty_product.execute(
        "INSERT INTO analytics_pipeline.held_days (relation, day, rows, checksum, state, lease)"
        " SELECT 'reporting_rollups', day, 1, 1, 'held', 'l'"
        " FROM generate_series('2026-01-01'::date, '2026-06-01', '1 day') AS day"
    )
    empty_product.execute("ANALYZE analytics_pipeline.reporting_coverage, analytics_pipeline.held_days")
    with empty_product.postgres.pooled(connections=1) as kept:
        kept.query("SELECT set_config('plan_cache_mode', 'force_generic_plan', false)")
        ledgers = Ledgers(kept, 1, REGISTRY, span, at("2026-04-15 00:00"))
        for _ in range(8):
            ledgers.vouched(whole_days(known, span))
        ((generic,),) = kept.query("SELECT sum(generic_plans) FROM pg_prepared_statements WHERE statement ~ 'rolled'")
        kept.query(_FLUSH)
        before = kept.query(_READ)
        ledgers.vouched(whole_days(known, span))
        kept.query(_FLUSH)
        after = kept.query(_READ)

    assert generic > 0
    assert after[0][0] - before[0][0] in range(20, 24)
