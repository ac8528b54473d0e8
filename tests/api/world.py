"""A small world with two of every tenant, whose names tell whose a row is, and the application over it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from analytics_pipeline.api.app import create_app
from analytics_pipeline.api.stores import EVERYTHING, Caller, Scope
from analytics_pipeline.flows.check_outcomes.ledger import Check, CheckLedger, Found, Outcome, Severity
from analytics_pipeline.flows.days import day_start
from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES
from analytics_pipeline.flows.product_events.ledger import add_verdicts
from analytics_pipeline.resources.postgres import Postgres
from tests.databases import Databases
from tests.flows.product_events.events import an_id, event, store
from tests.flows.reporting.desk import add_account, build
from tests.flows.usage_export.event_log import add_event, begin
from tests.product import Product, condition, document, new_product, today

ORGANISATIONS, ACCOUNTS = (1, 2), (71, 72)
# Reports of closed days: version and ETag come from the ledgers.
FIRST, LAST = date(2026, 1, 5), date(2026, 1, 15)


@dataclass
class Tokens:
    """Tokens by their text."""

    scopes: dict[str, Scope] = field(default_factory=lambda: dict(TOKENS))

    def __call__(self, _: Postgres, token: str) -> Caller | None:
        scope = self.scopes.get(token)
        return None if scope is None else Caller(token, scope)


TOKENS: Mapping[str, Scope] = {
    "all": EVERYTHING,
    **{f"organisation-{one}": Scope(organisation_id=one) for one in ORGANISATIONS},
    **{f"account-{one}": Scope(account_id=one) for one in ACCOUNTS},
}


def marked(kind: str, tenant: int) -> str:
    """A text that only rows of this tenant hold."""
    return f"{kind}{tenant}secret"


@contextmanager
def application(product: Product, tokens: Tokens, **options: Any) -> Iterator[TestClient]:
    """The application, asked in this process; by itself with the token that sees everything."""
    often = {"api_requests_per_minute": 1_000_000, "api_requests_per_day": 1_000_000}
    app: Any = create_app(product.settings.model_copy(update=often), tokens, **options)
    with TestClient(app, headers={"Authorization": "Bearer all"}, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def world(environment: Mapping[str, str], stores: Databases, landing: Path) -> Iterator[Product]:
    """The stores of the world. The environment is exported while it is filled, and no longer."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with new_product(stores, landing, patch) as product:
            _fill(product)
            patch.undo()
            yield product


def _fill(product: Product) -> None:
    for organisation in ORGANISATIONS:
        _add_organisation(product, organisation)
    assert product.materialise().success
    for account in ACCOUNTS:
        _add_desk(product, account)
    build(product, FIRST, LAST)
    _use_ai(product)
    _send_events(product)
    _check(product)
    add_verdicts(product.postgres, {"accepted": 12, "rejected": 4})
    assert product.materialise(*(one.name for one in AGGREGATES), day=today()).success
    begin(product, "warehouse")
    add_event(product)
    product.execute(
        "INSERT INTO analytics_pipeline.enablements (feature, scope, epoch, setting, state, error, last_attempt)"
        " SELECT feature, scope, 1, 'on', 'failed', scope || 'secret', 8 FROM (VALUES"
        " ('segments', 'organisation:1'), ('segments', 'organisation:2'), ('reporting', 'account:71'),"
        " ('reporting', 'account:72')) AS one (feature, scope)"
    )
    product.execute(
        "INSERT INTO analytics_pipeline.export_deliveries (sink, kind, first_id, last_id, records, status)"
        " SELECT 'warehouse', 'live', n, n, 1, 'delivered' FROM generate_series(1, 3) AS n"
    )
    product.execute(
        "INSERT INTO analytics_pipeline.dead_letters (flow, unit, record_key, reason, payload, run_id)"
        " SELECT 'usage_export', 'warehouse', n, 'too large', '', '' FROM generate_series(1, 3) AS n"
    )


def _check(product: Product) -> None:
    outcomes: tuple[tuple[str, Severity, Outcome], ...] = (
        ("rollups_equal_events", "error", "failed"),
        ("no_uncovered_days", "error", "passed"),
        ("no_impossible_rollups", "error", "unknown"),
        ("changes_are_followed", "warning", "failed"),
    )
    for name, severity, outcome in outcomes:
        ledger = CheckLedger(product.postgres, Check("reporting", "reporting_rollups", name, severity), "a-run")
        last: Outcome = "unknown" if outcome == "unknown" else "passed"
        ledger.record(ledger.begin([FIRST, LAST]), [Found(FIRST, outcome, 4, 1), Found(LAST, last, 4)])


