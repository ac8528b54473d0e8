"""The ClickHouse schema: what runs, in which phase, only once; and the tables that other people may query.

The golden files hold the DDL as it would run with and without a cluster. `ON CLUSTER` and the Replicated engines need
ZooKeeper, which no embedded engine has: that variant is compared, never run. After a change of a script, renew them
with `python -m tests.migrations.test_clickhouse_migrations` and read the difference.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from hashlib import md5
from pathlib import Path

import pytest
from clickhouse_migrations.exceptions import MigrationException
from clickhouse_migrations.migration import MigrationStorage

from analytics_pipeline.config import Settings
from analytics_pipeline.migrations import Migration, migrate, status
from analytics_pipeline.migrations import clickhouse as clickhouse_migrations
from analytics_pipeline.migrations.clickhouse import PHASES, rendered
from analytics_pipeline.migrations.postgres import revisions
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import LeaseHeld, Postgres
from tests.migrations.product_event_figures import PRODUCT_EVENT_FIGURES

GOLDEN = Path(__file__).parent / "golden"
# Each script has its line from the change on that brings it; only new lines are added.
LANDED = Path(__file__).parent / "landed.md5"
CLUSTERS: Mapping[str, str | None] = {"single": None, "cluster": "main"}
POSTGRES = [Migration("postgres", "pre", name, "applied") for name in revisions()]
PRE = [Migration("clickhouse", "pre", name, "applied") for name in rendered("pre", None)]
POST = [Migration("clickhouse", "post", name, "applied") for name in rendered("post", None)]
_CHANGES = ("CREATE ", "ALTER ", "DROP ", "EXCHANGE ")


def _golden() -> dict[str, str]:
    return {
        f"{phase}_{name.removesuffix('.sql')}.{kind}.sql": text
        for kind, cluster in CLUSTERS.items()
        for phase in PHASES
        for name, text in rendered(phase, cluster).items()
    }


def test_rendered__with_and_without_cluster__is_what_the_golden_files_hold() -> None:
    assert _golden() == {path.name: path.read_text() for path in GOLDEN.iterdir()}


def test_rendered__with_cluster__every_change_reaches_every_replica() -> None:
    for phase in PHASES:
        for text in rendered(phase, "main`\\").values():
            changes = [line for line in text.splitlines() if line.startswith(_CHANGES)]
            assert changes
            assert all(" ON CLUSTER `main\\`\\\\`" in line for line in changes)
            assert text.count("ENGINE = ") == text.count("ENGINE = Replicated")


def _digests() -> dict[str, str]:
    return {
        f"{phase}/{path.name}": md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        for phase in PHASES
        for path in (Path(clickhouse_migrations.__file__).parent / phase).glob("*.sql")
    }


def _landed() -> dict[str, str]:
    lines = [line.split() for line in LANDED.read_text().splitlines()]
    return {name: digest for digest, name in lines}


def test_scripts__that_stores_may_have__are_as_they_were() -> None:
    """A store that has applied a script refuses to be migrated by another text of it: write a new script instead."""
    assert _landed() == _digests()


def _tables(clickhouse: ClickHouse) -> list[str]:
    rows = clickhouse.query("SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name")
    return [name for (name,) in rows]


def _schemas(store: Postgres) -> list[str]:
    rows = store.query("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$' ORDER BY nspname")
    return [name for (name,) in rows]


def _pending(migrations: list[Migration]) -> list[Migration]:
    return [replace(migration, state="pending") for migration in migrations]


def test_status__empty_stores__lists_everything_as_pending_and_changes_nothing(
    clickhouse: ClickHouse, store: Postgres
) -> None:
    found = status(Settings.load())

    assert found == _pending([*POSTGRES, *PRE, *POST])
    assert (_tables(clickhouse), _schemas(store)) == ([], ["public"])


def test_migrate__twice__the_second_does_nothing(clickhouse: ClickHouse, store: Postgres) -> None:
    heard: list[Migration] = []

    assert migrate(Settings.load(), progress=heard.append) == heard == [*POSTGRES, *PRE, *POST]
    tables = _tables(clickhouse)
    assert tables == sorted([*CONTRACT, *BY_DAY, "schema_versions_post", "schema_versions_pre"])
    versions = clickhouse.query("SELECT * FROM schema_versions_pre ORDER BY version")

    assert migrate(Settings.load()) == []
    assert _tables(clickhouse) == tables
    assert clickhouse.query("SELECT * FROM schema_versions_pre ORDER BY version") == versions
    assert status(Settings.load()) == [*POSTGRES, *PRE, *POST]


@pytest.mark.slow
def test_migrate__phase_by_phase__each_applies_its_own(clickhouse: ClickHouse, store: Postgres) -> None:
    settings = Settings.load()

    assert migrate(settings, ["pre"]) == [*POSTGRES, *PRE]
    assert status(settings) == [*POSTGRES, *PRE, *_pending(POST)]
    assert status(settings, ["post"]) == _pending(POST)
    assert migrate(settings, ["pre"]) == []
    assert migrate(settings, ["post"]) == POST


@pytest.mark.slow
def test_migrate__without_postgres__applies_clickhouse_alone(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")

    assert migrate(Settings.load()) == [*PRE, *POST]
    assert status(Settings.load()) == [*PRE, *POST]


def test_migrate__without_clickhouse__applies_postgres_alone(store: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLICKHOUSE_URL")

    assert migrate(Settings.load()) == POSTGRES
    assert status(Settings.load()) == POSTGRES


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two empty phases of a test's own, in place of ours."""
    for phase in PHASES:
        (tmp_path / phase).mkdir()
    monkeypatch.setattr(clickhouse_migrations, "_storage", lambda phase: MigrationStorage(tmp_path / phase))
    return tmp_path


