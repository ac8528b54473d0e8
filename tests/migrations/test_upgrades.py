"""Stores of other versions: what the first one left is migrated and reads right, what a later one made is left alone.

`first_version/` is what the first version wrote in one day: both schemas with data, as SQL, and its landing zone.
"""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.migrations import NewerSchema, migrate, status
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file
from tests.cli.commands import FAILED, GAPS, run
from tests.product import Product, condition

LEFT = Path(__file__).parent / "first_version"
DAY = date(2026, 11, 27)
PRO, BETA = 1, 2
SNAPSHOT = {
    ("env-key-100", "alice"): {"beta": True, "plan": "pro"},
    ("env-key-100", "bob"): {"plan": "free"},
    ("env-key-101", "carol"): {"note": "2024-01-01T10:00:00Z", "plan": "pro"},
}
COUNTS = {
    (PRO, 100): (1, "counted"),
    (PRO, 101): (1, "counted"),
    (BETA, 100): (1, "counted"),
    (BETA, 101): (0, "counted"),
}
LOADS = {"env-key-100": ("completed", 2), "env-key-101": ("completed", 1)}

# Alice is on another plan, Bob has gone, Dave has come; the rules of BETA are broken, and its last count stays current.
REWRITTEN = (
    {
        ("env-key-100", "alice"): {"plan": "free"},
        ("env-key-100", "dave"): {"beta": "2024-01-01T10:00:00Z", "plan": "pro"},
        ("env-key-101", "carol"): {"note": "2024-01-01T10:00:00Z", "plan": "pro"},
    },
    {(PRO, 100): (1, "counted"), (PRO, 101): (1, "counted"), (BETA, 100): (None, "failed")},
    {(PRO, 100): (1, "counted"), (PRO, 101): (1, "counted"), (BETA, 100): (1, "failed")},
    {"env-key-100": ("completed", 2), "env-key-101": ("completed", 1)},
)


@pytest.fixture
def left(clickhouse: ClickHouse, store: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Product:
    """Stores as the first version left them, not migrated since, and the product that it read."""
    with store.connect() as connection:
        connection.execute(sql_file("analytics_pipeline.demo", "schema.sql"))
        connection.execute((LEFT / "postgres.sql").read_bytes())
    for statement in (LEFT / "clickhouse.sql").read_text().split(";\n\n"):
        # Its rows shall not expire while they are looked at, whenever that is.
        clickhouse.execute(statement.rstrip(";\n").replace("toIntervalDay(30)", "toIntervalDay(36500)"))
    shutil.copytree(LEFT / "landing", tmp_path / "landing")
    monkeypatch.setenv("LANDING_URL", (tmp_path / "landing").as_uri())
    monkeypatch.setenv("IDENTITY_SNAPSHOT_RETENTION_DAYS", "36500")
    product = Product(Settings.load(), clickhouse, "none")
    product.add_organisation()
    product.add_project()
    product.add_environment()
    product.add_environment(101, key="env-key-101", name="Staging")
    product.add_segment(PRO, condition("EQUAL", "plan", "pro"))
    product.add_segment(BETA, condition("IS_SET", "beta", None))
    return product


def _everything(product: Product) -> tuple[object, ...]:
    return product.snapshot(DAY), product.history(DAY), product.current(), product.loads(DAY)


def test_migrate__what_the_first_version_left__reads_as_it_did(left: Product) -> None:
    states = {migration.state for migration in status(left.settings)}

    applied = migrate(left.settings)

    assert states == {"applied", "pending"}
    assert status(left.settings) == [replace(one, state="applied") for one in status(left.settings)]
    assert {"pre", "post"} == {one.phase for one in applied}
    assert _everything(left) == (SNAPSHOT, COUNTS, COUNTS, LOADS)
    assert migrate(left.settings) == []


def test_materialise__after_the_upgrade__rebuilds_the_old_day_from_the_old_capture(left: Product) -> None:
    migrate(left.settings)
    left.clickhouse.execute(f"ALTER TABLE identities DROP PARTITION '{DAY}'")
    left.clickhouse.execute("TRUNCATE TABLE segment_counts")

    done = left.materialise("identity_snapshots", "segment_counts", day=DAY)

    assert done.success
    assert _everything(left) == (SNAPSHOT, COUNTS, COUNTS, LOADS)


def test_pre__first_versions_code_still_runs__its_statements_work_as_before_until_post(left: Product) -> None:
    """`first_version/writes` is what that code sends when it loads an environment and counts its project again."""
    applied = migrate(left.settings, ["pre"])
    assert {one.store for one in applied} == {"clickhouse", "postgres"}

    for _ in range(2):
        _old_code_writes(left)

        assert _everything(left) == REWRITTEN
        assert [[row[:2] for row in left.clickhouse.query(one)] for one in _statements("reads.sql")] == [
            [("env-key-100", 2), ("env-key-101", 1)],
            [("env-key-100", 1), ("env-key-101", 1)],
            [(PRO, 100), (PRO, 101), (BETA, 100)],
        ]
    assert {name for name in left.tables() if name.startswith("staging")} == set()

    migrate(left.settings)
    assert _everything(left) == REWRITTEN


def _old_code_writes(product: Product) -> None:
    for statement in _statements("clickhouse.sql"):
        product.clickhouse.execute(statement)
    for statement in _statements("postgres.sql"):
        product.execute(statement)


def _statements(name: str) -> list[str]:
    return [one.rstrip(";\n") for one in (LEFT / "writes" / name).read_text().split(";\n\n")]


def test_migrate__stores_of_a_later_version__are_refused_by_name_and_left_alone(
    clickhouse: ClickHouse, store: Postgres
) -> None:
    settings = Settings.load()
    migrate(settings, ["pre"])
    with store.connect() as connection:
        connection.execute("UPDATE analytics_pipeline.alembic_version SET version_num = '9999'")
    clickhouse.execute("INSERT INTO schema_versions_pre (version, md5, script) VALUES (999, 'x', 'x')")

    with pytest.raises(NewerSchema) as refusal:
        migrate(settings)
    told = run("migrate", "all")

    assert "does not know postgres's 9999, clickhouse's 999. Nothing was applied." in str(refusal.value)
    assert (told.exit_code, "The schema is newer than this version" in " ".join(told.output.split())) == (FAILED, True)
    assert {one.state for one in status(settings, ["post"])} == {"pending"}
    assert run("migrate", "status").exit_code == GAPS


@pytest.mark.slow
def test_doctor__pre_of_the_next_version_is_applied__warns_and_turns_nothing_off(
    clickhouse: ClickHouse, store: Postgres
) -> None:
    migrate(Settings.load())
    with store.connect() as connection:
        connection.execute("UPDATE analytics_pipeline.alembic_version SET version_num = '9999'")

    said = " ".join(run("doctor").output.split())

    assert "migrations of postgres: 9999 unknown" in said
    assert "repair: deploy the version that applied them" in said