def _add_organisation(product: Product, organisation: int) -> None:
    project, environment = organisation * 10, organisation * 100
    key = marked("organisation", organisation)
    product.add_organisation(organisation)
    product.add_project(project, organisation)
    product.add_environment(environment, project, key, f"environment of {key}")
    product.add_segment(organisation, condition("EQUAL", "plan", "pro"), project)
    product.add_segment(organisation + 50, condition("REGEX", "plan", "^(?=pro)"), project)
    product.execute("UPDATE segments SET name = name || %s WHERE project_id = %s", f" of {key}", project)
    names = [f"{key}-{number}" for number in range(3 + organisation)]
    product.put(*(document(name, key, plan="pro") for name in names), document("stranger", key, plan="free"))


def _add_desk(product: Product, account: int) -> None:
    add_account(product, account, "Etc/UTC")
    product.execute(
        "INSERT INTO reporting_events (name, account_id, created_at, value, value_in_business_hours, user_id, inbox_id,"
        " conversation_id) SELECT name, %s, %s::timestamptz + n * interval '7 hours', n * 10, n * 5, %s * 100 + n %% 3,"
        " %s * 1000 + n %% 2, n %% 7 FROM generate_series(1, 30) AS n, unnest(ARRAY['first_response', 'reply_time',"
        " 'conversation_resolved', 'conversation_bot_resolved', 'conversation_bot_handoff']) AS name",
        account,
        datetime(2026, 1, 5, tzinfo=timezone.utc),
        account,
        account,
    )
    product.execute(
        "INSERT INTO conversations (id, account_id, inbox_id, assignee_id, team_id, created_at)"
        " SELECT %s * 1000 + n, %s, %s * 1000 + n %% 2, %s * 100 + n %% 3, n, %s::timestamptz + n * interval '1 day'"
        " FROM generate_series(1, 5) AS n",
        *(account,) * 4,
        datetime(2026, 1, 5, tzinfo=timezone.utc),
    )
    product.execute(
        "INSERT INTO feature_flags (name, scope, enabled) VALUES ('reporting_events_rollup', %s, true)",
        f"account:{account}",
    )


def _send_events(product: Product) -> None:
    """Events of every kind that a figure is of, with the organisation's name in their texts."""
    kinds: tuple[dict[str, Any], ...] = (
        {"event_type": "task_created"},
        {"event_type": "api_request", "endpoint": "/x", "method": "GET", "duration_ms": 5},
        {"event_type": "application_error", "error_type": "Timeout"},
        {"event_type": "integration_used", "provider": "github", "integration_id": an_id(5)},
        {"event_type": "cocoon_connected", "cocoon_id": an_id(6)},
        {"event_type": "auth_login_attempt", "success": True},
    )
    moment = datetime.now(timezone.utc) - timedelta(hours=1)
    rows = [
        event(
            organisation * 100 + number,
            moment,
            **{"organisation_id": organisation, "user_id": an_id(organisation), **kind},
            service=marked("organisation", organisation),
            error_message=marked("organisation", organisation),
        )
        for organisation in ORGANISATIONS
        for number, kind in enumerate(kinds)
    ]
    columns = sorted({name for row in rows for name in row})
    blank = event(0, moment)
    store(product.clickhouse, [{name: row.get(name, blank.get(name)) for name in columns} for row in rows])


def _use_ai(product: Product) -> None:
    noon = day_start(today()) - timedelta(hours=12)
    for number in range(4):
        moment = noon - timedelta(minutes=number)
        payload = {"suggestion_size": 3, "language": ("go", "c")[number % 2], "branch_name": "main"}
        product.add_chat(moment, user=number, namespace_path="1/2/")
        product.add_suggestion(moment, user=number, namespace_path="1/2/", payload=payload)
    product.switch_ai_usage(on=True)
    day = today() - timedelta(days=1)
    assert product.materialise("duo_chat_events", "code_suggestion_events", "ai_usage_daily", day=day).success
