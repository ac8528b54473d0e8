"""Every setting of the pipeline, read from the environment and validated once.

`Settings.load()` reports all mistakes at once and never echoes a value that may hold a secret.
`.env.example` documents each variable for operators.
"""

import os
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from analytics_pipeline import addresses, secret_files
from analytics_pipeline.setting_types import FLOWS as FLOWS
from analytics_pipeline.setting_types import (
    ClassPath,
    ClickHouseUrl,
    ClusterName,
    Days,
    EventPrivacy,
    ExportLabel,
    FirstDay,
    Flows,
    LandingUrl,
    Percent,
    PostgresUrl,
    RelationName,
    WebhookUrl,
    WebUrl,
)
from analytics_pipeline.setting_types import FlowName as FlowName
from analytics_pipeline.sink_addresses import SINKS, SinkAddress, parse_sinks

T = TypeVar("T")
_BEGINS_WITH = {"segments": "identities"}
_OPTIONS = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class ConfigurationError(Exception):
    """The environment does not describe a pipeline that can run.

    `problems` holds one `(variable, reason)` pair for each mistake.
    """

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        lines = [f"  {variable}: {reason}" for variable, reason in problems]
        super().__init__("\n".join(["The configuration is not valid (.env.example documents each variable):", *lines]))


class NotConfigured(Exception):
    """A store that the work needs has no address: the work is skipped, nothing fails.

    `reason` is the status that readers see, e.g. `clickhouse_not_configured`.
    """

    def __init__(self, store: str, variable: str) -> None:
        self.reason = f"{store}_not_configured"
        super().__init__(f"{variable} is not set")


class AccessRefused(ConnectionError):
    """A store answers and refuses, or its address cannot be read: asking again changes nothing."""


class _Environment(BaseSettings):
    model_config = _OPTIONS

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment and the files that it names alone count: one place to look when a value surprises."""
        return init_settings, env_settings

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        stripped = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
        return {name: value for name, value in stripped.items() if value != ""}


class SourceRelations(_Environment):
    """The relations of the application's Postgres that the pipeline reads, each renamed by `SOURCE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="SOURCE_", **_OPTIONS)

    organisations: RelationName = "organisations"
    projects: RelationName = "projects"
    environments: RelationName = "environments"
    segments: RelationName = "segments"
    feature_flags: RelationName = "feature_flags"
    accounts: RelationName = "accounts"
    conversations: RelationName = "conversations"
    reporting_events: RelationName = "reporting_events"
    application_settings: RelationName = "application_settings"
    ai_duo_chat_events: RelationName = "ai_duo_chat_events"
    ai_code_suggestion_events: RelationName = "ai_code_suggestion_events"
    event_logs: RelationName = "event_logs"
    event_logs_export_allowlist: RelationName = "event_logs_export_allowlist"


