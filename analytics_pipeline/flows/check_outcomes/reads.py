"""Reads of the ledger `check_outcomes`: what the asset checks of flows last came to."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from analytics_pipeline.flows.check_outcomes.ledger import Outcome as Outcome
from analytics_pipeline.flows.check_outcomes.ledger import Severity as Severity
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file


@dataclass(frozen=True)
class CheckState:
    """An asset check over all days that it has looked at. It fails while one of them does.

    `severity` is that of its failures. `failing_days` of it fail, from `first_failing_day` to `last_failing_day`, which
    are None when it looks at everything that there is, whichever day. `compared` and `found` are those of its latest
    look, at `checked_at` (UTC) by the run `run_id` of Dagster, which shows what was found. `reason` says why the latest
    look found nothing out.
    """

    flow: str
    asset: str
    check: str
    outcome: Outcome
    severity: Severity
    failing_days: int
    first_failing_day: date | None
    last_failing_day: date | None
    failing_since: datetime | None
    compared: int
    found: int
    reason: str | None
    checked_at: datetime
    run_id: str


@dataclass(frozen=True)
class CheckOutcome:
    """The latest outcome of an asset check for a day (UTC; of rollups, of the account's zone).

    `day` None: it looks at everything that there is. `compared` are things of all days that were looked at together,
    `found` those of this day that are wrong.
    """

    flow: str
    asset: str
    check: str
    day: date | None
    outcome: Outcome
    severity: Severity
    compared: int
    found: int
    reason: str | None
    failing_since: datetime | None
    checked_at: datetime
    run_id: str

    @property
    def place(self) -> tuple[str, str, date]:
        """Its place among the others."""
        return self.asset, self.check, self.day or date.min


def check_states(postgres: Postgres, flows: Collection[str]) -> list[CheckState]:
    """The checks of these flows that were ever executed, by asset and name."""
    return [CheckState(*row) for row in postgres.query(sql_file(__package__, "states.sql"), flows=[*flows])]


def check_outcomes(
    postgres: Postgres,
    flows: Collection[str],
    outcome: Outcome | None = None,
    after: tuple[str, str, date] | None = None,
    limit: int = 100,
) -> list[CheckOutcome]:
    """The outcomes of these flows by asset, check and day, after that place; `outcome`: only those that are so."""
    asset, name, day = after or ("", "", date.min)
    rows = postgres.query(
        sql_file(__package__, "outcomes.sql"),
        flows=[*flows],
        outcome=outcome,
        asset=asset,
        name=name,
        day=day,
        at_most=limit,
    )
    return [CheckOutcome(*row) for row in rows]
