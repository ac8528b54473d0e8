"""`analytics-pipeline reporting` as operators use it: questions, plans, exit codes, and a terminal of 80 columns."""

import re
import shlex
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
import time_machine
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.flows.reporting import rollups as rollups_module
from analytics_pipeline.flows.reporting.rollups import Rollups
from tests.flows.reporting.desk import add_account, add_event, at, build, covered, rollups
from tests.product import Product
from tests.thorough import rarely

DONE, FAILED, USAGE, MISSING, CONFIGURATION, UNREACHABLE = range(6)
NOW = "2026-05-20 12:00"
FIRST, YESTERDAY, TODAY = date(2026, 5, 8), date(2026, 5, 19), date(2026, 5, 20)
PIECE = 5
PROCEED = "Proceed? [y/N]: "


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[None]:
    """A terminal of 80 columns in a directory without a .env, on a Wednesday at noon."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    with time_machine.travel(at(NOW), tick=True):
        yield


@pytest.fixture
def desk(empty_product: Product) -> Product:
    """Account 1 in New York, with an event on each day from FIRST to TODAY."""
    add_account(empty_product)
    add_events(empty_product)
    return empty_product


def add_events(product: Product, account: int = 1, first: date = FIRST, last: date = TODAY) -> None:
    product.execute(
        "INSERT INTO reporting_events (name, created_at, value, value_in_business_hours, account_id, user_id)"
        " SELECT 'reply_time', moment, 60, 30, %s, 3 FROM generate_series(%s, %s, interval '1 day') AS moment",
        account,
        at(f"{first} 06:00"),
        at(f"{last} 06:00"),
    )


def run(command: str, answers: str = "") -> Result:
    result = CliRunner().invoke(main, ["reporting", *shlex.split(command)], input=answers)
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert "…" not in result.output
    return result


def plan(output: str) -> dict[str, str]:
    """The plan's table."""
    return dict(re.findall(r"^│ (.+?) +│ (.+?) +│$", output, re.MULTILINE))


