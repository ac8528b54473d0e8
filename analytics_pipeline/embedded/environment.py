"""The environment that production would export, for engines that run here."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from urllib.request import getproxies_environment

from analytics_pipeline.config import SourceRelations
from analytics_pipeline.embedded import dagster_home, postgres
from analytics_pipeline.embedded.state import write_private

_START_DATES = (
    "ANALYTICS_START_DATE",
    "IDENTITIES_START_DATE",
    "REPORTING_START_DATE",
    "AI_USAGE_START_DATE",
    "PRODUCT_EVENTS_START_DATE",
)
_NOT_THE_PRODUCTS = (
    *_START_DATES,
    "FLOWS",
    "ALERT_WEBHOOK_URL",
    "LEDGER_DATABASE_URL",
    "CLICKHOUSE_CLUSTER",
    "FEATURE_FLAG_PROVIDER",
    "IDENTITIES_INDEX",
    "IDENTITY_READER",
    "EXPORT_USAGE_DATA_ENABLED",
    "EXPORT_USAGE_DATA_INTERVAL_SECONDS",
    "EXPORT_USAGE_DATA_TOPIC_NAME",
    "EXPORT_USAGE_DATA_TOPIC_PROJECT",
    "EXPORT_SITE_ID",
    "EXPORT_DEPLOY_TYPE",
    "EXPORT_SINKS",
    "EXPORT_ALLOW_PRIVATE_ADDRESSES",
    "EVENT_RETENTION_DAYS",
    "EVENT_RECOMPRESS_AFTER_DAYS",
    "EVENT_PRIVACY_KEY",
    "EVENT_PRIVACY",
    "EVENT_RATE_PER_MINUTE",
    "DASHBOARD_URL",
    "DAGSTER_UI_URL",
)
AWS_CONFIG = "aws.config"
_NOTE = "start_dates.json"


def environment(home: Path, addresses: Mapping[str, str], password: str) -> dict[str, str]:
    """The variables with which the pipeline finds the engines at these addresses."""
    clickhouse = addresses["clickhouse"].replace("//", f"//default:{password}@")
    return {
        "ANALYTICS_HOME": str(home),
        "CLICKHOUSE_URL": f"{clickhouse}/analytics",
        # Unset, even where the shell names production's.
        **dict.fromkeys(_NOT_THE_PRODUCTS, ""),
        **{f"SOURCE_{name.upper()}": "" for name in SourceRelations.model_fields},
        **_noted_start_dates(home),
        "DATABASE_URL": postgres.url(addresses["postgres"], "product"),
        "DAGSTER_POSTGRES_URL": postgres.url(addresses["postgres"], "dagster"),
        "LANDING_URL": (home / "landing").as_uri(),
        "IDENTITIES_TABLE": "flagsmith_identities",
        # A service's own variable, as people set it for DynamoDB Local, would win over the general one.
        **dict.fromkeys(("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_S3"), addresses["aws"]),
        "AWS_ACCESS_KEY_ID": "embedded",
        "AWS_SECRET_ACCESS_KEY": "embedded",
        "AWS_DEFAULT_REGION": "eu-west-1",
        # A profile of the shell would be looked for, and the user's files may name other endpoints.
        **dict.fromkeys(("AWS_PROFILE", "AWS_DEFAULT_PROFILE"), "default"),
        **dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), str(home / AWS_CONFIG)),
        "AWS_EC2_METADATA_DISABLED": "true",
        **dagster_home.environment(home / "dagster"),
        **_past_proxies(),
    }


def note_start_dates(home: Path, days: Mapping[str, date]) -> dict[str, str]:
    """Keep where the data of this home begin, for the next command; what was noted before stays.

    `days` are by variable; returns all that are noted.
    """
    noted = {name: day.isoformat() for name, day in days.items()} | _noted_start_dates(home)
    write_private(home / _NOTE, json.dumps(noted))
    return noted


def _noted_start_dates(home: Path) -> dict[str, str]:
    try:
        noted: dict[str, str] = json.loads((home / _NOTE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return noted


def _past_proxies() -> dict[str, str]:
    """Where the network needs a proxy, keep the clients from sending it what is meant for the loopback address."""
    configured = getproxies_environment()
    excepted = configured.get("no", "")
    if not configured or "127.0.0.1" in excepted:
        return {}
    # Some clients read one spelling and some the other.
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(filter(None, (excepted, "127.0.0.1"))))
