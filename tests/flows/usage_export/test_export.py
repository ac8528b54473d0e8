"""What a run sends, what it leaves, and where the bookmark is afterwards."""

import json

import pytest
from psycopg import OperationalError

from analytics_pipeline.flows.usage_export.allow_list import remove
from analytics_pipeline.flows.usage_export.bookmark import pause_after
from analytics_pipeline.flows.usage_export.ledger import pause, resume
from analytics_pipeline.flows.usage_export.records import EventReader, Read
from analytics_pipeline.resources.sinks.base import Batch, SinkUnavailable
from tests.flows.usage_export.event_log import add_event, add_events, allow, begin, bookmark, due_again, run
from tests.flows.usage_export.receivers import Receiver
from tests.product import Product


def test_export__empty_table__bookmark_is_made_and_nothing_is_sent(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    receiver = Receiver()

    (served,) = run(empty_product, receiver)

    assert (served.status, served.records, receiver.batches) == ("served", 0, [])
    assert bookmark(empty_product) == 0


def test_export__no_bookmark__history_stays_and_what_follows_leaves(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    add_event(empty_product)
    receiver = Receiver()

    run(empty_product, receiver)
    assert receiver.batches == []
    second = add_event(empty_product)
    run(empty_product, receiver)

    assert receiver.ids == [second]


def test_export__batches_of_one__each_event_once_and_then_nothing(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 2)
    begin(empty_product, "receiver")
    receiver = Receiver()

    run(empty_product, receiver, batch=1)
    run(empty_product, receiver, batch=1)

    assert receiver.keys == ["1-1", "2-2"]
    assert bookmark(empty_product) == 2


def test_export__allow_list__only_these_names_leave_and_the_bookmark_passes_the_rest(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    for name in ("ViewSearch", "Secret", "ViewSearch", "Secret"):
        add_event(empty_product, name)
    begin(empty_product, "receiver")
    receiver = Receiver()

    run(empty_product, receiver)

    assert receiver.ids == [1, 3]
    assert bookmark(empty_product) == 4


def test_export__record__has_exactly_these_fields(empty_product: Product) -> None:
    allow(empty_product, ViewSearch=["kind", "size", "deep"])
    add_event(
        empty_product,
        user_id=9,
        anonymous_user_id="someone",
        url="https://secret.example.com",
        argument={"password": "SECRET"},
        public_argument={"kind": "regexp", "size": 3, "deep": {"x": "SECRET"}, "other": "SECRET"},
        feature_flags={"kind": True, "other-flag": False},
        timestamp="2026-11-27 12:00:00.25+00",
        cohort_id="2026-11-23",
        device_id="device",
        insert_id="insert",
    )
    begin(empty_product, "receiver")
    receiver = Receiver()

    run(empty_product, receiver)

    (record,) = receiver.records
    assert {**record, "public_argument": json.loads(record["public_argument"])} == {
        "record_id": record["record_id"],
        "event_log_id": 1,
        "site_id": "site-1",
        "deploy_type": "kubernetes",
        "name": "ViewSearch",
        "url": "",
        "anonymous_user_id": "someone",
        "first_source_url": "",
        "last_source_url": "",
        "user_id": 9,
        "source": "WEB",
        "timestamp": "2026-11-27T12:00:00.25+00:00",
        "version": "5.1.0",
        "feature_flags": '{"kind": true}',
        "cohort_id": "2026-11-23",
        "referrer": "",
        "public_argument": {
            "kind": "regexp",
            "size": 3,
            "deep": "not exported: neither text nor number nor boolean",
        },
        "device_id": "device",
        "insert_id": "insert",
    }


def test_export__sink_fails__bookmark_stays_and_the_same_batch_is_sent_again(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 3)
    begin(empty_product, "receiver")

    def timeout(_: Batch) -> None:
        raise SinkUnavailable("no answer")

    receiver = Receiver(afterwards=timeout)
    (failed,) = run(empty_product, receiver, batch=2)
    assert (failed.status, failed.error, bookmark(empty_product)) == ("failed", "no answer", 0)
    (waits,) = run(empty_product, receiver, batch=2)
    assert waits.status == "skipped: waiting_after_failure"
    due_again(empty_product)
    receiver.afterwards = lambda _: None
    run(empty_product, receiver, batch=3)

    assert receiver.keys == ["1-2", "1-2", "3-3"]
    assert bookmark(empty_product) == 3


def test_export__next_batch_cannot_be_read__what_was_acknowledged_is_recorded(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 3)
    begin(empty_product, "receiver")
    receiver, read = Receiver(), EventReader.read

    def breaks(self: EventReader, ids: str) -> Read:
        if ids != "{[1,3)}":
            raise OperationalError("the server went away")
        return read(self, ids)

    with monkeypatch.context() as patched:
        patched.setattr(EventReader, "read", breaks)
        with pytest.raises(OperationalError):
            run(empty_product, receiver, batch=2)
    assert (receiver.keys, bookmark(empty_product)) == (["1-2"], 2)
    run(empty_product, receiver, batch=2)

    assert (receiver.keys, bookmark(empty_product)) == (["1-2", "3-3"], 3)


def test_export__refused_records__become_dead_letters_and_the_rest_goes_on(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 2)
    add_event(empty_product, timestamp="infinity")
    begin(empty_product, "receiver")

    (served,) = run(empty_product, Receiver(refused={2}))

    assert (served.records, served.failed, bookmark(empty_product)) == (1, 2, 3)
    assert empty_product.execute(
        "SELECT unit, record_key, reason, payload FROM analytics_pipeline.dead_letters ORDER BY record_key"
    ) == [
        ("receiver", "2", "no such form", ""),
        ("receiver", "3", "its timestamp is not in the years 1900 to 2299", ""),
    ]


def test_export__one_sink_is_dead__the_others_get_everything(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 2)
    begin(empty_product, "dead", "alive")

    def dead(_: Batch) -> None:
        raise RuntimeError("a defect with SECRET")

    alive = Receiver("alive")
    statuses = {one.sink: one.status for one in run(empty_product, Receiver("dead", trouble=dead), alive)}

    assert statuses == {"dead": "failed", "alive": "served"}
    assert (alive.ids, bookmark(empty_product, "dead"), bookmark(empty_product, "alive")) == ([1, 2], 0, 2)


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_export__lower_id_commits_later__is_sent_then_and_nothing_twice(empty_product: Product, ending: str) -> None:
    allow(empty_product, "ViewSearch")
    begin(empty_product, "receiver")
    receiver = Receiver()
    with empty_product.postgres.connect() as late:
        late.execute("INSERT INTO event_logs (name, user_id, source, version) VALUES ('ViewSearch', 1, 'WEB', '1')")
        add_events(empty_product, 2)
        run(empty_product, receiver)
        assert receiver.ids == [2, 3]
        getattr(late, ending)()
    add_event(empty_product)

    run(empty_product, receiver)
    run(empty_product, receiver)

    assert receiver.ids == ([2, 3, 1, 4] if ending == "commit" else [2, 3, 4])


def test_export__deliveries_older_than_30_days__are_forgotten_but_not_one_on_its_way(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 3)
    begin(empty_product, "receiver", "dead")

    def away(_: Batch) -> None:
        raise SinkUnavailable("it is away")

    run(empty_product, Receiver(), Receiver("dead", trouble=away), batch=2)
    empty_product.execute("UPDATE analytics_pipeline.export_deliveries SET started_at = now() - interval '31 days'")
    add_event(empty_product)
    run(empty_product, Receiver(), Receiver("dead", trouble=away))

    assert empty_product.execute(
        "SELECT sink, first_id, last_id, status FROM analytics_pipeline.export_deliveries ORDER BY 1, 2"
    ) == [("dead", 1, 2, "failed"), ("receiver", 4, 4, "delivered")]


def test_export__time_is_over__the_rest_is_left_to_the_next_run(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 4)
    begin(empty_product, "receiver")
    receiver = Receiver()

    (cut,) = run(empty_product, receiver, seconds=0)
    (rest,) = run(empty_product, receiver)

    assert (cut.status, rest.status, receiver.ids) == ("time_over", "served", [1, 2, 3, 4])


def test_pause__after_failures_in_a_row__doubles_up_to_five_minutes_and_hears_the_receiver() -> None:
    pauses = [pause_after(number, None).total_seconds() for number in (1, 2, 3, 6, 7, 50)]

    assert all(
        0.8 * wanted <= found <= 1.2 * wanted for wanted, found in zip((5, 10, 20, 160, 300, 300), pauses, strict=True)
    )
    assert pause_after(1, 120).total_seconds() == 120
    assert pause_after(1, 3_600).total_seconds() == 3_600


def test_export__paused_while_a_run_serves_it__gets_no_further_batch_until_it_is_resumed(
    empty_product: Product,
) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 3)
    begin(empty_product, "receiver")
    receiver = Receiver(afterwards=lambda _: _pause(empty_product))

    (paused,) = run(empty_product, receiver, batch=1)
    assert (paused.status, receiver.ids, bookmark(empty_product)) == ("paused", [1], 1)
    receiver.afterwards = lambda _: None
    resume(empty_product.postgres, "receiver")
    run(empty_product, receiver, batch=1)

    assert receiver.ids == [1, 2, 3]


def _pause(product: Product) -> None:
    pause(product.postgres, "receiver")


def test_export__a_sink_that_another_run_has_gone_on_with__is_left_to_it(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 2)
    begin(empty_product, "receiver")

    def taken_over(_: Batch) -> None:
        empty_product.execute(
            "UPDATE analytics_pipeline.event_logs_scrape_state SET planned_delivery = NULL, bookmark_id = 2"
        )

    (served,) = run(empty_product, Receiver(afterwards=taken_over))

    assert (served.status, bookmark(empty_product)) == ("skipped: superseded", 2)


def test_export__half_of_a_plan_was_removed_by_hand__is_planned_anew(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 2)
    begin(empty_product, "receiver")

    def away(_: Batch) -> None:
        raise SinkUnavailable("it is away")

    run(empty_product, Receiver(trouble=away))
    empty_product.execute("UPDATE analytics_pipeline.event_logs_scrape_state SET planned_ids = NULL")
    due_again(empty_product)
    receiver = Receiver()
    (served,) = run(empty_product, receiver)

    assert (served.status, receiver.ids, bookmark(empty_product)) == ("served", [1, 2], 2)


def test_export__name_is_removed_after_a_failure__the_batch_does_not_leave_any_more(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch", "Kept")
    add_event(empty_product)
    add_event(empty_product, "Kept")
    begin(empty_product, "receiver")

    def away(_: Batch) -> None:
        raise SinkUnavailable("it is away")

    run(empty_product, Receiver(trouble=away))
    remove(empty_product.postgres, ["ViewSearch"])
    due_again(empty_product)
    receiver = Receiver()
    run(empty_product, receiver)

    assert (receiver.ids, bookmark(empty_product)) == ([2], 2)


def test_export__events_that_left_are_updated_and_the_table_rewritten__none_leaves_again(
    empty_product: Product,
) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 3)
    begin(empty_product, "receiver", after=1)
    receiver = Receiver()
    run(empty_product, receiver)

    empty_product.execute("UPDATE event_logs SET referrer = 'later'")
    for type_ in ("numeric", "bigint"):
        empty_product.execute(f"ALTER TABLE event_logs ALTER COLUMN user_id TYPE {type_}")
    run(empty_product, receiver)

    assert receiver.ids == [2, 3]
