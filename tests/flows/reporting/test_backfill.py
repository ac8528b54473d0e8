"""Backfills: exactly the closed days of a history, only what is missing, and correct after any interruption."""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.days import Days
from analytics_pipeline.flows.held_tables import MonthTable
from analytics_pipeline.flows.reporting import ledger as coverage_module
from analytics_pipeline.flows.reporting import rollups as rollups_module
from analytics_pipeline.flows.reporting.accounts import Account, accounts
from analytics_pipeline.flows.reporting.backfill import Backfill, Heard, Plan
from analytics_pipeline.flows.reporting.event_history import History, histories
from analytics_pipeline.flows.reporting.ledger import account_days, copies, coverage, stale
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.flows.reporting.rollups import Rollups
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from tests.flows.reporting.desk import add_account, add_event, at, build, covered, rollups
from tests.product import Product
from tests.thorough import rarely

NOW = at("2026-05-20 12:00")
FIRST, LAST = date(2026, 3, 2), date(2026, 3, 14)
PIECE = 5


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups_module, "DAYS_PER_PASS", PIECE)


def a_history(product: Product, account: int = 1, zone: str = "America/New_York") -> None:
    """An event every eleven hours from FIRST to LAST (UTC)."""
    add_account(product, account, zone)
    product.execute(
        "INSERT INTO reporting_events (name, created_at, value, account_id, user_id)"
        " SELECT 'reply_time', moment, extract(epoch FROM moment)::bigint %% 1009, %s, 3"
        " FROM generate_series(%s, %s, interval '11 hours') AS moment",
        account,
        at(f"{FIRST} 02:00"),
        at(f"{LAST} 17:00"),
    )


def a_backfill(product: Product, *ids: int, now: datetime = NOW, recopy: bool = False) -> Backfill:
    zoned = accounts(product.postgres, ids or None).zoned
    found = histories(product.postgres, zoned)
    wanted = {history.account: days for history in found if (days := history.closed(now))}
    return Backfill(product.postgres, product.clickhouse, "run", wanted, now, recopy=recopy)


def run(product: Product, *ids: int, now: datetime = NOW, recopy: bool = False) -> Plan:
    work = a_backfill(product, *ids, now=now, recopy=recopy)
    plan = work.plan()
    assert work.run(plan) == len(plan.dates)
    return plan


def fresh(product: Product) -> dict[Any, Any]:
    """What the rollups are when everything is copied and computed from scratch."""
    product.execute("TRUNCATE analytics_pipeline.source_copies, analytics_pipeline.reporting_coverage")
    for table in ("reporting_events", "reporting_rollups", "reporting_day_bounds"):
        product.clickhouse.execute(f"TRUNCATE TABLE {table}")
    return build(product, FIRST - timedelta(days=2), LAST + timedelta(days=2))


def dates(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def test_histories__of_accounts__span_their_real_events(empty_product: Product) -> None:
    for number in (1, 2, 3):
        add_account(empty_product, number, "Asia/Kolkata")
    add_event(empty_product, "anything", at("2026-01-01 19:00"), account_id=1)
    add_event(empty_product, "anything", at("2026-01-03 18:29"), account_id=1)
    add_event(empty_product, "anything", at("2026-01-02 00:00"), account_id=3)
    for moment in ("infinity", "-infinity"):
        empty_product.execute(
            "INSERT INTO reporting_events (name, account_id, created_at) VALUES ('anything', 1, %s::timestamptz)",
            moment,
        )
    empty_product.execute("INSERT INTO reporting_events (account_id, created_at) VALUES (1, '2020-01-01')")

    found = histories(empty_product.postgres, accounts(empty_product.postgres).zoned)

    account = Account(1, "Account 1", "Asia/Kolkata")
    assert found[0] == History(account, at("2026-01-01 19:00"), at("2026-01-03 18:29"))
    assert [history.account.id for history in found] == [1, 3]
    assert found[0].days == Days(date(2026, 1, 2), date(2026, 1, 3))


def test_histories__timestamps_without_zone__are_utc(empty_product: Product) -> None:
    add_account(empty_product)
    empty_product.execute(
        "ALTER TABLE reporting_events ALTER created_at TYPE timestamp USING created_at AT TIME ZONE 'UTC'"
    )
    empty_product.execute(
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %%I SET timezone = %%L', current_database(), 'Asia/Tokyo'); END$$"
    )
    add_event(empty_product, "anything", at("2026-01-01 19:00").replace(tzinfo=None))

    (found,) = histories(empty_product.postgres, accounts(empty_product.postgres).zoned)

    assert found.first_event == at("2026-01-01 19:00")


@pytest.mark.parametrize(
    ("now", "closed"),
    [
        ("2026-01-05 04:59", Days(date(2026, 1, 1), date(2026, 1, 3))),  # still the 4th in New York
        ("2026-01-05 05:00", Days(date(2026, 1, 1), date(2026, 1, 4))),
        ("2026-02-01 00:00", Days(date(2026, 1, 1), date(2026, 1, 5))),
        ("2026-01-01 12:00", None),
    ],
)
def test_closed__of_a_history__leaves_the_accounts_own_today_out(now: str, closed: Days | None) -> None:
    account = Account(1, "", "America/New_York")
    history = History(account, at("2026-01-01 06:00"), at("2026-01-05 07:00"))

    assert history.closed(at(now)) == closed


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [(None, None, (1, 9)), (3, None, (3, 9)), (None, 4, (1, 4)), (0, 12, (1, 9)), (10, None, None), (5, 4, None)],
)
def test_within__bounds__clip_the_days(first: int | None, last: int | None, found: tuple[int, int] | None) -> None:
    def day(number: int | None) -> date | None:
        return None if number is None else date(2026, 1, 10) + timedelta(days=number)

    start, end = day(1), day(9)
    assert start
    assert end
    assert Days(start, end).within(day(first), day(last)) == (Days(*map(day, found)) if found else None)  # type: ignore[arg-type]