class Settings(_Environment):
    """The whole configuration. A store whose variable is unset is not configured: its flows are skipped."""

    analytics_home: Path = Path(".analytics")
    analytics_start_date: FirstDay = date(2026, 1, 1)
    # Flows whose data begin on another day than the rest.
    identities_start_date: FirstDay | None = None
    reporting_start_date: FirstDay | None = None
    ai_usage_start_date: FirstDay | None = None
    product_events_start_date: FirstDay | None = None
    flows: Flows = FLOWS

    clickhouse_url: ClickHouseUrl | None = None
    clickhouse_cluster: ClusterName | None = None
    clickhouse_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600

    database_url: PostgresUrl | None = None
    ledger_database_url: PostgresUrl | None = None
    copy_lock_seconds: Annotated[int, Field(ge=1, le=3_600)] = 60
    guard_free_disk_percent: Percent = 5
    guard_parts_percent: Percent = 80
    guard_replica_lag_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    dagster_postgres_url: PostgresUrl | None = None
    landing_url: LandingUrl | None = None
    # Unset: captures are kept for ever, since nobody can make them again.
    landing_retention_days: Days | None = None
    dead_letter_retention_days: Days = 90
    run_retention_days: Days = 90

    identities_table: str | None = None
    identities_index: str = "environment_api_key-identifier-index"
    identity_reader: Literal["query", "export"] = "query"
    identity_capture_concurrency: Annotated[int, Field(ge=1, le=64)] = 8
    # At 0 no tick of the schedule could ever capture a day that has closed.
    identity_capture_grace_hours: Annotated[int, Field(ge=1, le=23)] = 6
    identity_snapshot_retention_days: Days = 30

    export_usage_data_enabled: bool = False
    export_usage_data_interval_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    export_site_id: ExportLabel | None = None
    export_deploy_type: ExportLabel | None = None

    event_retention_days: Days = 90
    event_recompress_after_days: Days = 7
    # Members of events that are treated otherwise than by default.
    event_privacy: EventPrivacy = ()
    # Of one token.
    event_rate_per_minute: Annotated[int, Field(ge=100, le=1_000_000_000)] = 3_000_000
    event_privacy_key: Annotated[SecretStr, Field(min_length=16)] | None = None

    # What the links of shared pages are signed with.
    dashboard_secret: Annotated[SecretStr, Field(min_length=16)] | None = None
    dashboard_url: WebUrl | None = None
    dagster_ui_url: WebUrl | None = None
    # Of each caller of the read API.
    api_requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    api_requests_per_day: Annotated[int, Field(ge=1, le=1_000_000_000)] = 100_000

    feature_flag_provider: ClassPath | None = None
    alert_webhook_url: WebhookUrl | None = None

    # Whether an https:// sink may have an address that is not public.
    export_allow_private_addresses: bool = False

    # Never read from the environment as a whole: variables SOURCES and SINKS are somebody else's.
    sources: Annotated[SourceRelations, NoDecode] = Field(default_factory=SourceRelations)
    sinks: Annotated[tuple[SinkAddress, ...], NoDecode] = ()

    @classmethod
    def load(cls) -> "Settings":
        """Read and validate the environment.

        Raises:
            ConfigurationError: with every mistake at once.
        """
        return _of_environment(tuple(os.environ.items()))

    def start_of(self, flow: str) -> date:
        """The first day that the flow has a partition for; segments begin with the identities that they count."""
        own = getattr(self, f"{_BEGINS_WITH.get(flow, flow)}_start_date", None)
        return own or self.analytics_start_date

    def masked(self) -> dict[str, str]:
        """Each variable's name and value without credentials, in declaration order; unset ones are ''."""
        nested = ("sources", "sinks")
        values = {name.upper(): getattr(self, name) for name in type(self).model_fields if name not in nested}
        values |= {SINKS: " ".join(map(str, self.sinks))}
        values |= {f"SOURCE_{name.upper()}": value for name, value in self.sources}
        shown = {name: addresses.shown(value) for name, value in values.items()}
        # The path of a webhook is its password; a key is nothing but one.
        secrets = ("alert_webhook_url", "event_privacy_key", "dashboard_secret")
        return shown | {name.upper(): "set, not shown" for name in secrets if getattr(self, name)}


@lru_cache(maxsize=1)
def _of_environment(_: tuple[tuple[str, str], ...]) -> Settings:
    """The settings of the environment, which is the argument: a run of three assets asks 30 times, for 3 ms each."""
    secrets, secret_problems = secret_files.read(os.environ)
    given: dict[str, Any] = {name.lower(): value for name, value in secrets.items() if name != SINKS}
    sources, source_problems = _attempt(SourceRelations)
    sinks, sink_problems = parse_sinks({**os.environ, **secrets})
    given |= {"sources": sources or SourceRelations.model_construct(), "sinks": sinks}
    settings, problems = _attempt(lambda: Settings(**given))
    problems = secret_problems + source_problems + problems + sink_problems
    problems += list(_inconsistencies(settings)) if settings else []
    if settings is None or problems:
        raise ConfigurationError(problems)
    return settings


def _attempt(build: Callable[[], T]) -> tuple[T | None, list[tuple[str, str]]]:
    try:
        return build(), []
    except ValidationError as error:
        prefix = "SOURCE_" if error.title == SourceRelations.__name__ else ""
        return None, [
            (prefix + str(problem["loc"][0]).upper(), problem["msg"].removeprefix("Value error, "))
            for problem in error.errors(include_input=False, include_url=False)
        ]


def _inconsistencies(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.ledger_database_url and not settings.database_url:
        yield "DATABASE_URL", "must be set when LEDGER_DATABASE_URL is: it is the source"
    if settings.export_usage_data_enabled and not settings.export_site_id:
        yield "EXPORT_SITE_ID", "must be set when EXPORT_USAGE_DATA_ENABLED is: each record says where it comes from"
    if settings.identities_table and not settings.landing_url:
        yield "LANDING_URL", "must be set when IDENTITIES_TABLE is: captured identities are kept there"
    kept = settings.landing_retention_days
    if kept is not None and kept < settings.identity_snapshot_retention_days:
        least = "must be at least IDENTITY_SNAPSHOT_RETENTION_DAYS: snapshots are rebuilt from captures"
        yield "LANDING_RETENTION_DAYS", least
    if settings.identity_reader == "export" and not (settings.landing_url or "").startswith("s3://"):
        yield "IDENTITY_READER", "export needs a LANDING_URL of the form s3://bucket/prefix: DynamoDB writes only there"
