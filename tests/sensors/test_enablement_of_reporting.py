"""Histories of reporting: an account gets a zone, loses it, or gets another."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.ledger import account_days, copies, coverage, stale
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.flows.reporting.rollups import Rollups
from analytics_pipeline.flows.reporting.zones import canonical
from tests.product import Product, failure_text, today
from tests.sensors.enablement import FIRST, add_account, at, days, launch, newest, settle, tick
from tests.thorough import rarely


@pytest.fixture
def product(ai_product: Product) -> Product:
    return ai_product


@pytest.mark.slow
def test_reset__of_a_reporting_history__computes_all_of_it_again(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    add_account(empty_product, 7, "Asia/Kolkata")
    first = settle(instance)
    ledger = EnablementLedger(empty_product.postgres)

    assert ledger.reset("reporting", "account:7") is not None

    assert settle(instance) == [("reporting:account:7:2:1", first[0][1])]
    assert newest(empty_product, "account:7", "reporting").state == "completed"


def covered(product: Product, account: int) -> set[tuple[date, str]]:
    rows = product.execute(
        "SELECT date, timezone FROM analytics_pipeline.reporting_coverage WHERE account_id = %s AND complete", account
    )
    return set(rows)


def _closed_events(zone: str) -> int:
    """How many of the events of `add_account` are of days that are over in the zone."""
    moments = [at(FIRST + timedelta(days=number)) for number in range(4)]
    local = ZoneInfo(zone)
    return sum(moment.astimezone(local).date() < datetime.now(local).date() for moment in moments)


def test_reporting__zone_set__brings_in_the_accounts_closed_days(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    zones = {7: "Asia/Kolkata", 8: "America/New_York"}
    for account, zone in zones.items():
        add_account(empty_product, account, zone)

    # One run rolls up both: the second account's history is complete when the first one's is.
    asked_for = settle(instance)

    assert len(asked_for) == 1
    assert {newest(empty_product, f"account:{n}", "reporting").state for n in (7, 8)} == {"completed"}
    # Four events each, of which today's is not part of the history: Kolkata's day ends before that of UTC does.
    rows = {account: newest(empty_product, f"account:{account}", "reporting").rows for account in zones}
    assert rows == {account: _closed_events(zone) for account, zone in zones.items()}
    closed = {FIRST + timedelta(days=number) for number in range(2)}
    assert {(day, "Asia/Kolkata") for day in closed} <= covered(empty_product, 7)
    assert {(day, "America/New_York") for day in closed} <= covered(empty_product, 8)
    assert settle(instance) == []


def test_reporting__zone_changed__brings_in_the_whole_history_again(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    add_account(empty_product, 7, "Asia/Kolkata")
    settle(instance)
    empty_product.execute('UPDATE accounts SET settings = \'{"reporting_timezone": "Europe/Paris"}\'')

    ((key, (first, _)),) = settle(instance)

    assert (key, first) == ("reporting:account:7:2:1", (FIRST - timedelta(days=1)).isoformat())
    assert {zone for _, zone in covered(empty_product, 7)} == {"Europe/Paris"}


@pytest.mark.slow
def test_reporting__zone_off_while_an_old_date_is_computed_again_and_on__that_date_is_brought_in(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    """A date is computed for the accounts that have a zone then: who gets it back later lacks that date."""
    add_account(empty_product, 7, "Asia/Kolkata")
    add_account(empty_product, 8, "Asia/Kolkata")
    settle(instance)
    before = covered(empty_product, 7)
    empty_product.execute("UPDATE accounts SET settings = '{}' WHERE id = 7")
    assert settle(instance) == []
    Rollups(empty_product.clickhouse, empty_product.postgres, "late row").compute(FIRST, FIRST)
    assert before - covered(empty_product, 7) == {(FIRST, "Asia/Kolkata")}
    empty_product.execute('UPDATE accounts SET settings = \'{"reporting_timezone": "Asia/Kolkata"}\' WHERE id = 7')

    around = days(FIRST - timedelta(days=1), FIRST + timedelta(days=1))
    assert settle(instance) == [("reporting:account:7:2:1", around)]
    assert covered(empty_product, 7) == before
    assert newest(empty_product, "account:7", "reporting").state == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Europe/Amsterdam", *rarely("Europe/Kiev", "Europe/Stockholm")])
def test_reporting__zone_has_become_a_link_since__asks_for_nothing_and_keeps_what_holds(
    empty_product: Product, instance: dg.DagsterInstance, name: str
) -> None:
    """An earlier time zone database called a zone what is a link to another one today."""
    add_account(empty_product, 7, name)
    settle(instance)
    for table, column in (("reporting_coverage", "timezone"), ("enablements", "setting")):
        empty_product.execute(f"UPDATE analytics_pipeline.{table} SET {column} = %s", name)
    assert canonical(name) != name

    asked_for = settle(instance)

    zoned, days_ = accounts(empty_product.postgres).zoned, covered(empty_product, 7)
    first, last = min(day for day, _ in days_), max(day for day, _ in days_)
    sources = copies(empty_product.postgres, first - timedelta(days=2), last + timedelta(days=2))
    found = coverage(empty_product.postgres, first, last)
    assert asked_for == []
    assert {zone for _, zone in days_} == {name}
    assert stale(account_days(zoned, first, last), found, sources, REGISTRY) == {}
    assert [(epoch.epoch, epoch.state) for epoch in [newest(empty_product, "account:7", "reporting")]] == [
        (1, "completed")
    ]


@pytest.mark.slow
def test_reporting__zone_has_become_a_link_during_its_history__completes_it(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    add_account(empty_product, 7, "Europe/Kiev")
    settle(instance)
    empty_product.execute("UPDATE analytics_pipeline.reporting_coverage SET timezone = 'Europe/Kiev'")
    empty_product.execute("UPDATE analytics_pipeline.enablements SET state = 'requested', completed_at = NULL")

    assert settle(instance) == []
    assert newest(empty_product, "account:7", "reporting").state == "completed"


def test_reporting__another_accounts_history_is_there__copies_only_what_is_not_and_lets_today_go_first(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    """The source days are those of all accounts: copying them again would make the rollups of all of them stale."""
    add_account(empty_product, 7, "Asia/Kolkata")
    settle(instance)
    swapped = "SELECT day, swapped_at FROM analytics_pipeline.source_copies"
    before = dict(empty_product.execute(swapped))
    changed, lost, yesterday = (FIRST + timedelta(days=number) for number in range(3))
    empty_product.execute(
        "INSERT INTO reporting_events (name, account_id, created_at) VALUES ('x', 8, %s)", at(changed)
    )
    empty_product.clickhouse.execute("ALTER TABLE reporting_events DROP PARTITION ID {id:String}", id=f"{lost:%Y%m%d}")
    empty_product.execute(
        "INSERT INTO accounts (id, name, settings) VALUES (8, 'B', '{\"reporting_timezone\": \"Asia/Kolkata\"}')"
    )

    (request,) = tick(instance)
    result = launch(instance, request)

    assert result.success, failure_text(result)
    assert request.tags["dagster/priority"] == "-1"
    shown = {
        one.partition: "already_there" in one.metadata
        for one in result.asset_materializations_for_node("reporting_events")
    }
    assert shown == {
        str(FIRST - timedelta(days=1)): True,
        str(changed): False,
        str(lost): False,
        str(yesterday): True,
        str(today()): False,
    }
    after = dict(empty_product.execute(swapped))
    assert {str(day) for day in after if after[day] == before[day]} == {day for day, kept in shown.items() if kept}
    assert empty_product.clickhouse.scalar("SELECT count() FROM reporting_events") == 5
    assert tick(instance) == []
    assert newest(empty_product, "account:8", "reporting").state == "completed"


def test_reporting__zone_is_none__asks_for_nothing(empty_product: Product, instance: dg.DagsterInstance) -> None:
    add_account(empty_product, 7, "Mars/Olympus")

    assert settle(instance) == []
