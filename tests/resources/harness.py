"""What tests on a real Postgres share."""

import time

from analytics_pipeline.resources.postgres import Postgres


def store_rows(store: Postgres, count: int) -> None:
    """A table `t` whose column `a` counts to `count`."""
    with store.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT a FROM generate_series(1, %s) AS a", [count])


def wait_until_alone(store: Postgres) -> None:
    """Until nobody else is connected to the database."""
    deadline = time.monotonic() + 10
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while store.query(others) != [(0,)]:
        assert time.monotonic() < deadline, "a connection was left behind"
        time.sleep(0.02)
