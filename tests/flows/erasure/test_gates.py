"""Commands, settings and restored rows that name somebody who was forgotten: refused with the reason, or left out."""

from pathlib import Path
from typing import Any

import pytest

from analytics_pipeline.flows.enablement.tick import Tick
from analytics_pipeline.flows.erasure import subjects
from analytics_pipeline.flows.erasure.errors import SubjectForgotten
from analytics_pipeline.flows.features import FEATURES
from analytics_pipeline.flows.tenants import enabled_tenants
from analytics_pipeline.flows.usage_export import past
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.sinks.clickhouse import ClickHouseSink
from tests.cli.commands import DONE, FAILED, run, run_json
from tests.flows.erasure.test_forget import erasure
from tests.flows.erasure.world import ACCOUNT, EVENT_USER, GONE_KEY, ORGANISATION, PROJECT, World
from tests.flows.product_events.events import at
from tests.flows.product_events.samples import envelope
from tests.flows.reporting import desk
from tests.flows.usage_export import event_log
from tests.product import KEY, Product

OF_ORGANISATION, OF_ACCOUNT = ("--organisation", str(ORGANISATION)), ("--account", str(ACCOUNT))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in a directory without a .env, on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")


def forget_organisation(product: Product) -> None:
    product.add_organisation(ORGANISATION)
    product.add_project(PROJECT, ORGANISATION)
    product.add_environment(880000000100, PROJECT, GONE_KEY)
    product.add_segment(880000000001, [], PROJECT)
    erasure(product, subjects.numbered("organisation", str(ORGANISATION))).run()


def forget_account(product: Product) -> None:
    for account in (1, ACCOUNT):
        desk.add_account(product, account, "Etc/UTC")
        desk.add_event(product, "first_response", at(0, -1), account_id=account)
    erasure(product, subjects.numbered("account", str(ACCOUNT))).run()


def restore_epochs(product: Product) -> None:
    """A backup of the ledger brings back histories that were given up."""
    for feature, scope in (("reporting", f"account:{ACCOUNT}"), ("segments", f"organisation:{ORGANISATION}")):
        product.execute(
            "INSERT INTO analytics_pipeline.enablements (feature, scope, epoch, setting, state, last_attempt)"
            " VALUES (%s, %s, 1, 'Etc/UTC', 'failed', 3)",
            feature,
            scope,
        )


def epochs(product: Product) -> list[tuple[Any, ...]]:
    return product.execute("SELECT scope, state, closed_at IS NULL FROM analytics_pipeline.enablements ORDER BY scope")


def test_commands__that_name_who_was_forgotten__are_refused_and_change_nothing(product: Product) -> None:
    forget_organisation(product)
    forget_account(product)
    restore_epochs(product)
    before = epochs(product)
    commands = (
        ("token", "create", "a", "--scope", "ingest", *OF_ORGANISATION),
        ("token", "create", "b", "--scope", "read", *OF_ORGANISATION),
        ("token", "create", "c", "--scope", "read", *OF_ACCOUNT),
        ("enablement", "retry", "reporting", f"account:{ACCOUNT}"),
        ("enablement", "reset", "segments", f"organisation:{ORGANISATION}", "--yes"),
        ("reporting", "timezone", *OF_ACCOUNT, "--set", "Asia/Kolkata", "--yes"),
        ("reporting", "backfill", *OF_ACCOUNT, "--yes"),
        ("reporting", "compare", *OF_ACCOUNT),
    )

    answers = {command: run(*command) for command in commands}

    said = {
        command: (answer.exit_code, "was forgotten (docs/erasure.md)" in answer.stderr, answer.stdout)
        for command, answer in answers.items()
    }
    assert said == dict.fromkeys(commands, (FAILED, True, ""))
    assert "Where the product has it again, it needs a new id there" in answers[commands[0]].stderr
    assert product.execute("SELECT name FROM analytics_pipeline.api_tokens") == []
    assert epochs(product) == before
    assert product.execute("SELECT settings FROM accounts WHERE id = %s", ACCOUNT) == [
        ({"reporting_timezone": "Etc/UTC"},)
    ]


def test_backfill__of_all_accounts__leaves_out_who_was_forgotten(empty_product: Product) -> None:
    forget_account(empty_product)

    answer = run("reporting", "backfill", "--account", "all", "--recopy", "--yes")

    assert answer.exit_code == DONE, answer.output
    assert {account for account, *_ in desk.rollups(empty_product)} == {1}
    assert empty_product.clickhouse.query("SELECT DISTINCT account_id FROM reporting_events") == [(1,)]


