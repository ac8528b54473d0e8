"""Settings come from the environment, fail all at once, and no secret is ever shown."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_pipeline.addresses import without_credentials
from analytics_pipeline.config import ConfigurationError, NotConfigured, Settings, SourceRelations
from analytics_pipeline.sink_addresses import PROJECT, TOPIC

SECRET = "S3CRET"
DEFAULTS = {
    "ANALYTICS_HOME": ".analytics",
    "ANALYTICS_START_DATE": "2026-01-01",
    "IDENTITIES_START_DATE": "",
    "REPORTING_START_DATE": "",
    "AI_USAGE_START_DATE": "",
    "PRODUCT_EVENTS_START_DATE": "",
    "FLOWS": "identities,segments,reporting,ai_usage,usage_export,product_events",
    "CLICKHOUSE_URL": "",
    "CLICKHOUSE_CLUSTER": "",
    "CLICKHOUSE_TIMEOUT_SECONDS": "600",
    "DATABASE_URL": "",
    "LEDGER_DATABASE_URL": "",
    "COPY_LOCK_SECONDS": "60",
    "GUARD_FREE_DISK_PERCENT": "5",
    "GUARD_PARTS_PERCENT": "80",
    "GUARD_REPLICA_LAG_SECONDS": "300",
    "DAGSTER_POSTGRES_URL": "",
    "LANDING_URL": "",
    "LANDING_RETENTION_DAYS": "",
    "DEAD_LETTER_RETENTION_DAYS": "90",
    "RUN_RETENTION_DAYS": "90",
    "IDENTITIES_TABLE": "",
    "IDENTITIES_INDEX": "environment_api_key-identifier-index",
    "IDENTITY_READER": "query",
    "IDENTITY_CAPTURE_CONCURRENCY": "8",
    "IDENTITY_CAPTURE_GRACE_HOURS": "6",
    "IDENTITY_SNAPSHOT_RETENTION_DAYS": "30",
    "EVENT_RETENTION_DAYS": "90",
    "EVENT_RECOMPRESS_AFTER_DAYS": "7",
    "EVENT_PRIVACY": "",
    "EVENT_RATE_PER_MINUTE": "3000000",
    "EVENT_PRIVACY_KEY": "",
    "DASHBOARD_SECRET": "",
    "DASHBOARD_URL": "",
    "DAGSTER_UI_URL": "",
    "API_REQUESTS_PER_MINUTE": "600",
    "API_REQUESTS_PER_DAY": "100000",
    "FEATURE_FLAG_PROVIDER": "",
    "ALERT_WEBHOOK_URL": "",
    "EXPORT_USAGE_DATA_ENABLED": "False",
    "EXPORT_USAGE_DATA_INTERVAL_SECONDS": "60",
    "EXPORT_SITE_ID": "",
    "EXPORT_DEPLOY_TYPE": "",
    "EXPORT_ALLOW_PRIVATE_ADDRESSES": "False",
    "EXPORT_SINKS": "",
    "SOURCE_ORGANISATIONS": "organisations",
    "SOURCE_PROJECTS": "projects",
    "SOURCE_ENVIRONMENTS": "environments",
    "SOURCE_SEGMENTS": "segments",
    "SOURCE_FEATURE_FLAGS": "feature_flags",
    "SOURCE_ACCOUNTS": "accounts",
    "SOURCE_CONVERSATIONS": "conversations",
    "SOURCE_REPORTING_EVENTS": "reporting_events",
    "SOURCE_APPLICATION_SETTINGS": "application_settings",
    "SOURCE_AI_DUO_CHAT_EVENTS": "ai_duo_chat_events",
    "SOURCE_AI_CODE_SUGGESTION_EVENTS": "ai_code_suggestion_events",
    "SOURCE_EVENT_LOGS": "event_logs",
    "SOURCE_EVENT_LOGS_EXPORT_ALLOWLIST": "event_logs_export_allowlist",
}
MUST_NAME_A_DATABASE = "must name a host and a database, e.g. https://user:password@host:8443/analytics"
MUST_NAME_A_POSTGRES = "must name a database, e.g. postgresql://user:password@host:5432/product (/ in it as %2F)"
MUST_BE_A_LANDING_ZONE = "must look like file:///absolute/directory or s3://bucket/prefix"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*DEFAULTS, "SOURCES", "SINKS", TOPIC, PROJECT]:
        monkeypatch.delenv(name, raising=False)


def _problems(**environment: str) -> list[tuple[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(ConfigurationError) as refusal:
            Settings.load()
    assert str(refusal.value).splitlines()[1:] == [f"  {name}: {reason}" for name, reason in refusal.value.problems]
    return refusal.value.problems


def test_load__nothing_set__has_the_documented_defaults() -> None:
    settings = Settings.load()

    assert settings.masked() == DEFAULTS
    assert settings == Settings(
        analytics_home=Path(".analytics"), analytics_start_date=date(2026, 1, 1), sources=SourceRelations()
    )


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
@pytest.mark.parametrize("variable", DEFAULTS)
def test_load__blank_variable__counts_as_unset(monkeypatch: pytest.MonkeyPatch, variable: str, blank: str) -> None:
    monkeypatch.setenv(variable, blank)

    assert Settings.load().masked() == DEFAULTS


def test_load__everything_set__is_taken_and_shown_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    given_and_shown = {
        "ANALYTICS_HOME": ("/srv/analytics", "/srv/analytics"),
        "ANALYTICS_START_DATE": ("2025-02-03", "2025-02-03"),
        "IDENTITIES_START_DATE": ("2025-03-04", "2025-03-04"),
        "REPORTING_START_DATE": ("2024-01-01", "2024-01-01"),
        "AI_USAGE_START_DATE": ("2025-02-03", "2025-02-03"),
        "PRODUCT_EVENTS_START_DATE": ("2025-02-04", "2025-02-04"),
        "FLOWS": (" ai_usage, reporting,", "reporting,ai_usage"),
        "CLICKHOUSE_URL": (f"https://user:{SECRET}@host:8443/analytics", "https://host:8443/analytics"),
        "CLICKHOUSE_CLUSTER": ("main-1.eu", "main-1.eu"),
        "CLICKHOUSE_TIMEOUT_SECONDS": (" 60\n", "60"),
        "DATABASE_URL": (f"postgresql://user:{SECRET}@host/product?sslpassword={SECRET}", "postgresql://host/product"),
        "LEDGER_DATABASE_URL": (f"postgres://user:{SECRET}@host/ledgers", "postgres://host/ledgers"),
        "COPY_LOCK_SECONDS": ("3600", "3600"),
        "GUARD_FREE_DISK_PERCENT": ("0", "0"),
        "GUARD_PARTS_PERCENT": ("100", "100"),
        "GUARD_REPLICA_LAG_SECONDS": ("86400", "86400"),
        "DAGSTER_POSTGRES_URL": (
            f"postgresql+psycopg2://u:{SECRET}@host/dagster",
            "postgresql+psycopg2://host/dagster",
        ),
        "LANDING_URL": ("s3://bucket/prefix/", "s3://bucket/prefix"),
        "LANDING_RETENTION_DAYS": ("36500", "36500"),
        "DEAD_LETTER_RETENTION_DAYS": ("1", "1"),
        "RUN_RETENTION_DAYS": ("1", "1"),
        "IDENTITIES_TABLE": ("identities", "identities"),
        "IDENTITIES_INDEX": ("index", "index"),
        "IDENTITY_READER": ("export", "export"),
        "IDENTITY_CAPTURE_CONCURRENCY": ("1", "1"),
        "IDENTITY_CAPTURE_GRACE_HOURS": ("1", "1"),
        "IDENTITY_SNAPSHOT_RETENTION_DAYS": ("36500", "36500"),
        "EVENT_RETENTION_DAYS": ("36500", "36500"),
        "EVENT_RECOMPRESS_AFTER_DAYS": ("1", "1"),
        "EVENT_PRIVACY": ("custom.name=keep  task_created.command=drop", "custom.name=keep,task_created.command=drop"),
        "EVENT_RATE_PER_MINUTE": ("100", "100"),
        "EVENT_PRIVACY_KEY": (SECRET * 3, "set, not shown"),
        "DASHBOARD_SECRET": (SECRET * 3, "set, not shown"),
        "DASHBOARD_URL": ("https://dashboard.example.com", "https://dashboard.example.com"),
        "DAGSTER_UI_URL": ("http://dagster.example.com", "http://dagster.example.com"),
        "FEATURE_FLAG_PROVIDER": ("my.flags:Provider", "my.flags:Provider"),
        "ALERT_WEBHOOK_URL": (f"https://hooks.example.com/{SECRET}", "set, not shown"),
        "EXPORT_USAGE_DATA_ENABLED": ("true", "True"),
        "EXPORT_USAGE_DATA_INTERVAL_SECONDS": ("1", "1"),
        "EXPORT_SITE_ID": ("site 1", "site 1"),
        "EXPORT_DEPLOY_TYPE": ("kubernetes", "kubernetes"),
        "API_REQUESTS_PER_MINUTE": ("60", "60"),
        "API_REQUESTS_PER_DAY": ("1000", "1000"),
        "EXPORT_ALLOW_PRIVATE_ADDRESSES": ("true", "True"),
        "EXPORT_SINKS": (
            f"own=clickhouse: hook=https://hooks.example.com/{SECRET}?key={SECRET} disk=file:///exports",
            "own=clickhouse: hook=https://hooks.example.com disk=file:///exports",
        ),
        "SOURCE_ORGANISATIONS": ("public.organisations_v", "public.organisations_v"),
        "SOURCE_PROJECTS": ("Projects", "Projects"),
        "SOURCE_ENVIRONMENTS": ("_e1", "_e1"),
        "SOURCE_SEGMENTS": ("a.b", "a.b"),
        "SOURCE_FEATURE_FLAGS": ("flags", "flags"),
        "SOURCE_ACCOUNTS": ("accounts_v", "accounts_v"),
        "SOURCE_CONVERSATIONS": ("c", "c"),
        "SOURCE_REPORTING_EVENTS": ("reporting.events", "reporting.events"),
        "SOURCE_APPLICATION_SETTINGS": ("s", "s"),
        "SOURCE_AI_DUO_CHAT_EVENTS": ("ai.chat", "ai.chat"),
        "SOURCE_AI_CODE_SUGGESTION_EVENTS": ("ai.code", "ai.code"),
        "SOURCE_EVENT_LOGS": ("events", "events"),
        "SOURCE_EVENT_LOGS_EXPORT_ALLOWLIST": ("allowed", "allowed"),
    }
    for name, (value, _) in given_and_shown.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EXPORT_SINK_HOOK_SECRET", SECRET * 3)

    settings = Settings.load()

    assert settings.masked() == {name: shown for name, (_, shown) in given_and_shown.items()}
    assert SECRET not in repr(settings)
    assert settings.clickhouse_url is not None
    assert settings.clickhouse_url.get_secret_value() == given_and_shown["CLICKHOUSE_URL"][0]


@pytest.mark.parametrize(
    ("value", "flows"),
    [
        ("reporting", ("reporting",)),
        ("ai_usage,reporting,reporting", ("reporting", "ai_usage")),
        # Segments are counted in snapshots of identities.
        ("segments", ("identities", "segments")),
        ("", ("identities", "segments", "reporting", "ai_usage", "usage_export", "product_events")),
    ],
)
def test_load__flows__are_those_named_and_what_they_need(
    monkeypatch: pytest.MonkeyPatch, value: str, flows: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FLOWS", value)

    assert Settings.load().flows == flows


@pytest.mark.parametrize("value", ["segment", "reporting,segmets", '["segments"]'])
def test_load__flow_that_is_none__is_refused_with_those_that_are(value: str) -> None:
    assert _problems(FLOWS=value) == [
        (
            "FLOWS",
            "Input should be 'identities', 'segments', 'reporting', 'ai_usage', 'usage_export' or 'product_events'",
        ),
    ]


def test_start_of__flow__is_its_own_day_or_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYTICS_START_DATE", "2026-02-01")
    monkeypatch.setenv("IDENTITIES_START_DATE", "2026-03-01")
    monkeypatch.setenv("REPORTING_START_DATE", "2025-01-01")

    settings = Settings.load()

    assert {flow: settings.start_of(flow) for flow in settings.flows} == {
        "identities": date(2026, 3, 1),
        "segments": date(2026, 3, 1),
        "reporting": date(2025, 1, 1),
        "ai_usage": date(2026, 2, 1),
        "usage_export": date(2026, 2, 1),
        "product_events": date(2026, 2, 1),
    }


def test_load__many_mistakes__are_reported_at_once() -> None:
    problems = _problems(
        SOURCE_PROJECTS="a;drop table x",
        SOURCE_SEGMENTS="a.b.c",
        ANALYTICS_START_DATE="yesterday",
        CLICKHOUSE_URL=f"https://user:{SECRET}@host:8443",
        CLICKHOUSE_CLUSTER="main cluster",
        CLICKHOUSE_TIMEOUT_SECONDS="0",
        DATABASE_URL=f"mysql://user:{SECRET}@host/product",
        LANDING_URL="landing",
        FEATURE_FLAG_PROVIDER="my.flags.Provider",
    )

    assert problems == [
        ("SOURCE_PROJECTS", "must be a table or view, e.g. public.my_view"),
        ("SOURCE_SEGMENTS", "must be a table or view, e.g. public.my_view"),
        ("ANALYTICS_START_DATE", "Input should be a valid date or datetime, input is too short"),
        ("CLICKHOUSE_URL", MUST_NAME_A_DATABASE),
        ("CLICKHOUSE_CLUSTER", "may hold letters, digits, dot, dash and underscore"),
        ("CLICKHOUSE_TIMEOUT_SECONDS", "Input should be greater than or equal to 1"),
        ("DATABASE_URL", "must start with postgresql:// or postgres:// or postgresql+psycopg2://"),
        ("LANDING_URL", "must start with file:// or s3://"),
        ("FEATURE_FLAG_PROVIDER", "must look like package.module:ClassName"),
    ]


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("CLICKHOUSE_URL", f"ftp://u:{SECRET}@host/db", "must start with https:// or http:// or chdb://"),
        ("CLICKHOUSE_URL", f"https:/u:{SECRET}@host/db", "must start with https:// or http:// or chdb://"),
        ("CLICKHOUSE_URL", f"https://u:{SECRET}@host:99999/db", "is not a URL"),
        ("CLICKHOUSE_URL", f"https://u:{SECRET}@[host/db", "is not a URL"),
        ("CLICKHOUSE_URL", f"https://u:1/{SECRET}@host/db", MUST_NAME_A_DATABASE),
        ("CLICKHOUSE_URL", f"https://u:{SECRET}@/db", MUST_NAME_A_DATABASE),
        ("CLICKHOUSE_URL", f"https://u:{SECRET}@host/a/b", MUST_NAME_A_DATABASE),
        ("CLICKHOUSE_URL", f"https://u:{SECRET}@host/a`b", MUST_NAME_A_DATABASE),
        ("CLICKHOUSE_URL", f"https://u:{SECRET}@host/", MUST_NAME_A_DATABASE),
        ("DATABASE_URL", f"postgresql://u:{SECRET}@host/", MUST_NAME_A_POSTGRES),
        ("DATABASE_URL", f"postgresql://u:1/{SECRET}@host/db", MUST_NAME_A_POSTGRES),
        (
            "DATABASE_URL",
            f"postgresql:/u:{SECRET}@host/db",
            "must start with postgresql:// or postgres:// or postgresql+psycopg2://",
        ),
        ("DAGSTER_POSTGRES_URL", f"postgres://u:{SECRET}@host", MUST_NAME_A_POSTGRES),
        ("LANDING_URL", "file:relative", "must start with file:// or s3://"),
        ("LANDING_URL", "file://relative/directory", MUST_BE_A_LANDING_ZONE),
        ("LANDING_URL", "file:///", MUST_BE_A_LANDING_ZONE),
        ("LANDING_URL", "file:///landing?x#y", MUST_BE_A_LANDING_ZONE),
        ("LANDING_URL", "s3://", MUST_BE_A_LANDING_ZONE),
        ("LANDING_URL", "s3:///prefix", MUST_BE_A_LANDING_ZONE),
        ("LANDING_URL", f"s3://key:{SECRET}@bucket/prefix", MUST_BE_A_LANDING_ZONE),
        ("LANDING_URL", f"s3://bucket/prefix?secret={SECRET}", MUST_BE_A_LANDING_ZONE),
        ("CLICKHOUSE_CLUSTER", "main`", "may hold letters, digits, dot, dash and underscore"),
        ("CLICKHOUSE_CLUSTER", "{cluster}", "may hold letters, digits, dot, dash and underscore"),
        ("FEATURE_FLAG_PROVIDER", "flags", "must look like package.module:ClassName"),
        ("FEATURE_FLAG_PROVIDER", "my flags:Provider", "must look like package.module:ClassName"),
        ("IDENTITY_CAPTURE_CONCURRENCY", "65", "Input should be less than or equal to 64"),
        ("IDENTITY_CAPTURE_GRACE_HOURS", "0", "Input should be greater than or equal to 1"),
        ("IDENTITY_CAPTURE_GRACE_HOURS", "24", "Input should be less than or equal to 23"),
        ("IDENTITY_SNAPSHOT_RETENTION_DAYS", "0", "Input should be greater than or equal to 1"),
        ("CLICKHOUSE_TIMEOUT_SECONDS", "ten", "Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_load__value_is_not_valid__is_refused_with_its_reason(variable: str, value: str, reason: str) -> None:
    assert _problems(**{variable: value}) == [(variable, reason)]


@pytest.mark.parametrize(
    "name", ["a;drop table x", 'a"', "a.b.c", ".a", "a.", "a b", "1a", "a-b", "naïve", "a\nb", "a/**/b", "{projects}"]
)
@pytest.mark.parametrize("relation", SourceRelations.model_fields)
def test_load__hostile_relation_name__is_refused(relation: str, name: str) -> None:
    variable = f"SOURCE_{relation.upper()}"

    assert _problems(**{variable: name}) == [(variable, "must be a table or view, e.g. public.my_view")]


def test_load__renamed_relations__are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_PROJECTS", "flagsmith.projects_v")

    assert Settings.load().sources == SourceRelations(projects="flagsmith.projects_v")


@pytest.mark.parametrize("value", ["anything", '{"projects": "a;drop table x"}'])
def test_load__somebody_elses_variable_sources__is_ignored(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SOURCES", value)

    assert Settings.load().masked() == DEFAULTS


def test_load__identities_without_landing_zone__is_refused() -> None:
    assert _problems(IDENTITIES_TABLE="identities", SOURCE_PROJECTS="a b") == [
        ("SOURCE_PROJECTS", "must be a table or view, e.g. public.my_view"),
        ("LANDING_URL", "must be set when IDENTITIES_TABLE is: captured identities are kept there"),
    ]


def test_load__file_dotenv_beside_it__is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("IDENTITIES_INDEX=other\n")
    monkeypatch.chdir(tmp_path)

    assert Settings.load().masked() == DEFAULTS


def test_not_configured__store__names_status_and_variable() -> None:
    error = NotConfigured("clickhouse", "CLICKHOUSE_URL")

    assert (error.reason, str(error)) == ("clickhouse_not_configured", "CLICKHOUSE_URL is not set")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("https://host:8443/analytics", "https://host:8443/analytics"),
        ("https://user:p@ss@host:8443/analytics?secure=1#x", "https://host:8443/analytics"),
        ("https://user:pa/ss@host/analytics", "https://host/analytics"),
        ("https://user:pa?ss@host/analytics", "https://…"),
        ("https://host/analytics?password=p@ss", "https://…"),
        ("postgresql://u:p@h1:1,h2:2/db", "postgresql://h1:1,h2:2/db"),
        ("postgresql:///db?host=/run/postgresql&password=pass", "postgresql:///db"),
        ("http://u:p@[::1]:8123/db", "http://[::1]:8123/db"),
        ("http://u:p@[bad/db", "http://[bad/db"),
        ("user:pass@host/db", "…"),
        ("https:/user:pass@host/db", "…"),
        ("user:pass://word@host/db", "…"),
    ],
)
def test_without_credentials__odd_urls__show_no_more_than_the_place(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


# What ends user, host, path or query for one parser or another, between ordinary text.
_HOSTILE = st.text(alphabet=st.sampled_from("ab1:/?#@[]%&=;\\ é"), max_size=6)
_SCHEMES = st.sampled_from(["https", "http", "chdb", "postgresql", "postgresql+psycopg2", "s3", "file", "ftp"])
_URLS = st.one_of(
    st.builds("{}://{}:{}S3CRET{}@host:8443/db".format, _SCHEMES, _HOSTILE, _HOSTILE, _HOSTILE),
    st.builds("{}://user:{}S3CRET{}@host/db?{}".format, _SCHEMES, _HOSTILE, _HOSTILE, _HOSTILE),
    st.builds("{}://user@host/db?{}password={}S3CRET{}".format, _SCHEMES, _HOSTILE, _HOSTILE, _HOSTILE),
    st.builds("{}://{}host/db#{}S3CRET{}".format, _SCHEMES, _HOSTILE, _HOSTILE, _HOSTILE),
    st.builds("{}:{}S3CRET{}@host/db".format, _SCHEMES, _HOSTILE, _HOSTILE),
)


@settings(deadline=None)
@given(_URLS)
def test_without_credentials__password_of_any_shape__is_never_shown(url: str) -> None:
    assert SECRET not in without_credentials(url)


# What a file:// URL names is a path, whatever it looks like.
@settings(deadline=None)
@given(
    _URLS.filter(lambda url: not url.startswith("file")),
    st.sampled_from(["CLICKHOUSE_URL", "DATABASE_URL", "DAGSTER_POSTGRES_URL", "LANDING_URL"]),
)
def test_load__password_of_any_shape__is_never_shown(url: str, variable: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, url)
        assert SECRET not in _everything_shown()


def _everything_shown() -> str:
    try:
        loaded = Settings.load()
    except ConfigurationError as error:
        return str(error)
    return f"{loaded!r} {loaded} {loaded.masked()}"


def test_load__ledgers_without_a_source__names_what_is_missing() -> None:
    assert _problems(LEDGER_DATABASE_URL=f"postgresql://u:{SECRET}@host/ledgers") == [
        ("DATABASE_URL", "must be set when LEDGER_DATABASE_URL is: it is the source")
    ]


def test_load__export_on_without_a_site__names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPORT_USAGE_DATA_ENABLED", "true")

    with pytest.raises(ConfigurationError, match="EXPORT_SITE_ID: must be set when EXPORT_USAGE_DATA_ENABLED is"):
        Settings.load()
