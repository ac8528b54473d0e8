"""How a capture's identities get into a staging table: one way for each format of the landing zone."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Protocol

from analytics_pipeline.flows.identities.units import unit_of
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import Manifest

logger = logging.getLogger(__name__)

COLUMNS = (
    "snapshot_date",
    "project_id",
    "environment_id",
    "identifier",
    "identity_key",
    "traits",
    "structured_traits",
    "traits_format",
    "inserted_at",
)
# In files of an earlier version a trait key "a.b" may stand beside a trait "a" with a key "b". To ClickHouse they are
# one path, and it would refuse the whole file.
JSON_SETTINGS = {"type_json_skip_duplicated_paths": 1}


@dataclass(frozen=True)
class EnvironmentCapture:
    """An environment and the committed capture that holds its identities, alone or with those of others."""

    environment: Environment
    manifest: Manifest


class Stager(Protocol):
    """Puts environments, captured in one format at one time, into a staging table."""

    def stage(self, staging: str, batch: Sequence[EnvironmentCapture]) -> dict[str, int]:
        """Insert the batch; returns how many rows each environment must have now, by key.

        Raises:
            EnvironmentsRefused: a smaller batch could be staged.
        """
        ...


@dataclass(frozen=True)
class RowFileStager:
    """Captures of rows that are mapped already, one unit for each environment: streamed as they are."""

    clickhouse: ClickHouse
    landing: LandingZone
    day: date

    def stage(self, staging: str, batch: Sequence[EnvironmentCapture]) -> dict[str, int]:
        for capture in batch:
            self._insert(staging, capture)
        return {capture.environment.key: capture.manifest.rows for capture in batch}

    def _insert(self, staging: str, capture: EnvironmentCapture) -> None:
        environment = capture.environment
        clickhouse = self.clickhouse.tagged(
            "load", organisation_id=environment.organisation_id, project_id=environment.project_id
        )
        unit = unit_of(self.day, environment.key)
        for file in capture.manifest.files:
            body = partial(self.landing.read, unit, file)
            clickhouse.insert_stream(
                staging, COLUMNS, body, fmt="JSONEachRow", compression="zstd", settings=JSON_SETTINGS
            )
        logger.info("environment %s: %s identities staged", environment.id, f"{capture.manifest.rows:,}")


def staged_rows(clickhouse: ClickHouse, staging: str) -> dict[str, int]:
    """How many identities of each environment a staging table holds."""
    rows = clickhouse.query(f"SELECT environment_id, count() FROM {quoted(staging)} FINAL GROUP BY environment_id")
    return dict(rows)
