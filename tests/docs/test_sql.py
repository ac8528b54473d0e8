"""Every query of the documentation runs, on the engine that its fence names; those of a guide find what they say."""

import re
from typing import Any

import psycopg
import pytest

from analytics_pipeline.resources.postgres import Postgres
from tests.docs.pages import statements, to_run
from tests.product import Product, today


def _run_in_postgres(store: Postgres, statement: str) -> None:
    """Run the statement and undo what it did. `analytics` is the pages' name for the pipeline's user."""
    with psycopg.connect(store.url) as connection:
        connection.execute("CREATE ROLE analytics")
        connection.execute("DELETE FROM feature_flags")
        connection.execute(statement.encode())
        connection.rollback()


def test_statements__for_clickhouse__run(product: Product) -> None:
    product.clickhouse.execute("SYSTEM FLUSH LOGS")
    found = [statement for block in to_run("sql clickhouse") for statement in statements(block)]

    for statement in found:
        product.clickhouse.query(statement)

    assert len(found) > 10


def test_statements__for_postgres__run(product: Product) -> None:
    found = [statement for block in to_run("sql postgres") for statement in statements(block)]

    for statement in found:
        _run_in_postgres(product.postgres, statement)

    assert len(found) > 7


@pytest.mark.parametrize("statement", ["SELECT no_such_column FROM identities", "SELECT 1 FROM no_such_table"])
def test_statement__that_is_wrong__does_not_run(product: Product, statement: str) -> None:
    with pytest.raises(Exception, match="no_such"):
        product.clickhouse.query(statement)
    with pytest.raises(psycopg.Error, match=r"no_such|identities"):
        _run_in_postgres(product.postgres, statement)


def _statement(comment: str) -> str:
    """The statement under the comment that begins so."""
    found = [
        statement
        for block in to_run("sql clickhouse", "sql postgres")
        for statement in statements(block)
        if re.search(rf"^-- {re.escape(comment)}", statement, re.MULTILINE)
    ]
    assert len(found) == 1, (comment, len(found))
    return found[0]


def _column(rows: list[tuple[Any, ...]], number: int) -> list[Any]:
    return [row[number] for row in rows]


def test_guide__asked_of_a_product_that_has_everything__finds_what_it_says(shop: Product) -> None:
    assert shop.history() == {(1, 100): (1, "counted"), (2, 100): (1, "fallback"), (3, 100): (None, "failed")}
    clickhouse = shop.clickhouse
    clickhouse.execute("SYSTEM FLUSH LOGS")

    # A fallback is a right number: neither query is about it.
    assert _column(shop.execute(_statement("Current counts that are not current")), 1) == [3]
    assert _column(clickhouse.query(_statement("Segments without an answer")), 1) == [3]
    assert _column(shop.execute(_statement("How each environment's load went")), 3) == ["completed"]
    assert shop.execute(_statement("What is not loaded")) == []
    assert shop.execute(_statement("Projects whose last count failed")) == []
    assert _column(shop.execute(_statement("Documents that could not be mapped")), 2) == [1]
    assert clickhouse.query(_statement("Rows by day and environment")) == [(today(), "env-key-100", 2)]
    assert _column(clickhouse.query(_statement("Days on disk")), 0) == [today().isoformat()]
    flows = set(_column(clickhouse.query(_statement("By flow, step, organisation and project")), 0))
    assert {"identities", "segments", "reporting", "ai_usage"} <= flows
