"""Types of settings, which say what a value must look like."""

import re
from datetime import date
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from analytics_pipeline import addresses

FlowName = Literal["identities", "segments", "reporting", "ai_usage", "usage_export", "product_events"]
FLOWS: tuple[FlowName, ...] = get_args(FlowName)


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


def _matching(pattern: str, message: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(message)
        return value

    return AfterValidator(check)


_NAME = r"[A-Za-z_]\w*"
RelationName = Annotated[str, _matching(rf"{_NAME}(\.{_NAME})?", "must be a table or view, e.g. public.my_view")]
ClickHouseUrl = Annotated[SecretStr, AfterValidator(addresses.clickhouse_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(addresses.postgres_url)]
WebhookUrl = Annotated[SecretStr, AfterValidator(addresses.webhook_url)]
WebUrl = Annotated[str, _matching(r"https?://[\x21-\x7e]+", "must begin with http:// or https://")]
LandingUrl = Annotated[str, AfterValidator(addresses.landing_url)]
ClusterName = Annotated[str, _matching(r"[\w.-]+", "may hold letters, digits, dot, dash and underscore")]
# Part of every record: text that a log or a table can show.
ExportLabel = Annotated[str, _matching(r"[\x20-\x7e]{1,200}", "may hold 1 to 200 printable ASCII characters")]
# Partitions are days that ClickHouse's Date can hold.
FirstDay = Annotated[date, Field(ge=date(1970, 1, 1))]
ClassPath = Annotated[str, _matching(rf"{_NAME}(\.{_NAME})*:{_NAME}", "must look like package.module:ClassName")]
Days = Annotated[int, Field(ge=1, le=36_500)]
Percent = Annotated[int, Field(ge=0, le=100)]
# Never read as JSON: `type.member=action`, separated by spaces.
_PrivacyAction = Annotated[
    str,
    _matching(
        r"[a-z_]+\.[a-z_]+=(keep|drop|hmac|truncate|template)",
        "must look like task_created.command=keep, with keep, drop, hmac, truncate or template",
    ),
]
EventPrivacy = Annotated[tuple[_PrivacyAction, ...], NoDecode, BeforeValidator(_words)]


def _names(value: object) -> object:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _with_what_they_need(flows: tuple[FlowName, ...]) -> tuple[FlowName, ...]:
    """In the order of `FLOWS`, each once. Segments are counted in snapshots of identities."""
    wanted = {*flows, "identities"} if "segments" in flows else set(flows)
    return tuple(flow for flow in FLOWS if flow in wanted)


# Never read as JSON: names separated by commas.
Flows = Annotated[
    tuple[FlowName, ...], NoDecode, BeforeValidator(_names), Field(min_length=1), AfterValidator(_with_what_they_need)
]