def test_backfill__of_a_history__equals_a_fresh_build_and_is_complete(empty_product: Product) -> None:
    a_history(empty_product)
    a_history(empty_product, 2, "Pacific/Kiritimati")

    plan = run(empty_product, 1)

    local_first = FIRST - timedelta(days=1)
    assert plan == Plan(
        Days(local_first, LAST),
        len(dates(local_first, LAST)),
        tuple(dates(local_first, LAST)),
        tuple(dates(local_first - timedelta(days=1), LAST + timedelta(days=1))),
    )
    own = {row[1:] for row in covered(empty_product) if row[0] == 1}
    assert own == {(str(day), "America/New_York", True) for day in dates(local_first, LAST)}
    stored = rollups(empty_product)
    # The other account's days were rolled up as well, because a date is replaced as a whole.
    expected = {key: row for key, row in fresh(empty_product).items() if str(local_first) <= key[1] <= str(LAST)}
    assert stored == expected
    assert {key[0] for key in stored} == {1, 2}


def test_backfill__again__has_nothing_to_do(empty_product: Product) -> None:
    computed_at = "SELECT computed_at FROM analytics_pipeline.reporting_coverage ORDER BY date"
    a_history(empty_product)
    run(empty_product)
    before = (rollups(empty_product), empty_product.execute(computed_at))

    plan = run(empty_product)

    assert (plan.dates, plan.copies) == ((), ())
    assert (rollups(empty_product), empty_product.execute(computed_at)) == before


@pytest.mark.slow
def test_backfill__some_days_went_stale__does_only_those(empty_product: Product) -> None:
    a_history(empty_product)
    run(empty_product)
    day = date(2026, 3, 8)
    empty_product.execute("DELETE FROM reporting_events WHERE created_at::date = %s", day)
    DayCopy(REPORTING_EVENTS, empty_product.postgres, empty_product.clickhouse, "late").copy(day, day)

    plan = run(empty_product)

    # The local days that the UTC day overlaps.
    assert (plan.dates, plan.copies) == ((date(2026, 3, 7), day), ())
    assert rollups(empty_product) == {k: v for k, v in fresh(empty_product).items() if k[1] <= str(LAST)}


def test_backfill__zone_changed__does_the_whole_history_without_copying(empty_product: Product) -> None:
    a_history(empty_product)
    run(empty_product)
    add_account(empty_product, 1, "Asia/Kathmandu")

    plan = run(empty_product)

    assert plan.days == Days(FIRST, LAST)
    assert (plan.dates, plan.copies) == (tuple(dates(FIRST, LAST)), ())
    assert {row[2:] for row in covered(empty_product) if row[1] >= str(FIRST)} == {("Asia/Kathmandu", True)}


@pytest.mark.slow
def test_backfill__copy_was_read_before_the_day_was_over__is_read_again(empty_product: Product) -> None:
    add_account(empty_product)
    early, noon = at("2026-03-10 06:00"), at("2026-03-10 15:00")
    add_event(empty_product, "reply_time", early, value=1)
    build(empty_product, date(2026, 3, 9), date(2026, 3, 10))
    empty_product.execute("UPDATE analytics_pipeline.source_copies SET copied_at = '2026-03-10 12:00Z'")
    empty_product.execute(
        "UPDATE analytics_pipeline.reporting_coverage SET complete = false, source_swapped_at = '2026-03-10 12:00Z'"
    )
    add_event(empty_product, "reply_time", noon, value=5)

    plan = run(empty_product)

    assert (plan.dates, plan.copies) == ((date(2026, 3, 10),), (date(2026, 3, 10), date(2026, 3, 11)))
    assert rollups(empty_product)[1, "2026-03-10", "account", 1, "reply_time"] == (2, 6, 0)


