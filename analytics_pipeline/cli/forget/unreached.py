"""Places that an erasure cannot reach, in sentences for whoever asked for it."""

from analytics_pipeline.config import Settings


def unreached(settings: Settings) -> list[str]:
    """Places that are not ours to empty, those that are configured by their names."""
    receivers = [sink for sink in settings.sinks if sink.parts.scheme != "clickhouse"]
    exports = [f"receivers of the usage export, which have what was sent before: {', '.join(map(str, receivers))}"]
    return [
        "the product's own stores: while it has them, every run leaves them out again",
        *(exports if receivers else []),
        "backups of Postgres, ClickHouse and the landing zone; after a restore, run forget once more",
        "earlier versions of objects, where the landing zone's bucket keeps versions",
        "parts of ClickHouse that were replaced, for 8 minutes, and rows of Postgres until they are vacuumed",
        "staging tables that a killed run left behind: swept within a day",
        "events that services have not sent yet: they are refused when they come",
        "logs: of the stores, of Dagster's runs, of services",
    ]