def table(output: str) -> list[list[str]]:
    """The cells of the rows of all tables."""
    lines = [line for line in output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def written(product: Product) -> tuple[Any, ...]:
    """Everything that a backfill writes."""
    copies = product.execute("SELECT * FROM analytics_pipeline.source_copies")
    return copies, covered(product), rollups(product)


def complete_days(product: Product, account: int = 1) -> list[str]:
    return [day for id_, day, _, is_complete in covered(product) if id_ == account and is_complete]


def days(first: date, last: date) -> list[str]:
    return [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]


def settings(product: Product, account: int = 1) -> dict[str, Any]:
    ((found,),) = product.execute("SELECT settings FROM accounts WHERE id = %s", account)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("command", ["backfill", "timezone", "compare"])
def test_help__narrow_terminal__fits(command: str) -> None:
    for shown in (run("--help"), run(f"{command} --help")):
        assert [line for line in shown.output.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("command", ["backfill --account 1", "timezone --account 1", "compare"])
def test_commands__store_is_missing_or_silent__exit_with_4_or_5(
    desk: Product, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:S3CRET@127.0.0.1:1/product")
    silent = run(command)
    monkeypatch.delenv("DATABASE_URL")

    assert (silent.exit_code, run(command).exit_code) == (UNREACHABLE, CONFIGURATION)
    assert "S3CRET" not in silent.output


def test_backfill__interactive__asks_shows_the_plan_and_does_it(desk: Product) -> None:
    result = run("backfill", "1\nn\ny\n")

    assert result.exit_code == DONE
    assert result.stdout.startswith(
        'Account id, or "all": 1\n'
        "Discovered range: 2026-05-08 to 2026-05-20 (local days, first to last event)\n"
        "Effective range:  2026-05-08 to 2026-05-19 (today is excluded)\n"
        "Dry run? [y/N]: n\n"
        "Plan"
    )
    shown = plan(result.stdout)
    assert re.fullmatch(r"about [1-9][\d,]* rows \([\d.]+ \w+\)", shown.pop("to be read from Postgres"))
    assert shown == {
        "account": "1 Account 1",
        "time zone": "America/New_York",
        "range": "2026-05-08 to 2026-05-19",
        "days": "12",
        "rolled up and holding": "0 days, skipped",
        "to be rolled up": "12 days, for all 1 accounts with a time zone",
        "to be copied before": "13 UTC days",
        "first event": "2026-05-08 02:00:00 -04:00",
        "last event": "2026-05-20 02:00:00 -04:00",
        "dry run": "no",
    }
    summary = result.stdout.partition(f"{PROCEED}y\n")[2]
    assert re.sub(r"\d+\.\d+", "?", summary).strip() == (
        "Done: 12 days in ? s, ? s per day.\n"
        "Next:\n"
        "  analytics-pipeline reporting compare --account 1   rollups beside the raw events\n"
        "  then turn on the feature flag `reporting_events_rollup` for the account: reports are read from the rollups"
    )
    assert complete_days(desk) == days(FIRST, YESTERDAY)


@pytest.mark.parametrize(
    ("answers", "code", "message"),
    [
        ("\n", USAGE, "Error: Invalid value for --account: '' is not the id of an account\n"),
        *rarely(
            ("one\n", USAGE, "Error: Invalid value for --account: 'one' is not the id of an account\n"),
            (
                "9" * 5000 + "\n",
                USAGE,
                f"Error: Invalid value for --account: '{'9' * 40}' is not the id of an account\n",
            ),
            (
                "99\n",
                FAILED,
                "Error: the source has no account 99; nothing was changed. Take an id of the product's accounts\n",
            ),
        ),
    ],
)
@pytest.mark.parametrize("command", ["backfill", "timezone"])
def test_account__blank_or_unknown__aborts(desk: Product, command: str, answers: str, code: int, message: str) -> None:
    before = written(desk), settings(desk)

    result = run(command, answers)

    assert (result.exit_code, result.stderr.endswith(message)) == (code, True)
    assert (written(desk), settings(desk)) == before


@pytest.mark.parametrize(
    ("zone", "state"), [(None, "no reporting time zone"), ("Mars/Olympus", "'Mars/Olympus', which is not a time zone")]
)
@pytest.mark.parametrize("command", ["backfill --yes", "compare"])
def test_account__has_no_valid_zone__exits_with_3_and_says_how_to_set_it(
    empty_product: Product, command: str, zone: str | None, state: str
) -> None:
    add_account(empty_product, 7, zone)

    one, every = run(f"{command} --account 7"), run(f"{command} --account all")

    assert (one.exit_code, one.stderr) == (
        MISSING,
        f"Error: Account 7 has {state}, so nobody knows its days. Set one:\n"
        "  analytics-pipeline reporting timezone --account 7\n",
    )
    assert (every.exit_code, every.stderr) == (
        MISSING,
        "Error: No account has a reporting time zone. Set one: analytics-pipeline reporting timezone\n",
    )


@pytest.mark.parametrize(("account", "whose"), [("1", "Account 1 has no"), ("all", "No account with a time zone has")])
def test_backfill__no_events__says_so(empty_product: Product, account: str, whose: str) -> None:
    add_account(empty_product)

    result = run(f"backfill --account {account}")

    assert (result.exit_code, result.output) == (DONE, f"{whose} reporting events: there is nothing to backfill.\n")


@pytest.mark.parametrize(
    ("command", "answers"), [("backfill --account 1 --dry-run --yes", ""), ("backfill", "1\nyes\n")]
)
def test_backfill__dry_run__prints_the_plan_and_changes_nothing(desk: Product, command: str, answers: str) -> None:
    before = written(desk)

    result = run(command, answers)

    assert (result.exit_code, result.stdout.splitlines()[-1]) == (DONE, "Dry run: nothing was changed.")
    shown = plan(result.stdout)
    assert (shown["to be rolled up"], shown["dry run"]) == ("12 days, for all 1 accounts with a time zone", "yes")
    assert PROCEED not in result.stdout
    assert written(desk) == before


@pytest.mark.parametrize("answer", ["yess", *rarely("", "n", "true")])
def test_backfill__answer_is_not_yes__changes_nothing(desk: Product, answer: str) -> None:
    before = written(desk)

    result = run("backfill --account 1", f"{answer}\n")

    assert (result.exit_code, result.stdout.splitlines()[-1]) == (DONE, "Nothing was changed.")
    assert written(desk) == before


@pytest.mark.parametrize("answer", ["y", *rarely(" YES ")])
def test_backfill__answer_is_yes__does_it(desk: Product, answer: str) -> None:
    result = run("backfill --account 1 --from 2026-05-18", f"{answer}\n")

    assert (result.exit_code, complete_days(desk)) == (DONE, ["2026-05-18", "2026-05-19"])


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("backfill --yes", "--account"),
        *rarely(
            ("backfill --yes --dry-run", "--account"),
            ("timezone --yes", "--account and --set"),
            ("timezone --yes --account 1", "--set"),
            ("timezone --yes --account 1 --offset +5:30", "--set"),
            ("timezone --yes --set Asia/Kolkata", "--account"),
        ),
    ],
)
def test_yes__something_would_be_asked__is_wrong_usage_and_names_the_options(
    desk: Product, command: str, missing: str
) -> None:
    before = written(desk), settings(desk)

    result = run(command, "1\ny\n")

    assert (result.exit_code, result.stdout, result.stderr.splitlines()[-1]) == (
        USAGE,
        "",
        f"Error: --yes asks nothing, so it needs {missing}",
    )
    assert (written(desk), settings(desk)) == before


def test_backfill__input_ends_at_a_question__aborts(desk: Product) -> None:
    result = run("backfill --account 1")

    assert (result.exit_code, result.stderr) == (FAILED, "Aborted!\n")
    assert complete_days(desk) == []


@pytest.mark.parametrize(
    ("now", "options", "effective"),
    [
        (NOW, "", "2026-05-08 to 2026-05-19"),
        *rarely(
            ("2026-05-20 03:59", "", "2026-05-08 to 2026-05-18"),
            (NOW, "--from 2026-05-10 --to 2026-05-12", "2026-05-10 to 2026-05-12"),
        ),
        (NOW, "--from 1999-01-01 --to 9999-12-31", "2026-05-08 to 2026-05-19"),
        *rarely(
            (NOW, "--from 2026-05-20", "no day that is over lies in it, so there is nothing to do"),
            (NOW, "--to 2026-05-07", "no day that is over lies in it, so there is nothing to do"),
        ),
    ],
)
def test_backfill__range__is_cut_to_the_history_without_today(
    desk: Product, now: str, options: str, effective: str
) -> None:
    with time_machine.travel(at(now), tick=True):
        result = run(f"backfill --account 1 --dry-run {options}")

    assert result.exit_code == DONE
    assert " ".join(f"Effective range: {effective} (today is excluded)".split()) in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--from 2026-05-10 --to 2026-05-09", "is after"),
        *rarely(
            ("--from yesterday", "'yesterday' does not match the format '%Y-%m-%d'."),
            (
                "--to 0001-01-01",
                "Invalid value for '--to': 0001-01-01 is too early; the first possible day is 1970-01-03",
            ),
        ),
    ],
)
@pytest.mark.parametrize("command", ["backfill", "compare"])
def test_range__is_none__is_wrong_usage(desk: Product, command: str, options: str, message: str) -> None:
    result = run(f"{command} --account 1 {options}")

    assert (result.exit_code, message in result.stderr) == (USAGE, True)


