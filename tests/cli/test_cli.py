"""The command as operators use it: help that teaches, an exit code for each kind of ending, never a secret."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import click
import pytest

from analytics_pipeline.cli import main
from analytics_pipeline.cli.local import demo as demo_module
from analytics_pipeline.migrations import status as migration_status
from tests.cli.commands import CONFIGURATION, DONE, FAILED, GAPS, UNREACHABLE, USAGE, run, run_json
from tests.product import Product

pytestmark = pytest.mark.usefixtures("elsewhere")


def _commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, *path, name)


COMMANDS = dict(_commands(main))


def test_commands__of_the_tool__are_these() -> None:
    assert {" ".join(path) for path in COMMANDS} >= {
        "demo",
        "dev",
        "doctor",
        "migrate",
        "migrate all",
        "migrate pre",
        "migrate post",
        "migrate status",
        "migrate dry-run",
        "stack",
        "stack up",
        "stack down",
        "stack status",
        "stack env",
    }


def test_help__of_the_tool__says_where_to_begin_and_what_exit_codes_mean() -> None:
    shown = run("--help")

    assert shown.exit_code == DONE
    text = " ".join(shown.output.split())
    for meaning in (
        "0 done",
        "1 the work failed",
        "2 wrong usage",
        "3 something is missing or pending",
        "4 the configuration is not valid",
        "5 a store cannot be reached",
    ):
        assert meaning in text
    assert "analytics-pipeline demo" in text
    assert ".env" in text
    assert run("-h").output == shown.output


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help__of_every_command__says_what_it_does_and_explains_its_options(path: tuple[str, ...]) -> None:
    shown = run(*path, "--help")

    assert (shown.exit_code, shown.output.splitlines()[0].startswith("Usage: ")) == (DONE, True)
    command = COMMANDS[path]
    summary = (command.help or "").split("\n\n")[0]
    assert re.fullmatch(r"[A-Z].{20,}", " ".join(summary.split()))
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == []


@pytest.mark.parametrize(
    ("path", "said"), [("doctor", "Exit code 3 when there is a gap, 4 when"), ("migrate status", "Exit code 3 when")]
)
def test_help__commands_that_judge__name_their_exit_codes(path: str, said: str) -> None:
    assert said in " ".join(run(*path.split(), "--help").output.split())


def test_help__asked_for__loads_no_engine_and_no_dagster() -> None:
    script = (
        "import sys; from analytics_pipeline.cli import main; main(['--help'], standalone_mode=False);"
        "print(sorted({'dagster', 'chdb', 'boto3', 'pandas'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_version__asked_for__is_the_packages() -> None:
    assert re.fullmatch(r".*, version \d+\.\d+\.\d+\n", run("--version").output)


@pytest.mark.parametrize("arguments", [["nope"], ["migrate", "nope"], ["doctor", "--nope"], ["demo", "extra"]], ids=str)
def test_usage__wrong__exits_with_2_and_points_to_help(arguments: list[str]) -> None:
    result = run(*arguments)

    assert result.exit_code == USAGE
    assert "--help' for help" in result.stderr


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize(
    "arguments", [["doctor"], ["migrate", "all"], ["migrate", "status"], ["migrate", "dry-run"]], ids=str
)
def test_configuration__not_valid__exits_with_4_and_lists_every_mistake(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("CLICKHOUSE_URL", "clickhouse://user:S3CRET@host/analytics")
    monkeypatch.setenv("SOURCE_PROJECTS", "a;drop table x")

    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (CONFIGURATION, "")
    assert result.stderr.splitlines() == [
        "The configuration is not valid (.env.example documents each variable):",
        "  SOURCE_PROJECTS: must be a table or view, e.g. public.my_view",
        "  CLICKHOUSE_URL: must start with https:// or http:// or chdb://",
    ]


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize("command", ["all", "pre", "post", "status", "dry-run"])
def test_migrate__nothing_configured__exits_with_4_and_says_what_to_set(command: str) -> None:
    result = run("migrate", command)

    assert (result.exit_code, result.stdout) == (CONFIGURATION, "")
    assert result.stderr == (
        "DATABASE_URL or CLICKHOUSE_URL is not set. Set it (see .env.example), or run: analytics-pipeline demo\n"
    )


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize("command", ["all", "pre", "status", "dry-run"])
@pytest.mark.parametrize(
    ("variable", "url", "message"),
    [
        (
            "DATABASE_URL",
            "postgresql://user:S3CRET@127.0.0.1:1/product",
            "Postgres at postgresql://127.0.0.1:1/product: the server does not answer."
            " Check DATABASE_URL, then run: analytics-pipeline doctor\n",
        ),
        (
            "CLICKHOUSE_URL",
            "http://user:S3CRET@127.0.0.1:1/analytics",
            "ClickHouse at http://127.0.0.1:1/analytics: the server does not answer."
            " Check CLICKHOUSE_URL, then run: analytics-pipeline doctor\n",
        ),
    ],
)
def test_migrate__store_does_not_answer__exits_with_5_and_names_it(
    monkeypatch: pytest.MonkeyPatch, command: str, variable: str, url: str, message: str
) -> None:
    monkeypatch.setenv(variable, url)

    result = run("migrate", command)

    assert (result.exit_code, result.stdout) == (UNREACHABLE, "")
    assert result.stderr.endswith(message)
    assert "S3CRET" not in result.output


def test_settings__in_a_file_dotenv__are_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, nothing_set: None
) -> None:
    for name in ("IDENTITIES_INDEX", "IDENTITY_CAPTURE_CONCURRENCY"):
        # Set first, so that whatever the command exports is taken back after the test.
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("IDENTITIES_INDEX")
    Path(".env").write_text("IDENTITIES_INDEX=from-file\nIDENTITY_CAPTURE_CONCURRENCY=64\n")

    values = run_json("doctor")["configuration"]

    assert (values["IDENTITIES_INDEX"], values["IDENTITY_CAPTURE_CONCURRENCY"]) == ("from-file", "1")


def _unmigrate(product: Product) -> None:
    product.execute("DROP SCHEMA analytics_pipeline CASCADE")
    for table in product.tables():
        product.clickhouse.execute(f"DROP TABLE {table} SYNC")


def _content(product: Product) -> tuple[Any, ...]:
    tables = product.execute(
        "SELECT relnamespace::regnamespace::text, relname FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')"
        " ORDER BY 1, 2"
    )
    assert product.settings.landing_url is not None
    landing = Path(product.settings.landing_url.removeprefix("file://"))
    held = sorted(str(path) for path in landing.rglob("*"))
    return tables, product.tables(), held, boto3.client("dynamodb").list_tables()["TableNames"]


def test_migrate__doctor_status_dry_run_and_all__go_together(product: Product) -> None:
    everything = migration_status(product.settings)
    _unmigrate(product)
    before = _content(product)

    doctor, status, dry_run = run("doctor"), run("migrate", "status"), run("migrate", "dry-run")

    assert "✗ migrations of postgres: " in doctor.stdout
    assert "✗ migrations of clickhouse: 001_identities.sql pending, " in doctor.stdout
    assert doctor.stdout.count("    turns off: every flow\n    repair: analytics-pipeline migrate all\n") == 2
    assert (doctor.exit_code, status.exit_code, dry_run.exit_code) == (GAPS, GAPS, DONE)
    assert _migrations(status.stdout) == _migrations(dry_run.stdout)
    assert _migrations(status.stdout) == [(m.store, m.phase, m.name, "pending") for m in everything]
    assert _content(product) == before

    applied = run("migrate", "all")
    assert applied.exit_code == DONE
    assert _migrations(applied.stdout) == [(m.store, m.phase, m.name, "applied") for m in everything]

    again = run("migrate", "all")
    assert (again.exit_code, again.stdout.strip()) == (DONE, "Everything is applied already.")
    status, dry_run = run("migrate", "status"), run("migrate", "dry-run")
    assert (status.exit_code, _migrations(status.stdout)) == (DONE, _migrations(applied.stdout))
    assert (dry_run.exit_code, dry_run.stdout) == (DONE, "Nothing is pending.\n")
    shown = [result.output + result.stderr for result in (doctor, status, dry_run, applied, again)]
    assert [text for text in shown if _password(product) in text] == []


def _password(product: Product) -> str:
    assert product.settings.clickhouse_url is not None
    return str(urlsplit(product.settings.clickhouse_url.get_secret_value()).password)


def _migrations(output: str) -> list[tuple[str, ...]]:
    rows = [line for line in output.splitlines() if line.startswith("│")]
    return [tuple(cell.strip() for cell in row.strip("│").split("│")) for row in rows]


def test_migrate__pre_then_post__each_applies_its_phase(product: Product) -> None:
    everything = migration_status(product.settings)
    _unmigrate(product)

    pre, between, post = run("migrate", "pre"), run("migrate", "status"), run("migrate", "post")

    assert [code.exit_code for code in (pre, between, post)] == [DONE, GAPS, DONE]
    assert _migrations(pre.stdout) + _migrations(post.stdout) == [
        (m.store, m.phase, m.name, "applied") for m in everything
    ]
    assert {row[1] for row in _migrations(pre.stdout)} == {"pre"}


def test_migrate__another_is_running__exits_with_1_and_says_so(product: Product) -> None:
    with product.postgres.lease("migrations"):
        result = run("migrate", "all")

    assert result.exit_code == FAILED
    assert result.stderr.endswith(
        "Error: another run is working on migrations and was left to it; try again when it has ended\n"
    )


def test_migrate__applied_script_was_edited__exits_with_1_and_status_with_3(product: Product) -> None:
    product.clickhouse.execute(
        "ALTER TABLE schema_versions_pre UPDATE md5 = 'x' WHERE version = 1 SETTINGS mutations_sync = 2"
    )

    result, status = run("migrate", "all"), run("migrate", "status")

    assert (result.exit_code, status.exit_code) == (FAILED, GAPS)
    assert "md5 is not equal, Migration version is 1" in result.stderr
    assert ("clickhouse", "pre", "001_identities.sql", "md5-mismatch") in _migrations(status.stdout)


def test_demo__database_of_somebody_else__is_refused_with_1_and_left_alone(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stack of the test session runs already; the stores in it are the test's.
    monkeypatch.setattr(demo_module, "start_with_progress", lambda *_: dict(os.environ))
    before = (_content(product), product.execute("SELECT * FROM organisations"))

    result = run("demo", "--home", str(product.settings.analytics_home))

    assert result.exit_code == FAILED
    assert "has 1 organisations that are not the demo's; nothing was written" in " ".join(result.stderr.split())
    assert (_content(product), product.execute("SELECT * FROM organisations")) == before
