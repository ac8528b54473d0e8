"""Steps of an erasure: each looks what one place holds of the subject, and removes it. All may be done again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Literal, TypeAlias

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.erasure.target import Target
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.postgres import Postgres

Action: TypeAlias = Literal["removed", "blanked", "taken out", "computed again"]
# Whoever works for longer than this is broken. A run of the export takes four minutes.
PATIENCE = timedelta(minutes=10)


@dataclass(frozen=True)
class Stores:
    """All that an erasure works on. `landing` is None where there is none."""

    settings: Settings
    postgres: Postgres
    clickhouse: ClickHouse
    landing: LandingZone | None
    run_id: str


@dataclass(frozen=True)
class Found:
    """Rows of a place that name the subject, and the days (UTC) of it that change."""

    rows: int
    days: tuple[date, ...] = ()


@dataclass(frozen=True)
class Step:
    """One place, e.g. `clickhouse.identities`. `do` takes all days that are not done with.

    `is_sure`: nobody can have written behind it, so that one look is enough.
    """

    place: str
    action: Action
    look: Callable[[], Found]
    do: Callable[[Sequence[date]], None]
    is_sure: bool = False


@dataclass(frozen=True)
class Work:
    """One target in these stores."""

    stores: Stores
    target: Target

    def wait_for(self, *leases: str) -> None:
        """Wait until who holds these leases has ended; whoever comes after knows that the subject is forgotten."""
        for lease in leases:
            with self.stores.postgres.lease(lease, patience=PATIENCE):
                pass


def near_days() -> tuple[date, ...]:
    """The days that somebody may be writing for the first time."""
    today = datetime.now(timezone.utc).date()
    return (today - timedelta(days=1), today)