@pytest.mark.parametrize(("length", "is_told"), [*rarely((730, False)), (731, True)])
def test_backfill__very_many_days__warns(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch, length: int, *, is_told: bool
) -> None:
    monkeypatch.setenv("ANALYTICS_START_DATE", "2020-01-01")
    add_account(empty_product, 1, "Etc/UTC")
    for day in (YESTERDAY - timedelta(days=length - 1), YESTERDAY):
        add_event(empty_product, "reply_time", at(f"{day} 06:00"))

    result = run("backfill --account 1", "n\n")

    assert plan(result.stdout)["days"] == str(length)
    assert ("These are more than 730 days; --from and --to take them in parts.\n" in result.stdout) is is_told


def test_backfill__history_older_than_the_start_date__is_cut_and_says_so(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier days have no partition: nobody would follow their late rows."""
    start = YESTERDAY - timedelta(days=2)
    monkeypatch.setenv("ANALYTICS_START_DATE", str(start))
    add_account(empty_product, 1, "Etc/UTC")
    for day in (start - timedelta(days=30), YESTERDAY):
        add_event(empty_product, "reply_time", at(f"{day} 06:00"))

    result = run("backfill --account 1 --dry-run")

    assert plan(result.stdout)["days"] == "3"
    assert f"days before ANALYTICS_START_DATE {start}" in " ".join(result.stdout.split())


def test_backfill__scripted__asks_nothing_and_has_nothing_to_do_the_second_time(desk: Product) -> None:
    first = run("backfill --account 1 --yes --from 2026-05-10 --to 2026-05-12")
    before = written(desk)
    second = run("backfill --account 1 --yes --from 2026-05-10 --to 2026-05-12")

    assert (first.exit_code, second.exit_code) == (DONE, DONE)
    assert "?" not in first.stdout
    assert complete_days(desk) == days(date(2026, 5, 10), date(2026, 5, 12))
    shown = plan(second.stdout)
    assert (shown["rolled up and holding"], shown["to be copied before"]) == ("3 days, skipped", "0 UTC days")
    assert second.stdout.splitlines()[-1] == "Every day is rolled up and holds: there is nothing to do."
    assert written(desk) == before


@pytest.mark.slow
def test_backfill__all_accounts__does_each_ones_days(desk: Product) -> None:
    add_account(desk, 2, "Asia/Kolkata")
    add_account(desk, 3, None)
    add_events(desk, 2, date(2026, 5, 16))

    result = run("backfill --account ALL --yes")

    shown = plan(result.stdout)
    assert (shown["account"], shown["time zone"]) == ("2 with events and a time zone", "2 different ones")
    assert (result.exit_code, complete_days(desk)) == (DONE, days(FIRST, YESTERDAY))
    assert set(days(date(2026, 5, 16), YESTERDAY)) <= set(complete_days(desk, 2))


def test_backfill__account_name_looks_like_markup__is_shown_as_it_is(desk: Product) -> None:
    desk.execute("UPDATE accounts SET name = '[/red][bold]x'")

    assert plan(run("backfill --account 1 --dry-run").stdout)["account"] == "1 [/red][bold]x"


def _break_after(product: Product, day: date) -> None:
    product.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION ''the disk is full''; END';"
        f"CREATE TRIGGER refuse BEFORE INSERT ON analytics_pipeline.reporting_coverage"
        f" FOR EACH ROW WHEN (NEW.date > '{day}') EXECUTE FUNCTION refuse()"
    )


def _repair(product: Product) -> None:
    product.execute("DROP FUNCTION refuse CASCADE")


@pytest.mark.parametrize(
    ("options", "resume"),
    [
        ("--yes --recopy --to 2026-05-19", "--account 1 --from 2026-05-13 --to 2026-05-19 --recopy --yes"),
        *rarely(("--yes", "--account 1 --yes")),
    ],
)
def test_backfill__fails_in_the_middle__says_how_far_it_came_and_goes_on_from_there(
    desk: Product, monkeypatch: pytest.MonkeyPatch, options: str, resume: str
) -> None:
    monkeypatch.setattr(rollups_module, "DAYS_PER_PASS", PIECE)
    _break_after(desk, FIRST + timedelta(days=PIECE - 1))

    broken = run(f"backfill --account 1 {options}")

    assert broken.exit_code == FAILED
    reason, progress, command = broken.stderr.splitlines()[-3:]
    assert reason.startswith("The backfill stopped: Postgres: the disk is full")
    assert progress == "5 of 12 days are rolled up and stay; the others are as they were."
    assert command == f"Go on with: analytics-pipeline reporting backfill {resume}"
    assert complete_days(desk) == days(FIRST, FIRST + timedelta(days=PIECE - 1))

    _repair(desk)
    rest = run(command.partition("reporting ")[2])
    assert (rest.exit_code, plan(rest.stdout)["to be rolled up"].split(",")[0]) == (DONE, "7 days")
    assert complete_days(desk) == days(FIRST, YESTERDAY)


def test_backfill__interrupted__says_how_to_go_on(desk: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Rollups, "compute", interrupted)

    result = run("backfill --account 1 --yes")

    assert (result.exit_code, result.stderr.splitlines()[-3:]) == (
        FAILED,
        [
            "The backfill stopped: interrupted",
            "0 of 12 days are rolled up and stay; the others are as they were.",
            "Go on with: analytics-pipeline reporting backfill --account 1 --yes",
        ],
    )


def zones(output: str) -> dict[str, tuple[str, ...]]:
    """The listed zones: IANA name to number, display name and offsets."""
    return {name: (number, display, offsets) for number, display, name, offsets in table(output)}


def test_timezone__offset__lists_zones_without_any_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    result = run("timezone --offset +5:30")

    assert (result.exit_code, zones(result.stdout)) == (
        DONE,
        {
            "Asia/Colombo": ("1", "Sri Jayawardenepura", "+05:30"),
            "Asia/Kolkata": ("2", "Chennai, Kolkata, Mumbai, New Delhi", "+05:30"),
        },
    )


@pytest.mark.parametrize(
    ("offset", "listed", "name"),
    [
        # In May: Los Angeles is at -7 then, Juneau at -8.
        ("-8", ("Alaska", "-09:00, -08:00"), "America/Juneau"),
        ("-7", ("Pacific Time (US & Canada)", "-08:00, -07:00"), "America/Los_Angeles"),
        ("0", ("UTC", "+00:00"), "Etc/UTC"),
        ("UTC+0545", ("Kathmandu", "+05:45"), "Asia/Kathmandu"),
    ],
)
def test_timezone__offset_in_any_spelling__lists_what_is_at_it_now(
    monkeypatch: pytest.MonkeyPatch, offset: str, listed: tuple[str, str], name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    found = zones(run(f"timezone --offset {offset}").stdout)

    assert found[name][1:] == listed


def test_timezone__nobody_is_at_the_offset__says_so() -> None:
    result = run("timezone --offset -2:15")

    assert (result.exit_code, result.output) == (DONE, "No zone is at that offset now.\n")


@pytest.mark.parametrize("offset", ["", "x", "+15", "-12:01", "5:60", "+-5", "５", "530000"])
def test_timezone__offset_is_none__is_wrong_usage(offset: str) -> None:
    result = run(f"timezone --offset '{offset}'")

    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        USAGE,
        f"Error: Invalid value for --offset: {offset!r} is not an offset from UTC such as +5:30, -8 or 0",
    )


def test_timezone__interactive__lists_picks_and_sets(empty_product: Product) -> None:
    add_account(empty_product, 1, None)
    empty_product.execute("""UPDATE accounts SET settings = '{"color": "red"}'""")

    result = run("timezone", "1\n-2:15\n0\n+5:30\n0\n+5:30\n2\ny\n")

    assert result.exit_code == DONE
    assert result.stdout.startswith("Account id: 1\nAccount 1 Account 1: no reporting time zone\nUTC offset")
    assert result.stdout.partition("Number of the zone (0 = another offset): 2\n")[2] == (
        "Set the reporting time zone of account 1 to Asia/Kolkata? [y/N]: y\n"
        "Set: account 1 reports in Asia/Kolkata.\n"
        "A backfill is recommended from this moment on:\n"
        "  2026-05-21 00:30:00 +05:30  Asia/Kolkata\n"
        "  2026-05-20 19:00:00 +00:00  UTC\n"
        "  2026-05-21 00:30:00 +05:30  India\n"
        "  2026-05-20 12:00:00 -07:00  Pacific\n"
        "  analytics-pipeline reporting backfill --account 1\n"
    )
    assert settings(empty_product) == {"color": "red", "reporting_timezone": "Asia/Kolkata"}


@pytest.mark.parametrize(
    ("answers", "end"),
    [
        ("+5:30\n3\n", "'3' is not one of the numbers.\nNothing was changed.\n"),
        *rarely(("+5:30\n\n", "'' is not one of the numbers.\nNothing was changed.\n")),
        ("+5:30\n[/red]\n", "'[/red]' is not one of the numbers.\nNothing was changed.\n"),
        *rarely(
            ("-2:15\n1\n", "'1' is not one of the numbers.\nNothing was changed.\n"),
            ("+5:30\n2\nno\n", "to Asia/Kolkata? [y/N]: no\nNothing was changed.\n"),
        ),
    ],
)
def test_timezone__nothing_valid_picked_or_not_confirmed__changes_nothing(
    desk: Product, answers: str, end: str
) -> None:
    result = run("timezone --account 1", answers)

    assert (result.exit_code, result.stdout.endswith(end)) == (DONE, True)
    assert settings(desk) == {"reporting_timezone": "America/New_York"}


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("Asia/Kolkata", "Asia/Kolkata"),
        ("Asia/Calcutta", "Asia/Calcutta"),
        ("Chennai", "Asia/Kolkata"),
        ("Eastern Time (US & Canada)", "America/New_York"),
    ],
)
def test_timezone__set_by_any_of_its_names__stores_the_iana_name_that_was_chosen(
    empty_product: Product, name: str, stored: str
) -> None:
    add_account(empty_product, 1, "Mars/Olympus")

    result = run(f"timezone --account 1 --set '{name}' --yes")

    assert result.exit_code == DONE
    assert result.stdout.startswith(
        f"Account 1 Account 1: 'Mars/Olympus' stored, which is not a time zone\nSet: account 1 reports in {stored}.\n"
    )
    assert settings(empty_product) == {"reporting_timezone": stored}


@pytest.mark.parametrize("name", ["", *rarely("Chenai", "asia/kolkata", "Asia/Kolkata ", "../../etc/passwd", "+05:30")])
def test_timezone__set_to_what_is_no_zone__is_wrong_usage_and_changes_nothing(desk: Product, name: str) -> None:
    result = run(f"timezone --account 1 --yes --set '{name}'")

    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        USAGE,
        f"Error: Invalid value for --set: {name!r} is not a time zone; an IANA name such as Asia/Kolkata is needed",
    )
    assert settings(desk) == {"reporting_timezone": "America/New_York"}


@pytest.mark.slow
def test_timezone__changed__says_what_becomes_stale_and_a_backfill_does_it_again(desk: Product) -> None:
    run("backfill --account 1 --yes")

    changed = run("timezone --account 1 --set Asia/Kolkata --yes")

    assert (changed.exit_code, " ".join(changed.stdout.split()).split(". ")[1]) == (
        DONE,
        "Days that were rolled up in America/New_York are stale until they are computed again",
    )
    assert plan(run("backfill --account 1 --dry-run").stdout)["to be rolled up"].startswith("12 days")


@pytest.mark.slow
def test_timezone__set_to_another_name_of_the_same_zone__makes_nothing_stale(desk: Product) -> None:
    add_account(desk, 1, "Asia/Kolkata")
    run("backfill --account 1 --yes")

    changed = run("timezone --account 1 --set Asia/Calcutta --yes")

    assert (settings(desk), "stale" in changed.stdout) == ({"reporting_timezone": "Asia/Calcutta"}, False)
    assert plan(run("backfill --account 1 --dry-run").stdout)["to be rolled up"].startswith("0 days")


def test_timezone__accounts_are_a_view__gives_the_sql_that_sets_it(
    desk: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.execute("CREATE VIEW my_accounts AS SELECT * FROM accounts")
    monkeypatch.setenv("SOURCE_ACCOUNTS", "my_accounts")

    result = run("timezone --account 1 --set Chennai --yes")

    message, statement = result.stderr.splitlines()
    assert (result.exit_code, message) == (
        FAILED,
        'Error: "my_accounts" is not a table. Nothing was changed; whoever may write it can run:',
    )
    assert settings(desk) == {"reporting_timezone": "America/New_York"}
    desk.execute(statement)
    assert settings(desk) == {"reporting_timezone": "Asia/Kolkata"}


@pytest.fixture
def rolled_up(desk: Product) -> Product:
    """The same, rolled up until yesterday."""
    build(desk, FIRST, YESTERDAY)
    return desk


def damage(product: Product, change: str) -> None:
    product.clickhouse.execute(f"ALTER TABLE reporting_rollups {change} SETTINGS mutations_sync = 2")


def test_compare__everything_is_equal__exits_with_0_and_the_match_rate(rolled_up: Product) -> None:
    result = run("compare --account 1 --by month")

    assert result.exit_code == DONE
    assert table(result.stdout) == [
        ["reply_time", "", "", "", "", "", ""],
        ["account", "1", "1", "0", "0", "0", "0.000"],
        ["agent", "1", "1", "0", "0", "0", "0.000"],
    ]
    assert "Compared 2026-01-01 to 2026-05-19 by month, 1 accounts\n" in result.stdout
    assert result.stdout.endswith("Match rate: 100.00 % (2 of 2 keys)\nRollups equal the raw events.\n")


def test_compare__rollup_is_damaged__exits_with_1_and_lists_the_difference(rolled_up: Product) -> None:
    damage(rolled_up, "UPDATE count = count + 2 WHERE date = '2026-05-12' AND dimension_type = 'agent'")

    result = run("compare --account 1 --from 2026-05-10 --to 2026-05-16")

    assert result.exit_code == FAILED
    assert table(result.stdout) == [
        ["reply_time", "", "", "", "", "", ""],
        ["account", "1", "1", "0", "0", "0", "0.000"],
        ["agent", "1", "0", "0", "0", "2", "13.333"],
        ["2026-05-10", "account 1, agent 3", "7  60.00  30.00", "9  46.67  23.33"],
        ["to 2026-05-16", "reply_time", "", ""],
    ]
    assert "Match rate: 50.00 % (1 of 2 keys)\n" in result.stdout
    assert result.stdout.endswith(
        "  The ledger vouches for days that differ. Compute them again, and report it:\n"
        "  analytics-pipeline reporting backfill --account all --recopy --from 2026-05-10 --to 2026-05-16\n"
    )


@pytest.mark.slow
def test_compare__its_repair__makes_all_equal(rolled_up: Product) -> None:
    damage(rolled_up, "DELETE WHERE date = '2026-05-12'")
    broken = run("compare --account 1")

    run(f"{broken.stdout.splitlines()[-1].partition('reporting ')[2]} --yes")

    assert (broken.exit_code, run("compare --account 1").exit_code) == (FAILED, DONE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("added", "line", "differences"),
    [
        (
            [],
            ["agent", "1", "0", "1", "0", "1", "60.000"],
            [["2026-05-12", "account 1, agent 3", "1  60.00  30.00", "missing"], ["", "reply_time", "", ""]],
        ),
        *rarely(
            (
                [4],
                ["agent", "2", "0", "1", "1", "1", "60.000"],
                [
                    ["2026-05-12", "account 1, agent 3", "1  60.00  30.00", "missing"],
                    ["", "reply_time", "", ""],
                    ["2026-05-12", "account 1, agent 4", "missing", "1  60.00  30.00"],
                    ["", "reply_time", "", ""],
                ],
            )
        ),
    ],
)
def test_compare__key_is_on_one_side_only__is_listed_as_missing(
    rolled_up: Product, added: list[int], line: list[str], differences: list[list[str]]
) -> None:
    damage(rolled_up, "DELETE WHERE dimension_type = 'agent'")
    rolled_up.clickhouse.execute(
        "INSERT INTO reporting_rollups SELECT * REPLACE ('agent' AS dimension_type, agent AS dimension_id)"
        " FROM reporting_rollups FINAL ARRAY JOIN {added:Array(UInt64)} AS agent",
        added=added,
    )

    result = run("compare --account 1 --from 2026-05-12 --to 2026-05-12 --by day")

    rows = table(result.stdout)
    assert (result.exit_code, rows[2]) == (FAILED, line)
    assert sorted(zip(rows[3::2], rows[4::2], strict=True)) == sorted(
        zip(differences[::2], differences[1::2], strict=True)
    )


@pytest.mark.slow
def test_compare__never_rolled_up__names_the_cause_and_the_repair(rolled_up: Product) -> None:
    rolled_up.execute("DELETE FROM analytics_pipeline.reporting_coverage WHERE date <= '2026-05-12'")
    damage(rolled_up, "DELETE WHERE date <= '2026-05-12'")

    result = run("compare --account 1 --by month --from 2026-05-08")

    assert (result.exit_code, result.stdout.splitlines()[-2:]) == (
        FAILED,
        [
            "Likely causes, of the accounts that differ:",
            "  5 account days were never rolled up (reports read the raw events): reporting backfill",
        ],
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    ["--from 2026-04-01 --to 2026-05-07", *rarely("--account 1 --to 2025-12-31 --by month")],
)
def test_compare__nothing_there__exits_with_3(rolled_up: Product, options: str) -> None:
    result = run(f"compare {options}")

    assert (result.exit_code, result.stdout.splitlines()[-1]) == (
        MISSING,
        "There are neither events nor rollups in the range: nothing was compared.",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "left_out", "conclusion"),
    [
        ("", 6, "Rollups equal the raw events."),
        *rarely(
            (
                "--from 2026-04-30 --to 2026-05-04",
                4,
                "There are neither events nor rollups in the range: nothing was compared.",
            )
        ),
    ],
)
def test_compare__events_were_never_copied__exits_with_3_and_says_how_many_days_are_left_out(
    rolled_up: Product, options: str, left_out: int, conclusion: str
) -> None:
    """7 May of New York is not among them: it reaches into 8 May of UTC, which was copied."""
    add_events(rolled_up, first=date(2026, 5, 1), last=date(2026, 5, 1))
    rolled_up.execute("DELETE FROM analytics_pipeline.source_copies WHERE day < %s", FIRST)

    result = run(f"compare {options}")

    assert (result.exit_code, result.stdout.splitlines()[-1]) == (MISSING, conclusion)
    assert (
        f"\n{left_out} account days were left out: their events were never copied, so ClickHouse has neither them nor"
        " rollups of them: reporting backfill\n"
    ) in result.stdout


def test_compare__range_is_not_over__is_wrong_usage(desk: Product) -> None:
    result = run("compare --from 2026-05-20")

    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        USAGE,
        "Error: Invalid value for --from: 2026-05-20 is after 2026-05-19, the last day to compare",
    )
