"""How fresh each flow is, by its ledgers: what is there, what is not, what was there."""

from datetime import date, datetime, timedelta, timezone

from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES
from analytics_pipeline.flows.reads import Freshness, failing, freshness
from tests.flows.product_events.events import at, event, store
from tests.flows.usage_export.event_log import add_event, allow, begin
from tests.product import Product, today

YESTERDAY = timedelta(days=1)


def found(product: Product, relation: str) -> Freshness:
    (one,) = [one for one in freshness(product.postgres) if one.relation == relation]
    return one


def days(one: Freshness) -> tuple[date | None, date | None, int, int, int]:
    return one.first_day, one.last_day, one.held_days, one.missing_days, one.lost_days


def test_freshness__of_product_events__is_that_of_every_aggregate(empty_product: Product) -> None:
    moments = [at(0, 0.1), at(2)]
    store(empty_product.clickhouse, [event(n, moment, organisation_id=1) for n, moment in enumerate(moments)])
    table = "analytics_daily_active_users"
    assert empty_product.materialise(*(one.name for one in AGGREGATES), day=today() - timedelta(days=2)).success
    assert empty_product.materialise(table).success
    empty_product.execute("UPDATE analytics_pipeline.held_days SET state = 'lost' WHERE day = %s", today())

    shown = {one.relation: one for one in freshness(empty_product.postgres)}
    told = [one for one in failing(empty_product.postgres) if one.unit == table]

    assert {*shown} == {one.name for one in AGGREGATES}
    # Between them lies a day without an event, which needs no figures.
    assert days(shown[table]) == (today() - timedelta(days=2),) * 2 + (1, 1, 1)
    assert [(one.flow, one.what) for one in told] == [("product_events", "1 days lost")]


def test_freshness__of_a_sink__is_how_far_it_has_every_event(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    begin(empty_product, "warehouse")
    began = today() - timedelta(days=5)
    change = "UPDATE analytics_pipeline.event_logs_scrape_state SET"
    empty_product.execute(f"{change} created_at = %s, exported = 7", began)

    idle = found(empty_product, "warehouse")
    waiting = add_event(empty_product)
    empty_product.execute(
        f"{change} oldest_pending_at = now() - interval '2 days', queue_size = 1, measured_at = now()"
    )
    behind = found(empty_product, "warehouse")
    empty_product.execute(f"{change} oldest_pending_at = now() - interval '9 days'")
    nothing = found(empty_product, "warehouse")
    empty_product.execute(f"{change} bookmark_id = %s", waiting)
    done = found(empty_product, "warehouse")

    assert days(idle) == days(done) == (began, today(), 6, 0, 0)
    assert days(behind) == (began, today() - timedelta(days=3), 3, 3, 0)
    assert days(nothing) == (None, None, 0, 6, 0)
    assert (done.flow, done.rows, behind.updated_at) == ("usage_export", 7, None)
    assert done.updated_at is not None
    assert datetime.now(timezone.utc) - done.updated_at < timedelta(minutes=1)


def test_freshness__of_a_sink_whose_source_is_away__is_as_of_the_last_measure(empty_product: Product) -> None:
    begin(empty_product, "warehouse")
    empty_product.execute(
        "UPDATE analytics_pipeline.event_logs_scrape_state SET created_at = now() - interval '3 days', queue_size = 0,"
        " measured_at = now() - interval '1 day'"
    )
    empty_product.execute("DROP TABLE event_logs CASCADE")

    one = found(empty_product, "warehouse")

    assert days(one) == (today() - timedelta(days=3), today() - YESTERDAY, 3, 1, 0)
    assert one.updated_at is not None
    assert one.updated_at.date() == today() - YESTERDAY