def _script(scripts: Path, phase: str, name: str, table: str | None = None) -> None:
    text = f"CREATE TABLE {table or name} ${{ON_CLUSTER}} (a UInt8) ENGINE = ${{REPLICATED}}MergeTree ORDER BY a;"
    (scripts / phase / f"{name}.sql").write_text(text)


def test_phases__a_later_pre__never_makes_a_post_look_applied(clickhouse: ClickHouse, scripts: Path) -> None:
    _script(scripts, "pre", "001_a", "a")
    _script(scripts, "post", "001_x", "x")
    clickhouse_migrations.migrate(clickhouse, "pre")
    _script(scripts, "pre", "002_b", "b")
    _script(scripts, "pre", "003_c", "c")
    _script(scripts, "post", "002_y", "y")

    assert clickhouse_migrations.migrate(clickhouse, "pre") == ["002_b.sql", "003_c.sql"]
    assert [s.state for s in clickhouse_migrations.status(clickhouse, "post")] == ["pending", "pending"]
    assert clickhouse_migrations.migrate(clickhouse, "post") == ["001_x.sql", "002_y.sql"]
    assert [(s.name, s.state) for s in clickhouse_migrations.status(clickhouse, "post")] == [
        ("001_x.sql", "applied"),
        ("002_y.sql", "applied"),
    ]


def test_migrate__applied_script_was_edited__is_refused_and_changes_nothing(
    clickhouse: ClickHouse, scripts: Path
) -> None:
    _script(scripts, "pre", "001_a", "a")
    clickhouse_migrations.migrate(clickhouse, "pre")
    _script(scripts, "pre", "001_a", "edited")
    _script(scripts, "pre", "002_b", "b")
    tables = _tables(clickhouse)

    with pytest.raises(MigrationException, match="md5 is not equal, Migration version is 1"):
        clickhouse_migrations.migrate(clickhouse, "pre")

    assert _tables(clickhouse) == tables
    assert [(s.name, s.state) for s in clickhouse_migrations.status(clickhouse, "pre")] == [
        ("001_a.sql", "md5-mismatch"),
        ("002_b.sql", "pending"),
    ]


@pytest.mark.slow
def test_migrate__applied_script_has_gone__is_refused(clickhouse: ClickHouse, scripts: Path) -> None:
    _script(scripts, "pre", "001_a", "a")
    _script(scripts, "pre", "002_b", "b")
    clickhouse_migrations.migrate(clickhouse, "pre")
    (scripts / "pre" / "001_a.sql").unlink()

    with pytest.raises(MigrationException, match="gone missing"):
        clickhouse_migrations.migrate(clickhouse, "pre")
    assert [(s.name, s.state) for s in clickhouse_migrations.status(clickhouse, "pre")] == [
        ("001", "unknown"),
        ("002_b.sql", "applied"),
    ]


