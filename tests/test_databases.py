"""Databases that go from test to test: the next one finds nothing of the one before."""

import time
from collections.abc import Mapping

import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from tests.databases import Databases

_ROWS = "SELECT table, sum(rows) FROM system.parts WHERE database = currentDatabase() AND active GROUP BY table"


def _asked(addresses: Mapping[str, str], statement: str, *changes: str) -> list[tuple[object, ...]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in addresses.items():
            patch.setenv(name, value)
        with connect(Settings.load(), Tag("tests", "look")) as clickhouse:
            for change in changes:
                clickhouse.execute(change)
            return list(clickhouse.query(statement))


@pytest.mark.parametrize(
    ("changes", "is_lent_again"),
    [
        (("INSERT INTO duo_chat_events (id) VALUES (1)",), True),
        (("INSERT INTO duo_chat_events (id) VALUES (1)", "TRUNCATE TABLE duo_chat_events"), True),
        (("CREATE TABLE left_over (id UInt8) ENGINE = MergeTree ORDER BY id",), False),
        (("ALTER TABLE duo_chat_events ADD COLUMN more UInt8",), False),
        (("DROP VIEW segment_counts_latest",), False),
        (("TRUNCATE TABLE schema_versions_pre",), False),
    ],
    ids=["rows", "rows-removed", "table", "column", "view", "migrations"],
)
def test_database__changed_by_a_test__is_as_new_for_the_next(
    environment: Mapping[str, str], stores: Databases, changes: tuple[str, ...], is_lent_again: bool
) -> None:
    with stores.lent() as addresses:
        new = (_asked(addresses, "SHOW TABLES"), _asked(addresses, _ROWS))
        _asked(addresses, "SELECT 1", *changes)

    with stores.lent() as again:
        assert (_asked(again, "SHOW TABLES"), _asked(again, _ROWS)) == new
        assert (again["CLICKHOUSE_URL"] == addresses["CLICKHOUSE_URL"]) is is_lent_again
    assert again["DATABASE_URL"] != addresses["DATABASE_URL"]


def test_database__altered_by_a_later_test__is_lent_to_no_other(
    environment: Mapping[str, str], stores: Databases
) -> None:
    deadline = time.monotonic() + 30
    while not stores.free or stores.free[-1].stamps is None:
        assert time.monotonic() < deadline
        with stores.lent():
            pass
    with stores.lent() as addresses:
        _asked(addresses, "SELECT 1", "ALTER TABLE duo_chat_events MODIFY SETTING parts_to_delay_insert = 1")

    with stores.lent() as again:
        assert again["CLICKHOUSE_URL"] != addresses["CLICKHOUSE_URL"]
