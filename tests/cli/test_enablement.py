"""`analytics-pipeline enablement` and `settings`: what became of histories, and the two ways to have them again."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.demo.product import demo_product
from analytics_pipeline.flows.enablement.epochs import ATTEMPTS, Changes
from analytics_pipeline.flows.enablement.ledger import EnablementLedger, PlannedEpoch
from tests.product import Product
from tests.thorough import rarely

DONE, FAILED, USAGE, PENDING, CONFIGURATION, UNREACHABLE = range(6)
FIRST, LAST = date(2026, 5, 1), date(2026, 5, 3)


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A terminal of 80 columns, in a directory without a .env."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def run(command: str) -> Result:
    result = CliRunner().invoke(main, command.split())
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert "…" not in result.output
    return result


def plan(product: Product, scope: str = "instance", feature: str = "ai_usage", **columns: Any) -> None:
    """An epoch of the scope, requested; or in any other state, by its columns."""
    planned = PlannedEpoch(scope, 1, "on", from_scratch=False, source_first_day=FIRST, first_day=FIRST, last_day=LAST)
    EnablementLedger(product.postgres).record(feature, Changes((), (), ()), [planned])
    for name, value in columns.items():
        product.execute(
            f"UPDATE analytics_pipeline.enablements SET {name} = %s WHERE feature = %s AND scope = %s",
            value,
            feature,
            scope,
        )


def epochs(product: Product) -> list[tuple[Any, ...]]:
    """(feature, scope, epoch, state, attempt, last attempt, is closed) of each."""
    return product.execute(
        "SELECT feature, scope, epoch, state, attempt, last_attempt, closed_at IS NOT NULL"
        " FROM analytics_pipeline.enablements ORDER BY 1, 2, 3"
    )


def table(output: str) -> list[list[str]]:
    lines = [line for line in output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def in_words(output: str) -> list[str]:
    """What follows the table."""
    return output.partition("┘\n")[2].splitlines()


def test_status__nothing_was_switched_on__says_so(empty_product: Product) -> None:
    result = run("enablement status")

    assert (result.exit_code, " ".join(result.output.split())) == (
        DONE,
        "No feature was seen switched on yet; the sensor `enablement` looks every 30 seconds.",
    )


def test_status__histories_in_every_state__shows_how_far_they_are_and_what_went_wrong(empty_product: Product) -> None:
    plan(empty_product, state="completed", rows=1_234_567, run_id="0123456789")
    plan(empty_product, "account:7", "reporting")
    plan(
        empty_product,
        "organisation:1",
        "segments",
        attempt=ATTEMPTS,
        state="failed",
        error="[/red] failed.\nRepair: it",
    )

    result = run("enablement status")

    assert result.exit_code == FAILED
    assert table(result.output) == [
        ["ai_usage", "instance", "on", "completed", "3 of 3", "1,234,567"],
        ["reporting", "account:7", "on", "requested", "0 of 3", ""],
        ["segments", "organisation:1", "on", "failed", "0 of 3", ""],
    ]
    assert in_words(result.output) == [
        f"ai_usage instance: 2026-05-01 to 2026-05-03, attempt 1 of {ATTEMPTS}, run 01234567",
        f"reporting account:7: 2026-05-01 to 2026-05-03, attempt 1 of {ATTEMPTS}",
        f"segments organisation:1: 2026-05-01 to 2026-05-03, attempt {ATTEMPTS} of {ATTEMPTS}",
        "  [/red] failed.",
        "  Repair: it",
        "  try again: analytics-pipeline enablement retry segments organisation:1",
    ]


def test_status__off_after_two_epochs__tells_on_from_off_and_the_rows_of_both(empty_product: Product) -> None:
    plan(empty_product, state="completed", rows=4_678, closed_at=LAST)
    again = PlannedEpoch("instance", 2, "on", from_scratch=False, source_first_day=FIRST, first_day=LAST, last_day=LAST)
    EnablementLedger(empty_product.postgres).record("ai_usage", Changes((), (), ()), [again])
    empty_product.execute(
        "UPDATE analytics_pipeline.enablements SET state = 'completed', rows = 12, closed_at = %s WHERE epoch = 2",
        "2026-05-04 01:30+02",
    )
    plan(empty_product, "account:7", "reporting", state="completed", rows=3)

    result = run("enablement status")

    assert table(result.output) == [
        ["ai_usage", "instance", "off", "completed", "1 of 1", "12"],
        ["reporting", "account:7", "on", "completed", "3 of 3", "3"],
    ]
    assert in_words(result.output) == [
        f"ai_usage instance: 2026-05-03 to 2026-05-03, attempt 1 of {ATTEMPTS}",
        "  switched off 2026-05-03 23:30 UTC",
        "  epoch 2; all of them together: 4,690 rows",
        f"reporting account:7: 2026-05-01 to 2026-05-03, attempt 1 of {ATTEMPTS}",
    ]


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"state": "completed"}, DONE),
        ({"state": "requested"}, PENDING),
        *rarely(
            ({"state": "running"}, PENDING),
            ({"state": "failed"}, FAILED),
            ({"state": "failed", "closed_at": LAST}, DONE),
        ),
    ],
)
def test_status__of_open_histories__is_the_exit_code(
    empty_product: Product, columns: Mapping[str, Any], code: int
) -> None:
    plan(empty_product, "account:7", "reporting", state="completed")
    plan(empty_product, **columns)

    assert run("enablement status").exit_code == code


def test_status__history_is_cut_by_the_start_date__says_so(empty_product: Product) -> None:
    plan(empty_product, state="completed", source_first_day=date(2025, 1, 1))

    assert in_words(run("enablement status").output)[1:] == [
        "  the source begins on 2025-01-01, ANALYTICS_START_DATE later"
    ]


def test_status__given_up_and_switched_off_since__offers_no_retry_that_would_fail(empty_product: Product) -> None:
    plan(empty_product, state="failed", attempt=ATTEMPTS, closed_at="2026-05-04 01:30+02")

    assert in_words(run("enablement status").output)[1:] == ["  switched off 2026-05-03 23:30 UTC"]
    assert run("enablement retry ai_usage").exit_code == FAILED


def test_retry__was_given_up__gives_new_attempts_and_status_is_pending(empty_product: Product) -> None:
    plan(empty_product, "account:7", "reporting", state="failed", attempt=ATTEMPTS)

    result = run("enablement retry reporting account:7")

    assert (result.exit_code, result.output) == (
        DONE,
        f"reporting account:7: the sensor will ask for attempt {ATTEMPTS + 1} within 30 seconds.\n",
    )
    assert epochs(empty_product) == [("reporting", "account:7", 1, "requested", ATTEMPTS + 1, 2 * ATTEMPTS, False)]
    assert run("enablement status").exit_code == PENDING


@pytest.mark.parametrize("state", ["requested", "running", "completed"])
def test_retry__was_not_given_up__changes_nothing(empty_product: Product, state: str) -> None:
    plan(empty_product, state=state)
    before = epochs(empty_product)

    result = run("enablement retry ai_usage")

    assert (result.exit_code, result.stderr) == (
        FAILED,
        "Error: ai_usage instance has no history that was given up; see: analytics-pipeline enablement status\n",
    )
    assert epochs(empty_product) == before


@pytest.mark.parametrize("command", ["retry", "reset"])
def test_feature__is_unknown__is_wrong_usage(command: str) -> None:
    result = run(f"enablement {command} nope")

    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        USAGE,
        "Error: Invalid value for '{ai_usage|reporting|segments}': 'nope' is not one of 'ai_usage', 'reporting',"
        " 'segments'.",
    )


def test_reset__without_yes__says_what_it_would_do_and_changes_nothing(empty_product: Product) -> None:
    plan(empty_product, state="completed")
    before = epochs(empty_product)

    result = run("enablement reset ai_usage")

    assert (result.exit_code, result.output) == (
        DONE,
        "ai_usage instance: epoch 1 (completed) is closed; the next asks for the whole history."
        " This was a dry run; do it with --yes.\n",
    )
    assert epochs(empty_product) == before


def test_reset__with_yes__closes_the_epoch_and_status_says_so(empty_product: Product) -> None:
    plan(empty_product, state="completed")

    result = run("enablement reset ai_usage --yes")

    assert (result.exit_code, result.output) == (
        DONE,
        "ai_usage instance: epoch 1 (completed) is closed; the next asks for the whole history,"
        " within 30 seconds if the feature is on.\n",
    )
    assert epochs(empty_product) == [("ai_usage", "instance", 1, "completed", 1, ATTEMPTS, True)]
    (note,) = in_words(run("enablement status").output)[1:]
    assert note.startswith("  reset: the next epoch asks for the whole history; closed ")


def test_reset__never_switched_on__exits_with_1(empty_product: Product) -> None:
    plan(empty_product)

    result = run("enablement reset ai_usage account:7 --yes")

    assert (result.exit_code, result.stderr) == (
        FAILED,
        "Error: ai_usage account:7 was never switched on; see: analytics-pipeline enablement status\n",
    )
    assert epochs(empty_product) == [("ai_usage", "instance", 1, "requested", 1, ATTEMPTS, False)]


@pytest.mark.parametrize(
    "command",
    [
        "enablement status",
        "enablement retry ai_usage",
        "enablement reset ai_usage --yes",
        "settings set use_clickhouse_for_analytics on",
    ],
)
def test_commands__store_is_missing_or_silent__exit_with_4_or_5(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:S3CRET@127.0.0.1:1/product")
    silent = run(command)
    monkeypatch.delenv("DATABASE_URL")

    assert (silent.exit_code, run(command).exit_code) == (UNREACHABLE, CONFIGURATION)
    assert "S3CRET" not in silent.output


@pytest.fixture
def demo(empty_product: Product) -> Product:
    """The demo product's organisations and its setting, off."""
    for organisation in demo_product().organisations:
        empty_product.execute("INSERT INTO organisations VALUES (%s, %s)", organisation.id, organisation.name)
    empty_product.execute("INSERT INTO application_settings (id) VALUES (1)")
    return empty_product


