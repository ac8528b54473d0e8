"""Simulated time: Postgres tells the same shifted time as the processes of the pipeline do.

A schema before `pg_catalog` in the database's search path holds `now()`, `clock_timestamp()` and `pg_stat_activity` as
they are at the shifted time, so what the pipeline asks is what it always asks.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone

import psycopg
from psycopg import sql

SCHEMA = "simulated"
_MILLISECOND = timedelta(milliseconds=1)


@dataclass
class Clock:
    """The simulated time, which goes as fast as ours from where it was last set."""

    connection: psycopg.Connection
    shift: timedelta = timedelta(0)
    last: datetime = field(default=datetime(1970, 1, 1, tzinfo=timezone.utc))

    def set(self, moment: datetime) -> None:
        """It is that moment now (UTC)."""
        self.shift = moment - datetime.now(timezone.utc)
        self.connection.execute("UPDATE simulated.clock SET shift = %s", [self.shift])

    def forward(self, by: timedelta) -> None:
        self.set(self.now() + by)

    def now(self) -> datetime:
        """A moment of UTC, another one each time that it is asked, also in milliseconds."""
        moment = datetime.now(timezone.utc) + self.shift
        self.last = max(moment, self.last + _MILLISECOND)
        return self.last

    @property
    def today(self) -> date:
        return (datetime.now(timezone.utc) + self.shift).date()

    def began(self, pid: int) -> None:
        """A transaction of that session begins now, and stays that old when time passes."""
        statement = (
            "INSERT INTO simulated.sessions VALUES (%s, %s) ON CONFLICT (pid) DO UPDATE SET since = excluded.since"
        )
        self.connection.execute(statement, [pid, self.now()])


def install(connection: psycopg.Connection) -> None:
    """Make the database one of simulated time; sessions that are opened later live in it."""
    connection.execute(_SCHEMA)
    columns = connection.execute(_COLUMNS).fetchall()
    shown = sql.SQL(", ").join(
        sql.SQL(_STARTED) if column == "xact_start" else sql.SQL("activity.{}").format(sql.Identifier(column))
        for (column,) in columns
    )
    connection.execute(sql.SQL(_ACTIVITY).format(columns=shown))
    for table, column in connection.execute(_DEFAULTS).fetchall():
        alter = "ALTER TABLE {} ALTER COLUMN {} SET DEFAULT simulated.now()"
        connection.execute(sql.SQL(alter).format(sql.SQL(table), sql.Identifier(column)))
    database = sql.Identifier(connection.info.dbname)
    path = "ALTER DATABASE {} SET search_path = simulated, pg_catalog, public"
    connection.execute(sql.SQL(path).format(database))


_SCHEMA = """
    CREATE SCHEMA simulated;
    CREATE TABLE simulated.clock (shift interval NOT NULL);
    INSERT INTO simulated.clock VALUES (interval '0');
    CREATE TABLE simulated.sessions (pid integer PRIMARY KEY, since timestamptz NOT NULL);
    CREATE FUNCTION simulated.now() RETURNS timestamptz STABLE LANGUAGE sql
        AS 'SELECT pg_catalog.now() + shift FROM simulated.clock';
    CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql
        AS 'SELECT pg_catalog.clock_timestamp() + shift FROM simulated.clock';
"""

_COLUMNS = """
    SELECT attname FROM pg_catalog.pg_attribute
    WHERE attrelid = 'pg_catalog.pg_stat_activity'::regclass AND attnum > 0 ORDER BY attnum
"""

_STARTED = """
    CASE WHEN activity.xact_start IS NULL THEN NULL
        ELSE coalesce(session.since, activity.xact_start + (SELECT shift FROM simulated.clock)) END AS xact_start
"""

_ACTIVITY = """
    CREATE VIEW simulated.pg_stat_activity AS
    SELECT {columns} FROM pg_catalog.pg_stat_activity AS activity
    LEFT JOIN simulated.sessions AS session USING (pid)
"""

_DEFAULTS = """
    SELECT quote_ident(table_schema) || '.' || quote_ident(table_name), column_name FROM information_schema.columns
    WHERE column_default LIKE '%now()%' AND table_schema IN ('public', 'analytics_pipeline')
"""
