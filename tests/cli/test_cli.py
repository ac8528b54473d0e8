"""The command as operators use it: help that teaches, an exit code for each kind of ending, never a secret."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import click
import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import doctor as doctor_module
from analytics_pipeline.cli import main
from analytics_pipeline.cli.local import demo as demo_module
from analytics_pipeline.config import Settings
from analytics_pipeline.flows import contract
from analytics_pipeline.migrations import status as migration_status
from tests.product import Product

DONE, FAILED, USAGE, GAPS, CONFIGURATION, UNREACHABLE = range(6)
VARIABLES = [*Settings.model_fields, *(f"source_{name}" for name in dict(Settings().sources)), "dagster_home"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without a .env, and a terminal wide enough for every table."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name.upper(), raising=False)


def _run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


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
    shown = _run("--help")

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
    assert _run("-h").output == shown.output


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help__of_every_command__says_what_it_does_and_explains_its_options(path: tuple[str, ...]) -> None:
    shown = _run(*path, "--help")

    assert (shown.exit_code, shown.output.splitlines()[0].startswith("Usage: ")) == (DONE, True)
    command = COMMANDS[path]
    summary = (command.help or "").split("\n\n")[0]
    assert re.fullmatch(r"[A-Z].{20,}", " ".join(summary.split()))
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == []


@pytest.mark.parametrize(
    ("path", "said"), [("doctor", "Exit code 3 when there is a gap, 4 when"), ("migrate status", "Exit code 3 when")]
)
def test_help__commands_that_judge__name_their_exit_codes(path: str, said: str) -> None:
    assert said in " ".join(_run(*path.split(), "--help").output.split())


def test_help__asked_for__loads_no_engine_and_no_dagster() -> None:
    script = (
        "import sys; from analytics_pipeline.cli import main; main(['--help'], standalone_mode=False);"
        "print(sorted({'dagster', 'chdb', 'boto3', 'pandas'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_version__asked_for__is_the_packages() -> None:
    assert re.fullmatch(r".*, version \d+\.\d+\.\d+\n", _run("--version").output)


@pytest.mark.parametrize("arguments", [["nope"], ["migrate", "nope"], ["doctor", "--nope"], ["demo", "extra"]], ids=str)
def test_usage__wrong__exits_with_2_and_points_to_help(arguments: list[str]) -> None:
    result = _run(*arguments)

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

    result = _run(*arguments)

    assert (result.exit_code, result.stdout) == (CONFIGURATION, "")
    assert result.stderr.splitlines() == [
        "The configuration is not valid (.env.example documents each variable):",
        "  SOURCE_PROJECTS: must be a table or view, e.g. public.my_view",
        "  CLICKHOUSE_URL: must start with https:// or http:// or chdb://",
    ]


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize("command", ["all", "pre", "post", "status", "dry-run"])
def test_migrate__nothing_configured__exits_with_4_and_says_what_to_set(command: str) -> None:
    result = _run("migrate", command)

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

    result = _run("migrate", command)

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

    values = _table(_run("doctor").stdout, "Configuration")

    assert values["IDENTITIES_INDEX"] == ["from-file"]
    assert values["IDENTITY_CAPTURE_CONCURRENCY"] == ["1"]


def _table(output: str, title: str) -> dict[str, list[str]]:
    """The rows under a title: the first cell with text, to the cells after it."""
    lines = output.split(title, 1)[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    end = next((number for number, line in enumerate(lines) if line.startswith("└")), None)
    count = len([line for line in lines[:end] if line.startswith("│")])
    return {row[0] if len(row) == 2 else row[1]: row[1:] if len(row) == 2 else row[2:] for row in rows[:count]}


def test_doctor__product_is_whole__exits_with_0(product: Product, tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    result = _run("doctor")

    findings = _table(result.stdout, "Findings")
    version = product.clickhouse.scalar("SELECT version()")
    assert findings == {
        "Postgres": ["answers", "", ""],
        "migrations of postgres": ["all applied", "", ""],
        "source contract": [f"all {len(contract.COLUMNS)} relations fit", "", ""],
        "ClickHouse": [f"answers, version {version}", "", ""],
        "migrations of clickhouse": ["all applied", "", ""],
        "landing zone": ["can be written", "", ""],
        "DynamoDB": [f"table {product.table} answers, about 0 items", "", ""],
        "DynamoDB index": [f"index {product.settings.identities_index} holds all that is read", "", ""],
        "DAGSTER_HOME": [f"{os.environ['DAGSTER_HOME']} has a dagster.yaml", "", ""],
        "Dagster storage": ["answers", "", ""],
    }
    assert (result.exit_code, result.stdout.splitlines()[-1], result.stderr) == (DONE, "All is well.", "")
    assert _password(product) not in result.output
    assert _table(result.stdout, "Configuration") == {
        name: [value or "not set"] for name, value in product.settings.masked().items()
    }


def test_doctor__empty_source__lists_the_gaps_the_flows_they_turn_off_and_the_repairs(empty_product: Product) -> None:
    empty_product.execute("DROP SCHEMA public CASCADE")

    result = _run("doctor")

    gaps = {k: v for k, v in _table(result.stdout, "Findings").items() if k.startswith("source ")}
    assert gaps == {
        f"source {relation}": [
            "is absent",
            ", ".join(flow for flow, relations in contract.FLOWS.items() if relation in relations),
            f"create it, or point SOURCE_{relation.upper()} at a view that has {', '.join(columns)}",
        ]
        for relation, columns in contract.COLUMNS.items()
    }
    assert result.exit_code == GAPS
    assert result.stdout.splitlines()[-1] == "There are gaps; see the repairs above."


def test_doctor__column_is_missing__names_it(product: Product) -> None:
    product.execute("ALTER TABLE segments DROP COLUMN rules")

    result = _run("doctor")

    assert _table(result.stdout, "Findings")["source segments"] == [
        "lacks rules",
        "identities, segments",
        "create it, or point SOURCE_SEGMENTS at a view that has rules",
    ]
    assert result.exit_code == GAPS


def test_doctor__columns_of_other_types__are_named_with_the_repair(product: Product) -> None:
    product.execute("ALTER TABLE conversations ALTER COLUMN team_id TYPE numeric")
    product.execute("ALTER TABLE feature_flags ALTER COLUMN enabled DROP DEFAULT, ALTER COLUMN enabled TYPE text")

    result = _run("doctor")

    findings = _table(result.stdout, "Findings")
    assert findings["source conversations"] == [
        "team_id is numeric, an integer is needed",
        "reporting",
        "point SOURCE_CONVERSATIONS at a view: analytics-pipeline doctor --views",
    ]
    assert findings["types of feature_flags"][0].startswith("enabled is text: read strictly")
    assert result.exit_code == GAPS


def test_doctor__views__prints_statements_and_nothing_else(product: Product) -> None:
    assert (_run("doctor", "--views").stdout, _run("doctor", "--views").exit_code) == (
        "-- Nothing is named or typed otherwise: no view is needed.\n",
        DONE,
    )
    product.execute("ALTER TABLE conversations ALTER COLUMN team_id TYPE numeric")

    result = _run("doctor", "--views")

    assert result.exit_code == GAPS
    assert result.stdout.splitlines()[:3] == [
        "CREATE SCHEMA IF NOT EXISTS analytics_views;",
        "",
        'CREATE VIEW "analytics_views"."conversations" AS SELECT',
    ]


def test_doctor__postgres_is_too_old__says_what_that_stops(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "OLDEST_POSTGRES", 99)

    result = _run("doctor")

    state, stops, repair = _table(result.stdout, "Findings")["Postgres"]
    assert result.exit_code == GAPS
    assert state.startswith("answers, but is version ")
    assert (stops, repair) == (
        "reporting, ai_usage",
        "reading days from it needs version 99 or newer: move it, or copy it to a newer server",
    )


@pytest.mark.usefixtures("nothing_set")
def test_doctor__nothing_configured__lists_every_store(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run("doctor")

    assert _table(result.stdout, "Findings") == {
        "Postgres": ["not configured", "every flow", "set DATABASE_URL"],
        "ClickHouse": ["not configured", "every flow", "set CLICKHOUSE_URL"],
        "landing zone": ["not configured", "identities, segments", "set LANDING_URL"],
        "DynamoDB": ["not configured", "identities, segments", "set IDENTITIES_TABLE"],
        "DAGSTER_HOME": [
            "not set",
            "every flow",
            'set DAGSTER_HOME to a directory of its own, then mkdir -p "$DAGSTER_HOME" && cp dagster.yaml'
            ' "$DAGSTER_HOME/"',
        ],
        "Dagster storage": ["not configured", "every flow", "set DAGSTER_POSTGRES_URL"],
    }
    assert result.exit_code == GAPS


def test_doctor__every_store_is_broken__says_how_and_shows_no_secret(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for name, value in {
        "DATABASE_URL": "postgresql://user:S3CRET@127.0.0.1:1/product",
        "DAGSTER_POSTGRES_URL": "postgresql://user:S3CRET@127.0.0.1:1/dagster",
        "CLICKHOUSE_URL": "http://user:S3CRET@127.0.0.1:1/analytics",
        "LANDING_URL": (tmp_path / "file" / "landing").as_uri(),
        "DAGSTER_HOME": str(tmp_path / "file"),
        "AWS_SECRET_ACCESS_KEY": "S3CRET",
    }.items():
        monkeypatch.setenv(name, value)

    result = _run("doctor")

    findings = _table(result.stdout, "Findings")
    assert {subject: turns_off for subject, (_, turns_off, _) in findings.items()} == {
        "Postgres": "every flow",
        "ClickHouse": "every flow",
        "landing zone": "identities, segments",
        "DynamoDB": "identities, segments",
        "DAGSTER_HOME": "every flow",
        "Dagster storage": "every flow",
    }
    assert findings["Dagster storage"][0].startswith(
        "Postgres at postgresql://127.0.0.1:1/dagster: the server does not answer. Check DAGSTER_POSTGRES_URL"
    )
    assert findings["Postgres"][0].startswith(
        "Postgres at postgresql://127.0.0.1:1/product: the server does not answer"
    )
    assert findings["landing zone"][2].startswith("correct LANDING_URL, or create it: ")
    assert "S3CRET" not in result.output
    assert result.exit_code == GAPS


def test_doctor__landing_directory_does_not_exist__is_a_finding_and_is_not_created(
    product: Product, tmp_path: Path
) -> None:
    directory = tmp_path / "landing"

    result = _run("doctor")

    assert _table(result.stdout, "Findings")["landing zone"] == [
        f"the directory {directory} does not exist",
        "identities, segments",
        f"correct LANDING_URL, or create it: mkdir -p {directory}",
    ]
    assert not directory.exists()


@pytest.mark.parametrize(
    ("value", "state"),
    [("relative", "relative is not absolute, and Dagster refuses it"), ("", "not set")],
)
def test_doctor__dagster_home_cannot_be_used__says_why(
    product: Product, monkeypatch: pytest.MonkeyPatch, value: str, state: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", value)

    assert _table(_run("doctor").stdout, "Findings")["DAGSTER_HOME"][0] == state


def test_doctor__dagster_home_without_dagster_yaml__says_how_to_get_it(
    product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    assert _table(_run("doctor").stdout, "Findings")["DAGSTER_HOME"] == [
        f"{tmp_path} has no dagster.yaml",
        "every flow",
        'mkdir -p "$DAGSTER_HOME" && cp dagster.yaml "$DAGSTER_HOME/"',
    ]


@pytest.mark.parametrize(("enabled", "state"), [(True, "is on"), (False, "off, and an export needs it")])
def test_doctor__export_reader__looks_at_point_in_time_recovery(
    product: Product, monkeypatch: pytest.MonkeyPatch, enabled: bool, state: str
) -> None:
    monkeypatch.setenv("IDENTITY_READER", "export")
    monkeypatch.setenv("LANDING_URL", "s3://bucket/prefix")
    boto3.client("dynamodb").update_continuous_backups(
        TableName=product.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": enabled}
    )

    found = _table(_run("doctor").stdout, "Findings")["DynamoDB export"]

    assert found[0].endswith(state)
    assert bool(found[2]) is not enabled


def test_doctor__index_holds_only_keys__is_a_finding(product: Product) -> None:
    product.recreate_identities_table({"ProjectionType": "KEYS_ONLY"})

    state, turns_off, repair = _table(_run("doctor").stdout, "Findings")["DynamoDB index"]

    assert "does not hold django_id, identity_traits, system_traits (its projection is KEYS_ONLY)" in state
    assert turns_off == "identities, segments"
    assert repair == "set IDENTITIES_INDEX to an index with the projection ALL, or set IDENTITY_READER=export"


def test_doctor__narrow_terminal__cuts_nothing_off(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    shown = "".join(_run("doctor").stdout.split()).replace("│", "")

    assert "…" not in shown
    assert "mkdir" in shown


@pytest.mark.parametrize(
    ("missing", "subject"), [("AWS_DEFAULT_REGION", "DynamoDB"), ("AWS_SECRET_ACCESS_KEY", "landing zone")]
)
def test_doctor__aws_environment_is_incomplete__is_a_finding(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str, subject: str
) -> None:
    monkeypatch.setenv("LANDING_URL", "s3://no-such-bucket/prefix")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.delenv(missing)
    if missing == "AWS_SECRET_ACCESS_KEY":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")

    result = _run("doctor")

    assert _table(result.stdout, "Findings")[subject][1] == "identities, segments"
    assert result.exit_code == GAPS


def test_doctor__texts_that_look_like_markup__are_shown_as_they_are(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    markup = "[/red][bold]text[/]"
    monkeypatch.setenv("IDENTITIES_TABLE", markup)

    result = _run("doctor")

    assert _table(result.stdout, "Configuration")["IDENTITIES_TABLE"] == [markup]
    assert markup in _table(result.stdout, "Findings")["DynamoDB"][0]


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

    doctor, status, dry_run = _run("doctor"), _run("migrate", "status"), _run("migrate", "dry-run")

    findings = _table(doctor.stdout, "Findings")
    assert findings["migrations of postgres"][1:] == ["every flow", "analytics-pipeline migrate all"]
    assert findings["migrations of clickhouse"][0].startswith("001_identities.sql pending, ")
    assert (doctor.exit_code, status.exit_code, dry_run.exit_code) == (GAPS, GAPS, DONE)
    assert _migrations(status.stdout) == _migrations(dry_run.stdout)
    assert _migrations(status.stdout) == [(m.store, m.phase, m.name, "pending") for m in everything]
    assert _content(product) == before

    applied = _run("migrate", "all")
    assert applied.exit_code == DONE
    assert _migrations(applied.stdout) == [(m.store, m.phase, m.name, "applied") for m in everything]

    again = _run("migrate", "all")
    assert (again.exit_code, again.stdout.strip()) == (DONE, "Everything is applied already.")
    status, dry_run = _run("migrate", "status"), _run("migrate", "dry-run")
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

    pre, between, post = _run("migrate", "pre"), _run("migrate", "status"), _run("migrate", "post")

    assert [code.exit_code for code in (pre, between, post)] == [DONE, GAPS, DONE]
    assert _migrations(pre.stdout) + _migrations(post.stdout) == [
        (m.store, m.phase, m.name, "applied") for m in everything
    ]
    assert {row[1] for row in _migrations(pre.stdout)} == {"pre"}


def test_migrate__another_is_running__exits_with_1_and_says_so(product: Product) -> None:
    with product.postgres.lease("migrations"):
        result = _run("migrate", "all")

    assert result.exit_code == FAILED
    assert result.stderr.endswith(
        "Error: another run is working on migrations and was left to it; try again when it has ended\n"
    )


def test_migrate__applied_script_was_edited__exits_with_1_and_status_with_3(product: Product) -> None:
    product.clickhouse.execute(
        "ALTER TABLE schema_versions_pre UPDATE md5 = 'x' WHERE version = 1 SETTINGS mutations_sync = 2"
    )

    result, status = _run("migrate", "all"), _run("migrate", "status")

    assert (result.exit_code, status.exit_code) == (FAILED, GAPS)
    assert "md5 is not equal, Migration version is 1" in result.stderr
    assert ("clickhouse", "pre", "001_identities.sql", "md5-mismatch") in _migrations(status.stdout)


def test_demo__database_of_somebody_else__is_refused_with_1_and_left_alone(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stack of the test session runs already; the stores in it are the test's.
    monkeypatch.setattr(demo_module, "start_with_progress", lambda *_: dict(os.environ))
    before = (_content(product), product.execute("SELECT * FROM organisations"))

    result = _run("demo", "--home", str(product.settings.analytics_home))

    assert result.exit_code == FAILED
    assert "has 1 organisations that are not the demo's; nothing was written" in " ".join(result.stderr.split())
    assert (_content(product), product.execute("SELECT * FROM organisations")) == before