def setting(product: Product) -> list[tuple[Any, ...]]:
    return product.execute("SELECT use_clickhouse_for_analytics, updated_at FROM application_settings")


def test_settings__of_the_demo__are_saved_once(demo: Product) -> None:
    look = "Look with: analytics-pipeline enablement status\n"

    first = run("settings set use_clickhouse_for_analytics on")
    saved = setting(demo)
    again = run("settings set use_clickhouse_for_analytics on")

    assert (first.exit_code, first.output) == (DONE, f"use_clickhouse_for_analytics is on. {look}")
    assert (again.exit_code, again.output) == (DONE, f"use_clickhouse_for_analytics is on already. {look}")
    assert (saved[0][0], setting(demo)) == (True, saved)
    off = run("settings set use_clickhouse_for_analytics off")
    assert (off.exit_code, setting(demo)[0][0]) == (DONE, False)


def _database(product: Product) -> str:
    ((name,),) = product.postgres.query("SELECT current_database()")
    return str(name)


def test_settings__database_has_other_organisations__is_refused(demo: Product) -> None:
    demo.execute("INSERT INTO organisations VALUES (99, 'A customer')")
    before = setting(demo)

    result = run("settings set use_clickhouse_for_analytics on")

    assert result.exit_code == FAILED
    assert result.stderr == (
        f"Error: Database {_database(demo)} has 1 organisations that are not the demo's; nothing was written."
        " Point DATABASE_URL at an empty database.\n"
    )
    assert setting(demo) == before


def test_settings__database_is_empty__is_refused(empty_product: Product) -> None:
    empty_product.execute("INSERT INTO application_settings (id) VALUES (1)")
    before = setting(empty_product)

    result = run("settings set use_clickhouse_for_analytics on")

    assert (result.exit_code, result.stderr) == (
        FAILED,
        f"Error: Database {_database(empty_product)} does not hold the demo product; nothing was written."
        " Run: analytics-pipeline demo\n",
    )
    assert setting(empty_product) == before


@pytest.mark.parametrize(
    "arguments", ["use_clickhouse_for_analytics", "use_clickhouse_for_analytics yes", "another on"]
)
def test_settings__wrong_usage__exits_with_2(arguments: str) -> None:
    assert run(f"settings set {arguments}").exit_code == USAGE
