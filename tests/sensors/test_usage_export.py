"""The sensor of the usage export: asks for a run exactly when a sink has something to get."""

import dagster as dg
import pytest

from analytics_pipeline.definitions import defs
from analytics_pipeline.flows.usage_export.records import EventReader
from analytics_pipeline.sensors.usage_export import usage_export_of
from tests.flows.usage_export.event_log import add_event, allow, begin, run
from tests.flows.usage_export.receivers import Receiver
from tests.product import Product

NOTHING = "nothing is pending, or what is pauses after failures"


@pytest.fixture
def exporting(empty_product: Product, monkeypatch: pytest.MonkeyPatch) -> Product:
    monkeypatch.setenv("EXPORT_USAGE_DATA_ENABLED", "true")
    monkeypatch.setenv("EXPORT_SITE_ID", "site-1")
    monkeypatch.setenv("EXPORT_SINKS", "receiver=file:///tmp/never-written")
    return empty_product


def tick() -> str:
    """How many runs the sensor asks for, or why none."""
    sensor = usage_export_of(60)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, repository_def=defs().get_repository_def())
        answer = sensor.evaluate_tick(context)
    return str(answer.skip_message or f"{len(answer.run_requests or [])} run")


def test_sensor__from_disabled_to_served__asks_only_when_there_is_something(
    exporting: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(exporting, "ViewSearch")
    monkeypatch.setenv("EXPORT_USAGE_DATA_ENABLED", "false")
    assert tick() == "skipped: export_disabled (EXPORT_USAGE_DATA_ENABLED is not true)"
    monkeypatch.setenv("EXPORT_USAGE_DATA_ENABLED", "true")
    assert tick() == "1 run"  # the bookmark has to be made
    begin(exporting, "receiver")
    assert tick() == NOTHING
    add_event(exporting, "Secret")
    assert tick() == "1 run"
    run(exporting, Receiver())
    assert tick() == NOTHING


def test_sensor__event_commits_late__asks_again(exporting: Product) -> None:
    allow(exporting, "ViewSearch")
    begin(exporting, "receiver")
    with exporting.postgres.connect() as late:
        late.execute("INSERT INTO event_logs (name, user_id, source, version) VALUES ('ViewSearch', 1, 'WEB', '1')")
        add_event(exporting)
        run(exporting, Receiver())
        assert tick() == NOTHING
        late.commit()

    assert tick() == "1 run"


def test_run__only_forbidden_names__are_looked_at_once(exporting: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(exporting, "ViewSearch")
    begin(exporting, "receiver")
    for _ in range(3):
        add_event(exporting, "Secret")
    looked_from = []
    original = EventReader.next

    def spied(self: EventReader, after: int, *arguments: int, **named: int) -> object:
        looked_from.append(after)
        return original(self, after, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(EventReader, "next", spied)
    run(exporting, Receiver())
    run(exporting, Receiver())

    assert looked_from == [0, 3, 3]