@pytest.mark.slow
def test_backfill__copies_again__leaves_no_day_stale_that_held(empty_product: Product) -> None:
    """A source day that is read again belongs to its neighbours' local days too, of every account."""
    a_history(empty_product, 1, "America/New_York")
    a_history(empty_product, 2, "Pacific/Kiritimati")
    run(empty_product, 1)
    run(empty_product, 2)
    day = date(2026, 3, 8)
    zoned = accounts(empty_product.postgres).zoned
    work = a_backfill(empty_product, recopy=True)
    narrow = Backfill(work.postgres, work.clickhouse, "run", {zoned[0]: Days(day, day)}, NOW, recopy=True)

    plan = narrow.plan()
    assert (plan.dates, len(plan.copies)) == ((day,), 3)
    assert narrow.run(plan) == 1

    first, last = FIRST - timedelta(days=3), LAST + timedelta(days=3)
    ones = account_days(zoned, first, last)
    sources = copies(empty_product.postgres, first, last)
    assert set(stale(ones, coverage(empty_product.postgres, first, last), sources, REGISTRY)) <= {"never"}


@pytest.mark.slow
def test_backfill__everything_again__reads_what_changed_unseen(empty_product: Product) -> None:
    a_history(empty_product)
    run(empty_product)
    empty_product.execute("UPDATE reporting_events SET value = 7")

    assert run(empty_product).dates == ()
    plan = run(empty_product, recopy=True)

    assert len(plan.dates) == len(dates(FIRST - timedelta(days=1), LAST))
    assert {row[1] / row[0] for row in rollups(empty_product).values()} == {7}


@pytest.mark.slow
def test_missing__of_some_accounts__reads_what_the_ledger_says_of_those_alone(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in (1, 2, 3):
        a_history(empty_product, account)
    run(empty_product)
    read: list[set[int]] = []

    def spying(*args: Any) -> Any:
        found = coverage(*args)
        read.append({account for account, _ in found})
        return found

    monkeypatch.setattr(coverage_module, "coverage", spying)

    assert a_backfill(empty_product, 1, 3).missing(Days(FIRST, LAST)) == []
    assert read == [{1, 3}]


@pytest.mark.slow
def test_backfill__accounts_with_histories_of_their_own__does_each_ones_days(empty_product: Product) -> None:
    for account, day in ((1, "2026-01-03"), (2, "2026-01-20")):
        add_account(empty_product, account, "UTC")
        for number in range(3):
            add_event(empty_product, "reply_time", at(day) + timedelta(days=number), value=1, account_id=account)

    plan = run(empty_product)

    wanted = (*dates(date(2026, 1, 3), date(2026, 1, 5)), *dates(date(2026, 1, 20), date(2026, 1, 22)))
    assert plan == Plan(Days(date(2026, 1, 3), date(2026, 1, 22)), 6, wanted, wanted)
    assert {row[1] for row in covered(empty_product)} == set(map(str, wanted))


class _Killed(BaseException):
    """What no handler of ours may catch."""


def _dies(after: int, of: Callable[..., Any]) -> Callable[..., Any]:
    calls = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise _Killed
        return of(*args, **kwargs)

    return dying


@pytest.mark.parametrize(
    "owner_and_method", [(MonthTable, "show"), *rarely(((DayCopy, "copy"),), ((Rollups, "compute"),))], ids=str
)
def test_backfill__killed_half_way__does_the_rest_and_no_more(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch, owner_and_method: tuple[type, str]
) -> None:
    a_history(empty_product)
    owner, method = owner_and_method
    work = a_backfill(empty_product)
    whole = work.plan()
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, _dies(3 if method == "show" else 1, getattr(owner, method)))
        with pytest.raises(_Killed):
            work.run(whole)

    rest = run(empty_product)

    # One piece was complete; of the second at most its computing is missing.
    assert rest.dates == whole.dates[PIECE:]
    assert rest.copies == whole.copies[PIECE + 1 if method == "copy" else 2 * PIECE + 1 :]
    assert rollups(empty_product) == {k: v for k, v in fresh(empty_product).items() if k[1] <= str(LAST)}
    assert not [table for table in empty_product.tables() if table.startswith("staging")]


@pytest.mark.slow
def test_backfill__its_progress__rises_to_all_days(empty_product: Product) -> None:
    a_history(empty_product)
    work = a_backfill(empty_product)
    plan = work.plan()
    heard: list[Heard] = []

    work.run(plan, heard.append)

    done = [news.done for news in heard]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, len(plan.dates))
    assert {word for news in heard for word in _first_words([news.doing])} == {"copying", "computing", "computed"}


def _first_words(texts: Iterable[str]) -> list[str]:
    return [text.split()[0] for text in texts]
