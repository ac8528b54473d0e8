"""One question to the ledgers and one to ClickHouse, and one answer whatever is swapped or lost meanwhile."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Any

import pytest

from analytics_pipeline.flows.erasure.ledger import ErasureLedger
from analytics_pipeline.flows.erasure.subjects import numbered
from analytics_pipeline.flows.reporting.errors import AccountForgotten
from analytics_pipeline.flows.reporting.reads.reading import Answer
from analytics_pipeline.flows.reporting.reads.reports import Point, Reports
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.sessions import Session
from tests.flows.reporting.desk import add_account, add_event, ask, at, build, compute, copy, reports
from tests.product import Product

FIRST, LAST = date(2026, 2, 9), date(2026, 2, 12)


@dataclass(frozen=True)
class Beside(ClickHouse):
    """Something happens before a question reaches ClickHouse, and after the ledgers were asked."""

    happens: list[Callable[[], None]] = field(default_factory=list)

    def query(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        while self.happens:
            self.happens.pop()()
        return super().query(sql, **parameters)


def beside(desk: Reports, happens: Callable[[], None]) -> Reports:
    own = {one.name: getattr(desk.clickhouse, one.name) for one in fields(ClickHouse)}
    return replace(desk, clickhouse=Beside(**own, happens=[happens]))


def evenings(product: Product) -> None:
    """An event at 20:00 UTC on each of two days, which is the next day in India; rolled up in UTC."""
    add_account(product, 1, "Etc/UTC")
    for day in ("10", "11"):
        add_event(product, "conversation_resolved", at(f"2026-02-{day} 20:00"), conversation_id=1)
    build(product, FIRST, LAST)


def by_day(desk: Reports) -> Answer[list[Point]]:
    """Of four days of UTC; the zone is asked for, so that the answer is the same whatever the account's is."""
    query = ask("2026-02-09 00:00", "2026-02-13 00:00", timezone="Etc/UTC")
    return desk.timeseries(query, "resolutions_count")


def counts(answer: Answer[list[Point]]) -> list[int | float | None]:
    return [point.value for point in answer.value]


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is asked of Postgres meanwhile: the words `ledger` or `source` of each statement."""
    asked: list[str] = []
    execute = Session.execute

    def recorded(self: Session, query: Any, *args: Any, **options: Any) -> Any:
        text = query if isinstance(query, str) else query.as_string(self)
        if text and "set_config" not in text:
            asked.append("ledger" if "analytics_pipeline." in text else "source")
        return execute(self, query, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "execute", recorded)
        yield asked


@pytest.mark.parametrize("rollup", [True, False], ids=["rollup", "raw"])
def test_report__of_days_that_hold__asks_clickhouse_and_the_ledgers_once_each(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch, rollup: bool
) -> None:
    """Of the source it asks the account's zone. The flag is another statement, at most once a second."""
    evenings(empty_product)
    with empty_product.postgres.pooled() as kept:
        desk = replace(reports(empty_product, rollup=rollup), postgres=kept)
        assert counts(by_day(desk)) == [0, 1, 1, 0]
        before = desk.clickhouse.cost.statements
        with statements(monkeypatch) as asked:
            answer = desk.aggregate(ask("2026-02-09 00:00", "2026-02-12 12:00"), "resolutions_count")

    assert (answer.value, answer.source) == (2, "mixed" if rollup else "raw")
    assert desk.clickhouse.cost.statements - before == 1
    assert asked.count("ledger") == 1
    assert 1 <= asked.count("source") <= 2


@pytest.mark.parametrize("rollup", [True, False])
def test_report__of_an_account_that_was_forgotten__is_refused_and_not_zero(
    empty_product: Product, rollup: bool
) -> None:
    evenings(empty_product)
    desk = reports(empty_product, rollup=rollup)
    ErasureLedger.begin(empty_product.postgres, numbered("account", "11"))
    assert counts(by_day(desk)) == [0, 1, 1, 0]
    ErasureLedger.begin(empty_product.postgres, numbered("account", "1"))

    with pytest.raises(AccountForgotten, match="account 1 was forgotten"):
        by_day(desk)


@pytest.mark.slow
def test_report__another_zone_is_swapped_in_meanwhile__those_days_come_from_the_events(empty_product: Product) -> None:
    evenings(empty_product)

    def moves() -> None:
        add_account(empty_product, 1, "Asia/Kolkata")
        compute(empty_product, FIRST, LAST)

    answer = by_day(beside(reports(empty_product), moves))

    # The first day is empty in both zones.
    assert (counts(answer), answer.source) == ([0, 1, 1, 0], "mixed")


