"""The ledger `check_outcomes`: what each asset check last came to, for each day that it looked at.

An outcome that was good is forgotten before the check looks again and recorded after it, so a process that dies between
the two leaves a check of which nothing is known. An outcome that was bad stays until somebody has looked again.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

from analytics_pipeline.resources.postgres import Connection, Postgres
from analytics_pipeline.resources.sql_files import sql_file

Outcome: TypeAlias = Literal["passed", "failed", "unknown"]
Severity: TypeAlias = Literal["error", "warning"]
# None: everything that there is, whichever day the run is of.
Day: TypeAlias = "date | None"
BEGUN = "the check has begun, and has not ended"


@dataclass(frozen=True)
class Check:
    """An asset check of a flow. `severity` is that of its failures."""

    flow: str
    asset: str
    name: str
    severity: Severity


@dataclass(frozen=True)
class Found:
    """The findings of a check about a day (UTC; of rollups, of the account's zone).

    `found` are the things that are wrong, out of `compared`. `reason` tells why nothing is known.
    """

    day: Day
    outcome: Outcome
    compared: int = 0
    found: int = 0
    reason: str = ""


@dataclass(frozen=True)
class CheckLedger:
    """The rows of one check, written by one run."""

    postgres: Postgres
    check: Check
    run_id: str

    def begin(self, days: Sequence[Day]) -> datetime:
        """Forget that these days are as they should be; returns the moment (UTC), by the clock of Postgres."""
        with self.postgres.ledgers.connect() as connection:
            ((began,),) = connection.execute("SELECT clock_timestamp()").fetchall()
            self._write(connection, began, [Found(day, "unknown", reason=BEGUN) for day in days], keep_failures=True)
        moment: datetime = began
        return moment

    def stop(self, began: datetime, days: Sequence[Day], reason: str) -> None:
        """Note why the look that began then came to nothing. What failed before is failing still."""
        with self.postgres.ledgers.connect() as connection:
            self._write(connection, began, [Found(day, "unknown", reason=reason) for day in days], keep_failures=True)

    def record(self, began: datetime, found: Sequence[Found]) -> None:
        """Record what the look came to that began then. One that began later is not overwritten."""
        with self.postgres.ledgers.connect() as connection:
            self._write(connection, began, found, keep_failures=False)

    def _write(self, ledger: Connection, began: datetime, found: Sequence[Found], *, keep_failures: bool) -> None:
        # In one order, so that two runs do not wait for each other.
        rows = sorted(found, key=lambda one: one.day or date.min)
        ledger.execute(
            sql_file(__package__, "record.sql"),
            {
                **asdict(self.check),
                "run_id": self.run_id,
                "began": began,
                "keep_failures": keep_failures,
                "days": [one.day for one in rows],
                "outcomes": [one.outcome for one in rows],
                "compared": [one.compared for one in rows],
                "found": [one.found for one in rows],
                "reasons": [one.reason for one in rows],
            },
        )


def forget_removed(postgres: Postgres, flows: Collection[str], known: Collection[tuple[str, str]]) -> int:
    """Remove the outcomes of checks of these flows that are not among the known ones, each an asset and a name.

    Returns how many rows went. Nobody would ever look again, so what failed would be failing for ever.
    """
    with postgres.ledgers.connect() as connection:
        return connection.execute(
            _FORGET_REMOVED,
            {
                "flows": [*flows],
                "assets": [asset for asset, _ in known],
                "names": [name for _, name in known],
            },
        ).rowcount


_FORGET_REMOVED = """
    DELETE FROM analytics_pipeline.check_outcomes AS old
    WHERE old.flow = ANY(%(flows)s) AND NOT EXISTS (
        SELECT FROM unnest(%(assets)s::text[], %(names)s::text[]) AS known (asset, check_name)
        WHERE known.asset = old.asset AND known.check_name = old.check_name
    )
"""