def test_migrate__a_script_fails__the_next_run_goes_on_from_it(clickhouse: ClickHouse, scripts: Path) -> None:
    _script(scripts, "pre", "001_a", "a")
    _script(scripts, "pre", "002_b", "a")
    _script(scripts, "pre", "003_c", "c")
    with pytest.raises(Exception, match="already exists"):
        clickhouse_migrations.migrate(clickhouse, "pre")
    assert [s.state for s in clickhouse_migrations.status(clickhouse, "pre")] == ["applied", "pending", "pending"]

    _script(scripts, "pre", "002_b", "b")
    assert clickhouse_migrations.migrate(clickhouse, "pre") == ["002_b.sql", "003_c.sql"]


def test_migrate__every_statement__carries_its_tag(clickhouse: ClickHouse) -> None:
    clickhouse_migrations.migrate(clickhouse, "pre")
    clickhouse_migrations.status(clickhouse, "pre")
    clickhouse.tagged("flush").execute("SYSTEM FLUSH LOGS")

    untagged = clickhouse.query(
        "SELECT query FROM system.query_log WHERE current_database = currentDatabase() AND type = 'QueryFinish'"
        " AND NOT startsWith(log_comment, 'analytics_pipeline:tests:') AND NOT startsWith(query, 'SET ')"
        # What the driver asks when it connects.
        " AND NOT match(query, 'system.settings|^SELECT version()|^SELECT 1 AS check')"
    )
    assert untagged == []


@pytest.mark.slow
def test_migrate__already_under_way__is_refused_and_changes_nothing(clickhouse: ClickHouse, store: Postgres) -> None:
    with store.lease("migrations"), pytest.raises(LeaseHeld, match="another run is working on migrations"):
        migrate(Settings.load())

    assert (_tables(clickhouse), _schemas(store)) == ([], ["public"])


def test_migrate__by_several_at_once__one_does_the_work(clickhouse: ClickHouse, store: Postgres) -> None:
    settings = Settings.load()
    outcomes: list[list[Migration] | str] = []

    def run() -> None:
        try:
            outcomes.append(migrate(settings))
        except LeaseHeld:
            outcomes.append("held")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes.count([*POSTGRES, *PRE, *POST]) == 1
    assert all(outcome in ("held", []) for outcome in outcomes if outcome != [*POSTGRES, *PRE, *POST])
    assert status(settings) == [*POSTGRES, *PRE, *POST]


