"""`analytics-pipeline export`: what leaves, how far each sink is, and what to do when one stands still."""

from pathlib import Path

import pytest

from analytics_pipeline.resources.sinks.base import Batch, SinkUnavailable
from tests.cli.commands import DONE, FAILED, GAPS, USAGE, run, run_json
from tests.flows.usage_export.event_log import add_event, add_events, allow, begin, bookmark, due_again
from tests.flows.usage_export.event_log import run as export
from tests.flows.usage_export.receivers import Receiver
from tests.product import Product

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def sinks(empty_product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Product:
    """The export is on, into `disk`, a directory, and `spare`, another one."""
    monkeypatch.setenv("EXPORT_USAGE_DATA_ENABLED", "true")
    monkeypatch.setenv("EXPORT_SITE_ID", "site-1")
    monkeypatch.setenv("EXPORT_SINKS", f"disk={(tmp_path / 'disk').as_uri()} spare={(tmp_path / 'spare').as_uri()}")
    return empty_product


def test_status__nothing_was_served__says_so(sinks: Product) -> None:
    result = run("export", "status")

    assert result.exit_code == GAPS, result.output
    assert result.output.count("waiting to begin") == 2


def test_status__sinks_of_every_state__shows_backlog_age_and_cause(sinks: Product) -> None:
    allow(sinks, "ViewSearch")
    begin(sinks, "disk", "spare", "gone")
    add_event(sinks, timestamp="2026-11-01 00:00Z")
    add_event(sinks, id=5)

    def dead(_: Batch) -> None:
        raise SinkUnavailable("no answer")

    export(sinks, Receiver("disk"), Receiver("spare", trouble=dead))
    run("export", "pause", "gone")
    document = run_json("export", "status")

    shown = {
        one["sink"]: (one["state"], one["backlog"], one["bookmark_id"], one["awaited"]) for one in document["sinks"]
    }
    assert shown == {
        "disk": ("up to date", 0, 5, 3),
        "spare": ("failing", 2, 0, 3),
        "gone": ("not configured", 2, 0, 0),
    }
    result = run("export", "status")
    assert result.exit_code == FAILED
    assert "spare: failed 1 times in a row" in result.output
    assert "no answer" in result.output


def test_status__open_transaction_may_add_what_was_passed__is_named(sinks: Product) -> None:
    begin(sinks, "disk")
    with sinks.postgres.connect() as late:
        late.execute("INSERT INTO event_logs (name, user_id, source, version) VALUES ('ViewSearch', 1, 'WEB', '1')")
        add_event(sinks)
        export(sinks, Receiver("disk"))

        result = run("export", "status")
        document = run_json("export", "status")

    assert "open transaction that may add events: pid" in result.output
    assert [blocker["pid"] is not None for blocker in document["blockers"]] == [True]


def test_allowlist__add_list_has_remove__follow_each_other(sinks: Product) -> None:
    sinks.execute("INSERT INTO event_logs_export_allowlist (event_name) VALUES ('Theirs')")

    assert run_json("export", "allowlist", "add", "A", "B", "A") == {"added": ["A", "B"], "past_to": []}
    assert run_json("export", "allowlist", "add", "A") == {"added": [], "past_to": []}
    assert run_json("export", "fields", "add", "A", "key", "*") == {"event": "A", "keys": ["*", "key"]}
    assert run_json("export", "fields", "remove", "A", "*") == {"event": "A", "keys": ["key"]}
    assert run_json("export", "allowlist", "list") == [
        {"name": "A", "lists": ["pipeline"], "keys": ["key"]},
        {"name": "B", "lists": ["pipeline"], "keys": []},
        {"name": "Theirs", "lists": ["product"], "keys": []},
    ]
    assert run("export", "allowlist", "has", "A", "Theirs").exit_code == DONE
    assert run("export", "allowlist", "has", "A", "C").exit_code == GAPS
    assert run_json("export", "allowlist", "remove", "B", "C") == {"removed": ["B"]}
    refused = run("export", "allowlist", "remove", "A", "Theirs")
    assert (refused.exit_code, "only read" in refused.output) == (FAILED, True)
    assert run("export", "allowlist", "has", "A").exit_code == DONE


def test_fields_list__rules_of_allowed_and_other_names__shows_all_of_them(sinks: Product) -> None:
    assert run_json("export", "fields", "list") == []
    run_json("export", "allowlist", "add", "A")
    for name, *keys in (("A", "y", "x"), ("Typo", "k"), ("*", "z")):
        run_json("export", "fields", "add", name, *keys)

    assert run_json("export", "fields", "list") == [
        {"event": "*", "keys": ["z"], "is_allowed": True},
        {"event": "A", "keys": ["x", "y"], "is_allowed": True},
        {"event": "Typo", "keys": ["k"], "is_allowed": False},
    ]
    assert "not in the allow list" in run("export", "fields", "list").output


@pytest.mark.parametrize("command", ["recent", "dead-letters"])
def test_shown__sink_that_nobody_knows__is_not_told_to_be_without_trouble(sinks: Product, command: str) -> None:
    told = run("export", command, "typo")

    assert (told.exit_code, told.output) == (
        GAPS,
        "Error: typo is no sink of EXPORT_SINKS and was never served; see: analytics-pipeline export status\n",
    )


def test_allowlist__export_past__history_goes_behind_the_live_export_to_the_sink_alone(sinks: Product) -> None:
    allow(sinks, "Old")
    add_events(sinks, 3, "Late")
    begin(sinks, "disk", "spare", after=3)
    disk, spare = Receiver("disk"), Receiver("spare")

    answer = run_json("export", "allowlist", "add", "Late", "--export-past", "--sink", "disk")
    add_event(sinks, "Late")
    pending = run("export", "status").output
    export(sinks, disk, spare, batch=2)
    export(sinks, disk, spare, batch=2)

    assert answer == {"added": ["Late"], "past_to": ["disk"]}
    assert "disk: past of Late: 0 sent" in pending
    assert (disk.ids, spare.ids) == ([4, 1, 2, 3], [4])
    assert "past of Late" not in run("export", "status").output
    assert run("export", "allowlist", "add", "X", "--sink", "disk").exit_code == USAGE
    assert run("export", "allowlist", "add", "X", "--export-past", "--sink", "nobody").exit_code == GAPS


def test_pause_and_resume__sink__is_left_alone_and_then_gets_everything(sinks: Product) -> None:
    allow(sinks, "ViewSearch")
    begin(sinks, "disk")
    receiver = Receiver("disk")

    assert run_json("export", "pause", "disk") == {"sink": "disk", "state": "paused"}
    add_events(sinks, 2)
    (paused,) = export(sinks, receiver)
    assert (paused.status, receiver.ids) == ("skipped: paused", [])
    assert run("export", "resume", "disk").exit_code == DONE
    export(sinks, receiver)

    assert receiver.ids == [1, 2]
    assert run("export", "pause", "nobody").exit_code == GAPS


def test_resume__after_failures__is_tried_at_once(sinks: Product) -> None:
    allow(sinks, "ViewSearch")
    add_events(sinks, 1)
    begin(sinks, "disk")

    def dead(_: Batch) -> None:
        raise SinkUnavailable("no answer", retry_after=200)

    export(sinks, Receiver("disk", trouble=dead))
    receiver = Receiver("disk")
    export(sinks, receiver)
    assert receiver.ids == []
    run("export", "resume", "disk")
    export(sinks, receiver)

    assert receiver.ids == [1]


@pytest.mark.parametrize(
    ("place", "expected"), [("beginning", [1, 2, 3]), ("2", [2, 3]), ("2026-06-01", [2, 3]), ("2026-06-02", [3])]
)
def test_start__from_a_place__sends_what_is_there_since(sinks: Product, place: str, expected: list[int]) -> None:
    allow(sinks, "ViewSearch")
    for day in ("2026-05-01", "2026-06-01", "2026-07-01"):
        add_event(sinks, timestamp=f"{day} 00:00Z")
    receiver = Receiver("disk")

    assert run("export", "start", "disk", "--from", place).exit_code == DONE
    export(sinks, receiver)

    assert receiver.ids == expected
    assert run("export", "start", "disk", "--from", place).exit_code == FAILED


def test_start__again__moves_the_bookmark_and_forgets_what_was_on_its_way(sinks: Product) -> None:
    allow(sinks, "ViewSearch")
    add_events(sinks, 3)
    begin(sinks, "disk")

    def dead(_: Batch) -> None:
        raise SinkUnavailable("no answer")

    export(sinks, Receiver("disk", trouble=dead))
    assert run_json("export", "start", "disk", "--from", "3", "--again") == {"sink": "disk", "bookmark_id": 2}
    due_again(sinks)
    receiver = Receiver("disk")
    export(sinks, receiver)

    assert receiver.ids == [3]
    assert [one["status"] for one in run_json("export", "recent", "disk")] == ["delivered", "failed"]


@pytest.mark.parametrize("place", ["yesterday", "2999-01-01", "-5", "1e9"])
def test_start__no_place__is_wrong_usage_and_begins_nothing(sinks: Product, place: str) -> None:
    assert run("export", "start", "disk", f"--from={place}").exit_code == USAGE
    assert sinks.execute("SELECT count(*) FROM analytics_pipeline.event_logs_scrape_state") == [(0,)]


def test_replay__range_with_dead_letters__sends_it_again_and_forgets_what_arrived(sinks: Product) -> None:
    allow(sinks, "ViewSearch")
    add_events(sinks, 4)
    begin(sinks, "disk")
    receiver = Receiver("disk", refused={2, 3})
    export(sinks, receiver)
    found = run("export", "dead-letters")
    assert (found.exit_code, "no such form" in found.output) == (GAPS, True)
    assert [one["event_log_id"] for one in run_json("export", "dead-letters", "disk")] == [3, 2]

    receiver.refused = {3}
    assert run("export", "replay", "disk", "--from", "2", "--to", "3").exit_code == DONE
    export(sinks, receiver)

    assert receiver.ids == [1, 2, 3, 4, 2, 3]
    assert [one["event_log_id"] for one in run_json("export", "dead-letters")] == [3]
    assert bookmark(sinks, "disk") == 4
    assert run("export", "replay", "disk", "--from", "3", "--to", "2").exit_code == USAGE


def test_rename__sink_with_a_backlog__goes_on_under_the_new_name(
    sinks: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    allow(sinks, "ViewSearch")
    begin(sinks, "old")
    add_events(sinks, 3)
    export(sinks, Receiver("old", refused={2}))
    add_events(sinks, 2)
    monkeypatch.setenv("EXPORT_SINKS", f"disk={(tmp_path / 'disk').as_uri()} old={(tmp_path / 'old').as_uri()}")
    assert run("export", "rename", "old", "disk").exit_code == FAILED
    assert run("export", "drop", "old").exit_code == FAILED

    monkeypatch.setenv("EXPORT_SINKS", f"disk={(tmp_path / 'disk').as_uri()}")
    assert run_json("export", "rename", "old", "disk") == {"sink": "disk", "bookmark_id": 3}
    renamed = Receiver("disk")
    export(sinks, renamed)

    assert renamed.ids == [4, 5]
    assert [one["sink"] for one in run_json("export", "status")["sinks"]] == ["disk"]
    assert {one["sink"] for one in run_json("export", "recent")} == {"disk"}
    assert sinks.execute("SELECT unit, record_key FROM analytics_pipeline.dead_letters") == [("disk", "2")]
    assert run("export", "rename", "old", "disk").exit_code == GAPS


def test_rename__new_name_has_begun__is_refused_and_with_again_goes_back(sinks: Product) -> None:
    allow(sinks, "ViewSearch")
    begin(sinks, "old")
    add_events(sinks, 3)
    begin(sinks, "disk", after=3)
    add_events(sinks, 2)
    export(sinks, Receiver("disk"))
    run("export", "replay", "disk", "--from", "4")

    assert run("export", "rename", "old", "disk").exit_code == FAILED
    assert bookmark(sinks, "disk") == 5
    assert run_json("export", "rename", "old", "disk", "--again") == {"sink": "disk", "bookmark_id": 0}
    receiver = Receiver("disk")
    export(sinks, receiver)

    assert receiver.ids == [1, 2, 3, 4, 5]
    assert [(one["sink"], one["past"]) for one in run_json("export", "status")["sinks"]][:1] == [("disk", [])]


def test_doctor__sink_that_left_the_configuration__is_a_warning_until_it_is_dropped(sinks: Product) -> None:
    begin(sinks, "gone", "disk")

    def warnings() -> list[str]:
        found = run_json("doctor", "--timeout", "60")["findings"]
        return [one["subject"] for one in found if "no longer in EXPORT_SINKS" in one["state"]]

    assert warnings() == ["sink gone"]
    assert run_json("export", "drop", "gone") == {"sink": "gone", "state": "dropped"}
    assert warnings() == []
    assert run("export", "drop", "gone").exit_code == GAPS


def test_test__sink__gets_a_marked_record_that_is_no_event(sinks: Product, tmp_path: Path) -> None:
    answer = run_json("export", "test", "disk")

    assert (answer["sink"], answer["is_taken"], answer["refused"]) == ("disk", True, [])
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["tests"]
    assert run("export", "test", "nobody").exit_code == GAPS


def test_doctor__sinks__are_asked_without_sending_a_record(
    sinks: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("EXPORT_SINKS", f"disk={(tmp_path / 'disk').as_uri()} bad={(tmp_path / 'a file').as_uri()}")

    findings = {one["subject"]: one for one in run_json("doctor", "--all", "--timeout", "20")["findings"]}

    assert findings["sink disk"]["level"] == "well"
    assert (findings["sink bad"]["level"], findings["sink bad"]["turns_off"]) == ("gap", ["usage_export"])
    assert list((tmp_path / "disk").rglob("*.zst")) == []
