"""`analytics-pipeline doctor`: gaps first, each with the flows that it stops and its repair."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from click.testing import Result

from analytics_pipeline.api import tokens
from analytics_pipeline.cli import doctor as doctor_module
from analytics_pipeline.config import FLOWS, Settings
from analytics_pipeline.flows import contract
from tests.cli.commands import DONE, GAPS, run
from tests.product import Product
from tests.thorough import rarely

pytestmark = pytest.mark.usefixtures("elsewhere")


def findings_of(result: Result) -> dict[str, list[str]]:
    """What was looked at, to its state, the flows that it turns off and the repair."""
    found = json.loads(result.stdout)["findings"]
    return {one["subject"]: [one["state"], _flows(one["turns_off"]), one["repair"]] for one in found}


def _flows(names: list[str]) -> str:
    return "every flow" if names == list(FLOWS) else ", ".join(names)


def _password(product: Product) -> str:
    assert product.settings.clickhouse_url is not None
    return str(urlsplit(product.settings.clickhouse_url.get_secret_value()).password)


def test_doctor__product_is_whole__exits_with_0(
    product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "landing").mkdir()
    monkeypatch.setenv("EVENT_PRIVACY_KEY", "k" * 32)
    tokens.create(product.postgres, "web", "ingest", organisation_id=1)
    result = run("doctor", "--json", "--timeout", "60")

    findings = findings_of(result)
    version = product.clickhouse.scalar("SELECT version()")
    disks, parts = findings.pop("ClickHouse disks"), findings.pop("ClickHouse parts")
    assert re.fullmatch(r"[\d.]+ % \(\S+ \w+ of \S+ \w+\) of the disks of \w+ are free", disks[0])
    assert re.fullmatch(r"\w+ has \d of 1,000 parts in the partition \S+, and \d of 100,000 in all", parts[0])
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
        "ingestion": ["tokens may send events of organisation 1", "", ""],
    }
    assert (result.exit_code, result.stderr) == (DONE, "")
    assert _password(product) not in result.output
    assert json.loads(result.stdout)["configuration"] == Settings.load().masked()
    # Nothing but the one line that matters.
    assert (
        run("doctor", "--timeout", "60").stdout
        == "All is well (13 looked at; --all shows each, and the configuration).\n"
    )


def test_doctor__empty_source__lists_the_gaps_the_flows_they_turn_off_and_the_repairs(empty_product: Product) -> None:
    empty_product.execute("DROP SCHEMA public CASCADE")

    result = run("doctor", "--json", "--timeout", "60")

    gaps = {k: v for k, v in findings_of(result).items() if k.startswith("source ")}
    assert gaps == {
        f"source {relation}": [
            "is absent",
            _flows([flow for flow, relations in contract.FLOWS.items() if relation in relations]),
            f"create it, or point SOURCE_{relation.upper()} at a view that has {', '.join(columns)}",
        ]
        for relation, columns in contract.COLUMNS.items()
    }
    assert result.exit_code == GAPS


def test_doctor__column_is_missing__names_it(product: Product) -> None:
    product.execute("ALTER TABLE segments DROP COLUMN rules")

    result = run("doctor", "--json", "--timeout", "60")

    assert findings_of(result)["source segments"] == [
        "lacks rules",
        "identities, segments",
        "create it, or point SOURCE_SEGMENTS at a view that has rules",
    ]
    assert result.exit_code == GAPS


def test_doctor__columns_of_other_types__are_named_with_the_repair(product: Product) -> None:
    product.execute("ALTER TABLE conversations ALTER COLUMN team_id TYPE numeric")
    product.execute("ALTER TABLE feature_flags ALTER COLUMN enabled DROP DEFAULT, ALTER COLUMN enabled TYPE text")

    result = run("doctor", "--json", "--timeout", "60")

    findings = findings_of(result)
    assert findings["source conversations"] == [
        "team_id is numeric, an integer is needed",
        "reporting",
        "point SOURCE_CONVERSATIONS at a view: analytics-pipeline doctor --views",
    ]
    assert findings["types of feature_flags"][0].startswith("enabled is text: read strictly")
    assert result.exit_code == GAPS


def test_doctor__views__prints_statements_and_nothing_else(product: Product) -> None:
    assert (run("doctor", "--views").stdout, run("doctor", "--views").exit_code) == (
        "-- Nothing is named or typed otherwise: no view is needed.\n",
        DONE,
    )
    product.execute("ALTER TABLE conversations ALTER COLUMN team_id TYPE numeric")

    result = run("doctor", "--views")

    assert result.exit_code == GAPS
    assert result.stdout.splitlines()[:3] == [
        "CREATE SCHEMA IF NOT EXISTS analytics_views;",
        "",
        'CREATE VIEW "analytics_views"."conversations" AS SELECT',
    ]


def test_doctor__postgres_is_too_old__says_what_that_stops(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "OLDEST_POSTGRES", 99)

    result = run("doctor", "--json", "--timeout", "60")

    state, stops, repair = findings_of(result)["Postgres"]
    assert result.exit_code == GAPS
    assert state.startswith("answers, but is version ")
    assert (stops, repair) == (
        "reporting, ai_usage",
        "reading days from it needs version 99 or newer: move it, or copy it to a newer server",
    )


@pytest.mark.usefixtures("nothing_set")
def test_doctor__nothing_configured__lists_every_store(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("doctor", "--json", "--timeout", "60")

    assert findings_of(result) == {
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

    result = run("doctor", "--json", "--timeout", "60")

    findings = findings_of(result)
    assert {subject: turns_off for subject, (_, turns_off, _) in findings.items()} == {
        "Postgres": "every flow",
        "ClickHouse": "every flow",
        "landing zone": "identities, segments",
        "DynamoDB": "identities, segments",
        "DAGSTER_HOME": "every flow",
        "Dagster storage": "every flow",
    }
    assert findings["Dagster storage"][0].startswith(
        "Postgres at postgresql://127.0.0.1:1/dagster: the server does not answer"
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

    assert findings_of(run("doctor", "--json", "--timeout", "60"))["landing zone"] == [
        f"the directory {directory} does not exist",
        "identities, segments",
        f"correct LANDING_URL, or create it: mkdir -p {directory}",
    ]
    assert not directory.exists()


@pytest.mark.parametrize(
    ("value", "state"),
    [("relative", "relative is not absolute, and Dagster refuses it"), *rarely(("", "not set"))],
)
def test_doctor__dagster_home_cannot_be_used__says_why(
    product: Product, monkeypatch: pytest.MonkeyPatch, value: str, state: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", value)

    assert findings_of(run("doctor", "--json", "--timeout", "60"))["DAGSTER_HOME"][0] == state


def test_doctor__dagster_home_without_dagster_yaml__says_how_to_get_it(
    product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    assert findings_of(run("doctor", "--json", "--timeout", "60"))["DAGSTER_HOME"] == [
        f"{tmp_path} has no dagster.yaml",
        "every flow",
        'mkdir -p "$DAGSTER_HOME" && cp dagster.yaml "$DAGSTER_HOME/"',
    ]


@pytest.mark.parametrize(("enabled", "state"), [*rarely((True, "is on")), (False, "off, and an export needs it")])
def test_doctor__export_reader__looks_at_point_in_time_recovery(
    product: Product, monkeypatch: pytest.MonkeyPatch, enabled: bool, state: str
) -> None:
    monkeypatch.setenv("IDENTITY_READER", "export")
    monkeypatch.setenv("LANDING_URL", "s3://bucket/prefix")
    boto3.client("dynamodb").update_continuous_backups(
        TableName=product.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": enabled}
    )

    found = findings_of(run("doctor", "--json", "--timeout", "60"))["DynamoDB export"]

    assert found[0].endswith(state)
    assert bool(found[2]) is not enabled


def test_doctor__index_holds_only_keys__is_a_finding(product: Product) -> None:
    product.recreate_identities_table({"ProjectionType": "KEYS_ONLY"})

    state, turns_off, repair = findings_of(run("doctor", "--json", "--timeout", "60"))["DynamoDB index"]

    assert "does not hold django_id, identity_traits, system_traits (its projection is KEYS_ONLY)" in state
    assert turns_off == "identities, segments"
    assert repair == "set IDENTITIES_INDEX to an index with the projection ALL, or set IDENTITY_READER=export"


@pytest.mark.slow
def test_doctor__narrow_terminal__cuts_nothing_off(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    lines = run("doctor", "--all", "--timeout", "60").stdout.splitlines()

    assert [line for line in lines if "…" in line] == []
    # A command stays on one line, to be copied.
    landing = product.settings.masked()["LANDING_URL"].removeprefix("file://")
    assert f"    repair: correct LANDING_URL, or create it: mkdir -p {landing}" in lines
    assert max(len(line) for line in lines if line.startswith("│")) <= 80


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

    result = run("doctor", "--json", "--timeout", "60")

    assert findings_of(result)[subject][1] == "identities, segments"
    assert result.exit_code == GAPS


def test_doctor__texts_that_look_like_markup__are_shown_as_they_are(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    markup = "[/red][bold]text[/]"
    monkeypatch.setenv("IDENTITIES_TABLE", markup)

    result = run("doctor", "--all", "--timeout", "60")

    assert f"IDENTITIES_TABLE │ {markup}" in " ".join(result.stdout.split())


def test_doctor__too_little_room__is_a_gap_that_stops_what_writes(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARD_FREE_DISK_PERCENT", "100")
    empty_product.clickhouse.insert_rows(
        "reporting_events", ["id", "created_at"], [[1, datetime(2026, 1, 1, tzinfo=timezone.utc)]]
    )
    empty_product.clickhouse.execute("ALTER TABLE reporting_events MODIFY SETTING parts_to_delay_insert = 1")

    findings = findings_of(run("doctor", "--json", "--timeout", "60"))

    writers = "identities, segments, reporting, ai_usage, product_events"
    assert [findings[one][1] for one in ("ClickHouse disks", "ClickHouse parts")] == [writers] * 2
    assert findings["ClickHouse disks"][0].endswith("less than the 100 % of GUARD_FREE_DISK_PERCENT")
    assert findings["ClickHouse parts"] == [
        "reporting_events has 1 of 1 parts in the partition 20260101, and 1 of 100,000 in all, more than the 80 % of"
        " GUARD_PARTS_PERCENT",
        writers,
        "wait for merges: look at system.merges",
    ]


def test_doctor__gap__comes_first_and_what_is_well_is_not_listed(
    product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "landing").mkdir()
    monkeypatch.delenv("IDENTITIES_TABLE")
    monkeypatch.setenv("SOURCE_ORGANIZATIONS", "orgs")

    result = run("doctor", "--timeout", "60")

    assert result.stdout.splitlines() == [
        "✗ DynamoDB: not configured",
        "    turns off: identities, segments",
        "    repair: set IDENTITIES_TABLE",
        "! ingestion: no token may send events: whoever sends some is refused",
        "    repair: analytics-pipeline token create NAME --scope ingest --organisation ID",
        "! SOURCE_ORGANIZATIONS: is set, but nothing reads it",
        "    repair: did you mean SOURCE_ORGANISATIONS? Rename it",
        "1 gap; 10 of 13 are well; --all shows each, and the configuration.",
    ]
    assert result.exit_code == GAPS


def test_doctor__flows_that_are_not_wanted__are_not_missing(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDENTITIES_TABLE", "LANDING_URL"):
        monkeypatch.delenv(name)
    product.execute("DROP TABLE segments, ai_duo_chat_events")
    before = run("doctor", "--timeout", "60")
    monkeypatch.setenv("FLOWS", "reporting")

    result = run("doctor", "--timeout", "60")

    assert (before.exit_code, before.stdout.count("✗")) == (GAPS, 4)
    assert (result.exit_code, result.stdout.startswith("All is well (")) == (DONE, True)


def test_doctor__variables_that_are_nearly_ours__are_warned_of(
    product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "landing").mkdir()
    for name in ("SOURCE_ORGANIZATIONS", "DATABSE_URL", "LANDING_URI", "SOURCE_DATE_EPOCH", "CLICKHOUSE_HOST", "FLOW"):
        monkeypatch.setenv(name, "x")

    result = run("doctor", "--json", "--timeout", "60")

    found = {subject: repair for subject, (state, _, repair) in findings_of(result).items() if "nothing reads" in state}
    assert found == {
        "SOURCE_ORGANIZATIONS": "did you mean SOURCE_ORGANISATIONS? Rename it",
        "DATABSE_URL": "did you mean DATABASE_URL? Rename it",
        "LANDING_URI": "did you mean LANDING_URL? Rename it",
        "FLOW": "did you mean FLOWS? Rename it",
    }
    assert result.exit_code == DONE


def test_doctor__role_that_does_not_see_other_sessions_or_all_rows__is_warned_with_the_repair(
    product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "landing").mkdir()
    role = f"blind_{os.getpid()}"
    database = product.execute("SELECT current_database()")[0][0]
    product.execute(f"CREATE ROLE {role} LOGIN")
    product.execute(f"GRANT ALL ON DATABASE {database} TO {role}")
    for schema in ("public", "analytics_pipeline"):
        product.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        product.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}")
    assert product.settings.database_url is not None
    monkeypatch.setenv(
        "DATABASE_URL", product.settings.database_url.get_secret_value().replace("postgres@", f"{role}@")
    )
    product.execute("ALTER TABLE accounts ENABLE ROW LEVEL SECURITY")
    try:
        blind = run("doctor", "--json", "--timeout", "60")
        product.execute(f"ALTER ROLE {role} BYPASSRLS")
        product.execute(f"GRANT pg_read_all_stats TO {role}")
        seeing = run("doctor", "--json", "--timeout", "60")
    finally:
        product.execute(f"DROP OWNED BY {role}")
        product.execute(f"DROP ROLE {role}")

    repair = f"GRANT pg_read_all_stats TO {role} (used by reporting and ai_usage)"
    assert findings_of(blind)["Postgres pg_stat_activity"][1:] == ["", repair]
    bypass = f'ALTER ROLE "{role}" BYPASSRLS, or a policy that shows it all rows of accounts'
    assert findings_of(blind)["rows of accounts"][1:] == ["", bypass]
    assert {"Postgres pg_stat_activity", "rows of accounts"}.isdisjoint(findings_of(seeing))
    assert (blind.exit_code, seeing.exit_code) == (DONE, DONE)


def test_doctor__servers_that_never_answer__are_told_within_its_timeout(tmp_path: Path) -> None:
    with ExitStack() as held:
        ports = [held.enter_context(_silent_server()) for _ in range(3)]
        aws = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_S3")
        silent = {
            "DATABASE_URL": f"postgresql://user@127.0.0.1:{ports[0]}/product",
            "DAGSTER_POSTGRES_URL": f"postgresql://user@127.0.0.1:{ports[0]}/dagster",
            "CLICKHOUSE_URL": f"http://127.0.0.1:{ports[1]}/analytics",
            "LANDING_URL": "s3://bucket/prefix",
            "IDENTITIES_TABLE": "identities",
            "DAGSTER_HOME": "",
            **dict.fromkeys(aws, f"http://127.0.0.1:{ports[2]}"),
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"), "x"),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1"),
        }
        # Where a server is away, the clients' own warnings would be told as well.
        nothing, without = _timed_doctor({**dict.fromkeys(silent, ""), "CLICKHOUSE_URL": "http://127.0.0.1:1/x"})
        shown, took = _timed_doctor(silent)

    told = [line.partition(":")[0] for line in shown.splitlines() if "no answer within 3 s" in line]
    assert told == ["✗ Postgres", "✗ ClickHouse", "✗ landing zone", "✗ DynamoDB", "✗ Dagster storage"]
    assert (nothing.count("✗"), shown.count("✗")) == (6, 6)
    # Five seconds with the start of the program, which a busy machine makes longer.
    assert took < 5 + without


def _timed_doctor(variables: Mapping[str, str]) -> tuple[str, float]:
    began = time.monotonic()
    script = "from analytics_pipeline.cli import main; main()"
    command = [sys.executable, "-c", script, "doctor"]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (GAPS, "")
    return done.stdout, time.monotonic() - began


@contextmanager
def _silent_server() -> Iterator[int]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]