def test_tick__features_of_who_was_forgotten_are_on_and_epochs_were_restored__closes_them(product: Product) -> None:
    forget_organisation(product)
    forget_account(product)
    restore_epochs(product)
    tick = Tick(product.settings, product.postgres, feature_flags(product.settings, product.postgres), lambda _: [])

    asked = [wanted.attempt.scope for feature in FEATURES for wanted in tick.look_at(feature).requests]

    assert (f"account:{ACCOUNT}", "failed", False) in epochs(product)
    assert (f"organisation:{ORGANISATION}", "failed", False) in epochs(product)
    assert sorted(asked) == ["account:1", "organisation:1"]


def test_tenants__another_organisation_has_the_forgotten_projects_now__they_stay_out(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_organisation(product)
    # The project went to organisation 1, and one of its environments to a project there.
    product.execute(
        "CREATE VIEW moved_projects AS SELECT id, 1::bigint AS organisation_id, name FROM projects;"
        " INSERT INTO environments (id, project_id, api_key, name) SELECT 101, min(id), 'env-moved', 'x' FROM projects"
    )
    monkeypatch.setenv("SOURCE_PROJECTS", "public.moved_projects")
    moved = Product(type(product.settings).load(), product.clickhouse, product.table)
    moved.execute("UPDATE environments SET project_id = (SELECT min(id) FROM projects) WHERE api_key = %s", GONE_KEY)
    flags = feature_flags(moved.settings, moved.postgres)

    found = enabled_tenants(moved.postgres, flags)
    with pytest.raises(SubjectForgotten, match=f"project {PROJECT} was forgotten"):
        enabled_tenants(moved.postgres, flags, [PROJECT], before_exposure=True)

    assert [(one.id, [environment.key for environment in one.environments]) for one in found.projects] == [
        (10, [KEY, "env-moved"])
    ]
    assert GONE_KEY not in found.known_environment_keys


def test_replay__of_dead_letters_from_a_backup__stores_and_keeps_nothing_of_who_was_forgotten(
    empty_product: Product,
) -> None:
    world = World(empty_product)
    unreadable = {"type": "task_completed", "user_id": EVENT_USER, "task_id": 7}
    world.ingest(1, envelope(unreadable), envelope({**unreadable, "user_id": None}))
    world.ingest(ORGANISATION, envelope(unreadable | {"user_id": None}))
    columns = "flow, unit, record_key, reason, payload, run_id"
    empty_product.execute(f"CREATE TABLE backup AS SELECT {columns} FROM analytics_pipeline.dead_letters")
    erasure(empty_product, subjects.user(EVENT_USER)).run()
    forget_organisation(empty_product)
    empty_product.execute(
        "DELETE FROM analytics_pipeline.dead_letters;"
        f" INSERT INTO analytics_pipeline.dead_letters ({columns}) SELECT * FROM backup; DROP TABLE backup"
    )

    done = run_json("events", "dead-letters", "replay")

    assert done == {"stored": 0, "kept": 1, "removed": 2}
    assert empty_product.clickhouse.query("SELECT count() FROM analytics_events") == [(0,)]
    assert empty_product.execute("SELECT unit FROM analytics_pipeline.dead_letters") == [("organisation 1",)]


def test_export__of_the_past_of_a_name_and_of_a_replay__leaves_out_who_was_forgotten(empty_product: Product) -> None:
    for user in (7, 8):
        event_log.add_event(empty_product, "ViewSearch", user_id=user)
        event_log.add_event(empty_product, "Login", user_id=user)
    event_log.allow(empty_product, "ViewSearch")
    event_log.begin(empty_product, "warehouse")
    sink = ClickHouseSink("warehouse", empty_product.settings)
    event_log.run(empty_product, sink)
    erasure(empty_product, subjects.user("7")).run()

    event_log.allow(empty_product, "Login")
    past.request(empty_product.postgres, ["warehouse"], ["Login"])
    past.replay(empty_product.postgres, "warehouse", 1, 4)
    for _ in range(2):
        event_log.due_again(empty_product)
        event_log.run(empty_product, sink)

    assert past.open_ones(empty_product.postgres) == []
    assert empty_product.clickhouse.query("SELECT name, user_id FROM exported_events FINAL ORDER BY name") == [
        ("Login", 8),
        ("ViewSearch", 8),
    ]