def test_retention__settings__are_applied_changed_and_kept(
    clickhouse: ClickHouse, store: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for days, recompressed in ((None, None), ("7", "2"), ("7", "2"), ("36500", "36500")):
        if days and recompressed:
            monkeypatch.setenv("IDENTITY_SNAPSHOT_RETENTION_DAYS", days)
            monkeypatch.setenv("EVENT_RETENTION_DAYS", days)
            monkeypatch.setenv("EVENT_RECOMPRESS_AFTER_DAYS", recompressed)
        migrate(Settings.load())
        seen.append(_retention(clickhouse))
    monkeypatch.setenv("IDENTITY_SNAPSHOT_RETENTION_DAYS", "5")
    migrate(Settings.load(), ["post"])

    assert seen == [_ttls(30, 7, 90), _ttls(7, 2, 7), _ttls(7, 2, 7), _ttls(36_500, 36_500, 36_500)]
    assert _retention(clickhouse) == seen[-1]


@pytest.mark.slow
def test_retention__settings_as_they_were__changes_no_table(clickhouse: ClickHouse, store: Postgres) -> None:
    migrate(Settings.load())
    changed = _changed(clickhouse)

    migrate(Settings.load())

    assert _changed(clickhouse) == changed


def _changed(clickhouse: ClickHouse) -> list[tuple[str, datetime]]:
    rows = clickhouse.query("SELECT name, metadata_modification_time FROM system.tables ORDER BY name")
    return [(name, at) for name, at in rows if name in _ttls(0, 0, 0)]


def _ttls(snapshots: int, recompressed: int, events: int) -> dict[str, str]:
    return {
        "identities": f"snapshot_date + toIntervalDay({snapshots})",
        "analytics_events": (
            f"toDate(timestamp) + toIntervalDay({recompressed}) RECOMPRESS CODEC(ZSTD(6)),"
            f" toDate(timestamp) + toIntervalDay({events})"
        ),
        "analytics_event_ids": f"toDate(claimed_at) + toIntervalDay({events + 2})",
    }


def _retention(clickhouse: ClickHouse) -> dict[str, str]:
    rows = clickhouse.query(
        "SELECT name, extract(create_table_query, ' TTL (.+) SETTINGS') FROM system.tables"
        " WHERE database = currentDatabase()"
    )
    return {name: ttl for name, ttl in rows if ttl}


def test_retention__rows_past_it__go_with_the_next_merge(
    clickhouse: ClickHouse, store: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_SNAPSHOT_RETENTION_DAYS", "7")
    migrate(Settings.load())
    today = datetime.now(timezone.utc).date()
    for age in (0, 6, 9):
        _identity(clickhouse, today - timedelta(days=age), "alice")

    clickhouse.execute("OPTIMIZE TABLE identities FINAL")

    assert clickhouse.query("SELECT snapshot_date FROM identities ORDER BY ALL") == [
        (today - timedelta(days=6),),
        (today,),
    ]


def _identity(clickhouse: ClickHouse, day: date, identifier: str) -> None:
    clickhouse.insert_rows(
        "identities",
        ["snapshot_date", "environment_id", "identifier", "inserted_at"],
        [[day, "key", identifier, datetime(2026, 1, 1, tzinfo=timezone.utc)]],
    )


IDENTITIES = {
    "snapshot_date": "Date",
    "project_id": "UInt64",
    "environment_id": "String",
    "identifier": "String",
    "identity_key": "String",
    "traits": "JSON(max_dynamic_paths=64)",
    "structured_traits": "Array(LowCardinality(String))",
    "traits_format": "UInt8",
    "inserted_at": "DateTime64(3, 'UTC')",
    "ingested_at": "DateTime64(3, 'UTC')",
    "source": "LowCardinality(String)",
    "is_deleted": "UInt8",
}
SEGMENT_COUNTS = {
    "date": "Date",
    "organisation_id": "UInt64",
    "project_id": "UInt64",
    "segment_id": "UInt64",
    "environment_id": "UInt64",
    "environment_key": "String",
    "count": "Nullable(UInt64)",
    "status": "Enum8('counted' = 1, 'fallback' = 2, 'failed' = 3)",
    "reason": "String",
    "computed_at": "DateTime64(3, 'UTC')",
}
MOMENT = "DateTime64(6, 'UTC')"
REPORTING_EVENTS = {
    "id": "Int64",
    "name": "LowCardinality(String)",
    "value": "Nullable(Float64)",
    "value_in_business_hours": "Nullable(Float64)",
    "account_id": "Int64",
    "inbox_id": "Nullable(Int64)",
    "user_id": "Nullable(Int64)",
    "conversation_id": "Nullable(Int64)",
    "event_start_time": f"Nullable({MOMENT})",
    "event_end_time": f"Nullable({MOMENT})",
    "created_at": MOMENT,
    "updated_at": f"Nullable({MOMENT})",
}
DAY_BOUNDS = {
    "account_id": "Int64",
    "date": "Date",
    "timezone": "LowCardinality(String)",
    "starts_at": MOMENT,
    "ends_at": MOMENT,
    "computed_at": "DateTime64(3, 'UTC')",
    "is_deleted": "UInt8",
}
ROLLUPS = {
    "account_id": "Int64",
    "date": "Date",
    "dimension_type": "LowCardinality(String)",
    "dimension_id": "Int64",
    "metric": "LowCardinality(String)",
    "count": "Int64",
    "sum_value": "Float64",
    "sum_value_business_hours": "Float64",
    "conversations": "AggregateFunction(groupBitmap, UInt64)",
    "timezone": "LowCardinality(String)",
    "computed_at": "DateTime64(3, 'UTC')",
    "is_deleted": "UInt8",
}
_AI_EVENT = {
    "id": "UInt64",
    "user_id": "UInt64",
    "event": "UInt16",
    "namespace_path": "String",
    "timestamp": "DateTime64(3, 'UTC')",
    "created_at": "Nullable(DateTime64(6, 'UTC'))",
}
_SUGGESTION = {
    **_AI_EVENT,
    "unique_tracking_id": "String",
    "language": "LowCardinality(String)",
    "suggestion_size": "UInt64",
    "branch_name": "String",
    "unreadable": "LowCardinality(String)",
}
AI_USAGE_DAILY = {
    "date": "Date",
    "feature": "LowCardinality(String)",
    "event": "LowCardinality(String)",
    "user_id": "UInt64",
    "namespace_path": "String",
    "language": "LowCardinality(String)",
    "occurrences": "UInt64",
    "suggestion_size_sum": "UInt64",
    "last_at": "DateTime64(3, 'UTC')",
    "computed_at": "DateTime64(3, 'UTC')",
    "is_deleted": "UInt8",
}
EXPORTED_EVENTS = {
    "record_id": "UUID",
    "event_log_id": "UInt64",
    "site_id": "LowCardinality(String)",
    "deploy_type": "LowCardinality(String)",
    "name": "LowCardinality(String)",
    "url": "String",
    "anonymous_user_id": "String",
    "first_source_url": "String",
    "last_source_url": "String",
    "user_id": "UInt64",
    "source": "LowCardinality(String)",
    "timestamp": MOMENT,
    "version": "LowCardinality(String)",
    "feature_flags": "String",
    "cohort_id": "Nullable(Date32)",
    "referrer": "String",
    "public_argument": "String",
    "device_id": "Nullable(String)",
    "insert_id": "Nullable(String)",
    "exported_at": "DateTime64(3, 'UTC')",
}
ANALYTICS_EVENTS = {
    "organisation_id": "UInt64",
    "event_id": "UUID",
    "timestamp": "DateTime64(3, 'UTC')",
    "received_at": "DateTime64(3, 'UTC')",
    "skew_ms": "Nullable(Int64)",
    **dict.fromkeys(("event_type", "name", "service"), "LowCardinality(String)"),
    "user_id": "Nullable(UUID)",
    **dict.fromkeys(("hostname", "environment", "sdk"), "LowCardinality(String)"),
    **dict.fromkeys(("task_id", "project_id", "cocoon_id", "integration_id"), "Nullable(UUID)"),
    "provider": "LowCardinality(String)",
    "success": "Nullable(Bool)",
    "duration_ms": "Nullable(Int64)",
    "duration_seconds": "Nullable(Int64)",
    "exit_code": "Nullable(Int32)",
    "endpoint": "String",
    "method": "LowCardinality(String)",
    "status_code": "Nullable(UInt16)",
    "error_type": "LowCardinality(String)",
    "error_message": "String",
    "data": "JSON(max_dynamic_paths=64)",
}
EVENT_IDS = {
    "organisation_id": "UInt64",
    "id": "UInt128",
    "timestamp": "DateTime64(3, 'UTC')",
    "event_type": "LowCardinality(String)",
    "service": "LowCardinality(String)",
    "claimed_at": "DateTime64(3, 'UTC')",
}
_AI_KEY = "namespace_path, user_id, event, timestamp, id"
_DAILY_KEY = "namespace_path, feature, event, user_id, language, date"
_SENT_KEY = "name, timestamp, record_id"
_FIGURES = ("ReplacingMergeTree(computed_at, is_deleted)", "toYYYYMM(date)")
_EVENTS_KEY = "account_id, name, created_at, id"
_ROLLUPS_KEY = "account_id, metric, dimension_type, dimension_id, date"
# What the tables of figures were before they were kept by month; the next release drops them.
BY_DAY = ("ai_usage_daily_by_day", "reporting_day_bounds_by_day", "reporting_rollups_by_day")
CONTRACT = {
    **{
        name: (columns, "ReplacingMergeTree(computed_at, is_deleted)", "toYYYYMM(date)", key, key)
        for name, (columns, key) in PRODUCT_EVENT_FIGURES.items()
    },
    "identities": (
        IDENTITIES,
        "ReplacingMergeTree(inserted_at, is_deleted)",
        "snapshot_date",
        "environment_id, identifier, snapshot_date",
        "environment_id, identifier",
    ),
    "segment_counts": (
        SEGMENT_COUNTS | {"is_deleted": "UInt8"},
        "ReplacingMergeTree(computed_at, is_deleted)",
        "toYYYYMM(date)",
        "project_id, segment_id, environment_id, date",
        "project_id, segment_id, environment_id, date",
    ),
    "segment_counts_latest": (SEGMENT_COUNTS, "", "", "", ""),
    "reporting_events": (REPORTING_EVENTS, "", "toDate(created_at)", _EVENTS_KEY, _EVENTS_KEY),
    "reporting_day_bounds": (DAY_BOUNDS, *_FIGURES, "account_id, date", "account_id, date"),
    "duo_chat_events": (_AI_EVENT, "", "toDate(timestamp)", _AI_KEY, _AI_KEY),
    "code_suggestion_events": (_SUGGESTION, "", "toDate(timestamp)", _AI_KEY, _AI_KEY),
    "ai_usage_daily": (AI_USAGE_DAILY, *_FIGURES, _DAILY_KEY, _DAILY_KEY),
    "reporting_rollups": (ROLLUPS, *_FIGURES, _ROLLUPS_KEY, _ROLLUPS_KEY),
    "exported_events": (EXPORTED_EVENTS, "ReplacingMergeTree(exported_at)", "toDate(timestamp)", _SENT_KEY, _SENT_KEY),
    "analytics_events": (
        ANALYTICS_EVENTS,
        "ReplacingMergeTree(received_at)",
        "toDate(timestamp)",
        "organisation_id, event_type, service, timestamp, event_id",
        "organisation_id, event_type, service, timestamp, event_id",
    ),
    "analytics_event_ids": (
        EVENT_IDS,
        "ReplacingMergeTree(claimed_at)",
        "toMonday(claimed_at)",
        "organisation_id, id, event_type, service, timestamp",
        "organisation_id, id",
    ),
}


def test_tables__that_others_may_query__are_as_documented(clickhouse: ClickHouse) -> None:
    for phase in PHASES:
        clickhouse_migrations.migrate(clickhouse, phase)

    columns: dict[str, dict[str, str]] = {}
    for table, column, kind in clickhouse.query(
        "SELECT table, name, type FROM system.columns WHERE database = currentDatabase() ORDER BY table, position"
    ):
        columns.setdefault(table, {})[column] = kind
    tables = clickhouse.query(
        "SELECT name, extract(engine_full, '^[A-Za-z]+[(][^)]*[)]'), partition_key, sorting_key, primary_key"
        " FROM system.tables WHERE database = currentDatabase() AND NOT startsWith(name, 'schema_versions')"
        " AND NOT endsWith(name, '_by_day')"
    )

    assert {name: (columns[name], *rest) for name, *rest in tables} == CONTRACT
    assert {name: list(columns[name]) for name in CONTRACT} == {name: list(CONTRACT[name][0]) for name in CONTRACT}


def test_tables__that_others_may_query__say_what_each_column_means(clickhouse: ClickHouse) -> None:
    clickhouse_migrations.migrate(clickhouse, "pre")

    silent = clickhouse.query(
        "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND comment = ''"
        " AND NOT startsWith(table, 'schema_versions')"
    )
    assert silent == []


def test_identities__same_identity_on_many_days__final_shows_each_day(clickhouse: ClickHouse) -> None:
    clickhouse_migrations.migrate(clickhouse, "pre")
    today = datetime.now(timezone.utc).date()
    days = [today - timedelta(days=age) for age in (2, 1, 0)]
    for day in days:
        _identity(clickhouse, day, "alice")
        _identity(clickhouse, day, "alice")

    assert clickhouse.query("SELECT snapshot_date, identifier FROM identities FINAL ORDER BY ALL") == [
        (day, "alice") for day in days
    ]


THIS_MONTH = datetime.now(timezone.utc).date().replace(day=1)
LAST_MONTH = THIS_MONTH - timedelta(days=1)


def test_segment_counts_latest__many_days__shows_the_newest_live_answer_of_each_pair(clickhouse: ClickHouse) -> None:
    for phase in PHASES:
        clickhouse_migrations.migrate(clickhouse, phase)
    columns = ["date", "project_id", "segment_id", "environment_id", "count", "status", "computed_at", "is_deleted"]
    at = datetime.now(timezone.utc).replace(microsecond=0)
    later = at + timedelta(seconds=1)
    clickhouse.insert_rows(
        "segment_counts",
        columns,
        [
            [LAST_MONTH, 1, 1, 1, 5, "counted", at, 0],
            [THIS_MONTH, 1, 1, 1, 6, "counted", at, 0],
            [THIS_MONTH, 1, 1, 1, None, "failed", later, 0],
            [LAST_MONTH, 1, 2, 1, 0, "fallback", at, 0],
            [THIS_MONTH, 1, 2, 1, 9, "counted", at, 0],
            [THIS_MONTH, 1, 2, 1, None, "counted", later, 1],
            [LAST_MONTH.replace(day=1) - timedelta(days=1), 1, 3, 1, 7, "counted", at, 0],
        ],
    )

    rows = clickhouse.query("SELECT date, segment_id, count, status FROM segment_counts_latest ORDER BY segment_id")
    assert rows == [(THIS_MONTH, 1, None, "failed"), (LAST_MONTH, 2, 0, "fallback")]


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for path in GOLDEN.iterdir():
        path.unlink()
    for golden_name, golden_text in _golden().items():
        (GOLDEN / golden_name).write_text(golden_text)
    # What is listed stays as it is listed.
    digests = {**_digests(), **_landed()}
    LANDED.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())))