def test_report__one_day_is_swapped_meanwhile__the_others_come_from_the_rollups(empty_product: Product) -> None:
    evenings(empty_product)

    answer = by_day(
        beside(reports(empty_product), lambda: void(compute(empty_product, date(2026, 2, 10), date(2026, 2, 10))))
    )

    assert (counts(answer), answer.source) == ([0, 1, 1, 0], "mixed")


def test_report__rollups_are_lost_meanwhile__the_events_answer(empty_product: Product) -> None:
    evenings(empty_product)
    desk = reports(empty_product)

    answer = by_day(
        beside(desk, lambda: empty_product.clickhouse.execute("ALTER TABLE reporting_rollups DROP PARTITION 202602"))
    )

    assert (counts(answer), answer.source, answer.missing) == ([0, 1, 1, 0], "mixed", ())


def test_report__events_are_lost_meanwhile__those_days_are_missing(empty_product: Product) -> None:
    """Also where the rollups answer, which are right: nobody claims that nothing is missing."""
    evenings(empty_product)
    drop = "ALTER TABLE reporting_events DROP PARTITION ID '20260210'"
    rolled, raw = (
        by_day(beside(reports(empty_product, rollup=rollup), lambda: empty_product.clickhouse.execute(drop)))
        for rollup in (True, False)
    )
    day = date(2026, 2, 10)

    assert (counts(rolled), rolled.source, rolled.missing) == ([0, 1, 1, 0], "rollup", ((day, day),))
    assert (counts(raw), raw.source, raw.missing) == ([0, 0, 1, 0], "raw", ((day, day),))


def test_report__events_are_copied_anew_meanwhile__none_are_missing(empty_product: Product) -> None:
    evenings(empty_product)

    def late() -> None:
        add_event(empty_product, "conversation_resolved", at("2026-02-10 21:00"), conversation_id=2)
        copy(empty_product, FIRST, LAST)

    answer = by_day(beside(reports(empty_product, rollup=False), late))

    assert (counts(answer), answer.missing) == ([0, 2, 1, 0], ())


@pytest.mark.slow
def test_report__day_is_being_swapped__comes_from_the_events(empty_product: Product) -> None:
    """Also while its lease is held: what ClickHouse shows of it changes at any moment."""
    evenings(empty_product)
    desk = reports(empty_product)
    empty_product.execute(
        "UPDATE analytics_pipeline.held_days SET state = 'swapping'"
        " WHERE relation = 'reporting_rollups' AND day = '2026-02-10'"
    )

    with empty_product.postgres.lease("reporting_rollups"):
        answer = by_day(desk)

    assert (counts(answer), answer.source) == ([0, 1, 1, 0], "mixed")


@pytest.mark.slow
def test_report__versions_were_never_recorded__the_ledgers_are_asked_again(empty_product: Product) -> None:
    """As after a takeover of tables by day: there is nothing to compare with what ClickHouse shows."""
    evenings(empty_product)
    desk = reports(empty_product)
    forget = "UPDATE analytics_pipeline.held_days SET checksum = NULL WHERE relation = 'reporting_rollups'"

    def moves() -> None:
        add_account(empty_product, 1, "Asia/Kolkata")
        compute(empty_product, FIRST, LAST)

    empty_product.execute(forget)
    undisturbed = by_day(desk)
    empty_product.execute(forget)
    disturbed = by_day(beside(desk, moves))

    assert (counts(undisturbed), undisturbed.source) == ([0, 1, 1, 0], "rollup")
    assert (counts(disturbed), disturbed.source) == ([0, 1, 1, 0], "raw")


@pytest.mark.slow
def test_reports__swaps_beside_them__all_say_the_same(empty_product: Product) -> None:
    """The account moves between two zones, each time with all its days swapped, and reports never mix them."""
    evenings(empty_product)
    desk, done = reports(empty_product), threading.Event()

    def move() -> None:
        for zone in ("Asia/Kolkata", "Etc/UTC", "Asia/Kolkata", "Etc/UTC"):
            add_account(empty_product, 1, zone)
            compute(empty_product, FIRST, LAST)
        done.set()

    mover = threading.Thread(target=move)
    mover.start()
    answers: list[Answer[list[Point]]] = []
    while not done.is_set() and len(answers) < 2_000:
        answers.append(by_day(desk))
    mover.join(60)
    answers.append(by_day(desk))

    assert [counts(answer) for answer in answers] == [[0, 1, 1, 0]] * len(answers)
    assert (len(answers) > 5, answers[-1].source) == (True, "rollup")


def void(_: object) -> None:
    """For a callable that is asked for nothing."""
