"""The events as they are on the wire."""

import dataclasses
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from analytics_pipeline_sdk import reference
from analytics_pipeline_sdk.events import (
    EVENT_TYPES,
    AnyEvent,
    ApiRequest,
    ApplicationError,
    CustomEvent,
    Event,
    OAuthFlowCompleted,
    OAuthFlowStarted,
    TaskCreated,
    TaskFailed,
    wire_name,
)
from analytics_pipeline_sdk.identifiers import UtcClock, uuid7

USER = UUID("00000000-0000-4000-8000-000000000001")
# The names and members of the services that the list comes from; `?` marks what may be absent.
WIRE = """
auth_login_attempt user_id? email success error?
auth_code_verified user_id success error?
auth_token_refresh user_id success error?
auth_session_validated user_id valid
task_created task_id user_id project_id? cocoon_id? command
task_started task_id user_id cocoon_id?
task_completed task_id user_id duration_ms exit_code
task_failed task_id user_id duration_ms? exit_code? error
task_cancelled task_id user_id duration_ms?
integration_connected integration_id user_id provider project_id?
integration_disconnected integration_id user_id provider reason?
integration_used integration_id user_id provider action
integration_error integration_id user_id provider error
oauth_flow_started user_id provider state
oauth_flow_completed user_id provider success error?
webhook_received integration_id? provider event_type delivery_id
webhook_processed integration_id? provider event_type delivery_id success duration_ms error?
cocoon_registered cocoon_id user_id device_name?
cocoon_connected cocoon_id user_id?
cocoon_disconnected cocoon_id user_id? duration_seconds
cocoon_claimed cocoon_id user_id via_setup_token
cocoon_setup_token_created token_id user_id cocoon_name?
cocoon_setup_token_used token_id cocoon_id user_id
project_created project_id user_id name
project_updated project_id user_id
project_deleted project_id user_id
api_request service endpoint method status_code duration_ms user_id?
proxy_request proxy_token_id user_id request_id upstream_request_id? requested_model? actual_model? provider_type \
key_mode endpoint input_tokens? output_tokens? total_tokens? reported_cost_usd? latency_ms ttft_ms? is_streaming \
status status_code? error_type? error_message?
database_query service query_type duration_ms rows_affected?
application_error service error_type error_message user_id? context?
balance_created user_id balance_id
balance_deposit user_id transaction_id amount reference_type?
balance_debit user_id transaction_id amount reference_type?
balance_insufficient user_id requested_amount current_balance reference_type?
custom name properties?
"""


def _decoded(text: str) -> Event:
    event: Event = msgspec.json.decode(text, type=AnyEvent)
    return event


def test_types__all__have_the_names_and_members_of_the_wire() -> None:
    members = {
        wire_name(kind): " ".join(
            field.name + ("" if field.required else "?") for field in msgspec.structs.fields(kind)
        )
        for kind in EVENT_TYPES
    }

    assert members == dict(line.split(" ", 1) for line in WIRE.strip().splitlines())
    assert len(members) == 34 + 1


def test_event__optional_members__absent_when_none_and_read_as_null() -> None:
    event = TaskFailed(task_id=USER, user_id=USER, error="no")

    encoded = msgspec.json.encode(event).decode()

    assert encoded == f'{{"type":"task_failed","task_id":"{USER}","user_id":"{USER}","error":"no"}}'
    assert _decoded(encoded.replace('"error"', '"duration_ms":null,"exit_code":null,"error"')) == event


@pytest.mark.parametrize("prefix", ["oauth", "o_auth"])
def test_oauth__either_spelling__is_read_and_has_one_name(prefix: str) -> None:
    started = _decoded(f'{{"type":"{prefix}_flow_started","user_id":"{USER}","provider":"x","state":"s"}}')
    completed = _decoded(f'{{"type":"{prefix}_flow_completed","user_id":"{USER}","provider":"x","success":true}}')

    assert isinstance(started, OAuthFlowStarted)
    assert isinstance(completed, OAuthFlowCompleted)
    assert [wire_name(started), wire_name(completed)] == ["oauth_flow_started", "oauth_flow_completed"]


def test_oauth__written__in_the_new_spelling() -> None:
    encoded = msgspec.json.encode(OAuthFlowStarted(user_id=USER, provider="x", state="s"))

    assert b'"type":"oauth_flow_started"' in encoded


@pytest.mark.parametrize(
    "members",
    [
        {"status_code": 65_536},
        {"status_code": -1},
        {"duration_ms": 1 << 63},
        {"user_id": "not-a-uuid"},
        {"method": 5},
        {"service": None},
    ],
)
def test_event__value_of_a_wrong_type__cannot_be_read(members: dict[str, Any]) -> None:
    good = {"type": "api_request", "service": "a", "endpoint": "/", "method": "GET", "status_code": 1, "duration_ms": 1}
    assert isinstance(_decoded(msgspec.json.encode(good).decode()), ApiRequest)

    with pytest.raises(msgspec.ValidationError):
        _decoded(msgspec.json.encode(good | members).decode())


def test_event__once_made__cannot_be_changed() -> None:
    event = TaskCreated(task_id=USER, user_id=USER, command="ls")

    with pytest.raises(AttributeError):
        event.command = "rm"  # type: ignore[misc]


def test_custom_event__any_json__comes_back_as_it_was() -> None:
    event = CustomEvent("report_opened", {"page": 3, "tags": ["a", None], "nested": {"x": 1.5}})

    assert _decoded(msgspec.json.encode(event).decode()) == event
    context = ApplicationError(service="a", error_type="b", error_message="c", context=[1, {"x": None}])
    assert _decoded(msgspec.json.encode(context).decode()) == context


def test_uuid7__of_moments__is_valid_ordered_and_unique() -> None:
    moments = [1_764_249_600_123_000_000 + step * 250_000 for step in range(20)]
    ids = [UUID(uuid7(moment)) for moment in moments]
    # Two ids of one moment differ.
    same = {uuid7(moments[0]) for _ in range(1_000)}

    assert ids == sorted(ids)
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert [one.int >> 80 for one in ids] == [moment // 1_000_000 for moment in moments]
    assert len(same) == 1_000


def test_timestamp__around_a_second__is_utc_in_milliseconds() -> None:
    clock, second = UtcClock(), 1_764_244_800_000_000_000

    assert [clock.timestamp(second + rest) for rest in (-1, 0, 1_999_999, 999_999_999)] == [
        "2025-11-27T11:59:59.999Z",
        "2025-11-27T12:00:00.000Z",
        "2025-11-27T12:00:00.001Z",
        "2025-11-27T12:00:00.999Z",
    ]


def test_page_of_events__in_the_repository__is_what_the_types_say() -> None:
    assert (Path(__file__).parents[1] / "EVENTS.md").read_text() == reference.page()


def test_stats__are_a_frozen_value() -> None:
    from analytics_pipeline_sdk import Stats

    with pytest.raises(dataclasses.FrozenInstanceError):
        Stats().accepted = 1  # type: ignore[misc]
