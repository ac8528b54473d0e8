"""How long ClickHouse keeps rows: the tables' TTLs follow the settings."""

from collections.abc import Mapping

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted

# An event may be a day ahead of the moment at which its id is taken, and an id must be known as long as its event.
IDS_LONGER_DAYS = 2


def apply_retention(clickhouse: ClickHouse, settings: Settings) -> None:
    """Give the tables the TTLs of the settings; rows already past them go with the next merges."""
    for table, ttl in wanted(settings).items():
        definition = clickhouse.scalar(
            "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
            table=table,
        )
        if f"TTL {ttl} SETTINGS" not in definition:
            clickhouse.execute(
                f"ALTER TABLE {quoted(table)}{clickhouse.on_cluster} MODIFY TTL {ttl}"
                " SETTINGS materialize_ttl_after_modify = 0"
            )


def wanted(settings: Settings) -> Mapping[str, str]:
    """The TTL of each table that forgets, as ClickHouse itself writes it."""
    events = settings.event_retention_days
    recompressed = f"toDate(timestamp) + toIntervalDay({settings.event_recompress_after_days})"
    return {
        "identities": f"snapshot_date + toIntervalDay({settings.identity_snapshot_retention_days})",
        "analytics_events": (f"{recompressed} RECOMPRESS CODEC(ZSTD(6)), toDate(timestamp) + toIntervalDay({events})"),
        "analytics_event_ids": f"toDate(claimed_at) + toIntervalDay({events + IDS_LONGER_DAYS})",
    }
