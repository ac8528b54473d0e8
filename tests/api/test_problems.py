"""Problems: what callers and logs are told of an exception."""

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from analytics_pipeline.api.problems import told


def test_log__of_a_store_that_shows_a_value__has_the_place_without_the_value(caplog: pytest.LogCaptureFixture) -> None:
    refused = DatabaseError("Code: 72. DB::Exception: Cannot parse 'ada@example.com' as UInt64")
    try:
        raise refused
    except DatabaseError as error:
        found = told(error)

    assert found.kind.slug == "unavailable"
    assert "ClickHouse error 72" in caplog.text
    assert "test_problems.py" in caplog.text
    assert "ada@" not in caplog.text
