"""Events of services: integrations, OAuth, webhooks, requests, queries, errors."""

from typing import Any
from uuid import UUID

from analytics_pipeline_sdk.events.base import I32, I64, U16, Event


class IntegrationConnected(Event, tag="integration_connected", frozen=True, kw_only=True):
    """A user connected an integration."""

    integration_id: UUID
    user_id: UUID
    provider: str
    project_id: UUID | None = None


class IntegrationDisconnected(Event, tag="integration_disconnected", frozen=True, kw_only=True):
    """An integration was taken away."""

    integration_id: UUID
    user_id: UUID
    provider: str
    reason: str | None = None


class IntegrationUsed(Event, tag="integration_used", frozen=True, kw_only=True):
    """An integration did something."""

    integration_id: UUID
    user_id: UUID
    provider: str
    action: str


class IntegrationError(Event, tag="integration_error", frozen=True, kw_only=True):
    """An integration failed."""

    integration_id: UUID
    user_id: UUID
    provider: str
    error: str


class OAuthFlowStarted(Event, tag="oauth_flow_started", frozen=True, kw_only=True):
    """A user was sent to a provider."""

    user_id: UUID
    provider: str
    state: str


class OAuthFlowCompleted(Event, tag="oauth_flow_completed", frozen=True, kw_only=True):
    """A user came back from a provider."""

    user_id: UUID
    provider: str
    success: bool
    error: str | None = None


class OAuthFlowStartedOldName(OAuthFlowStarted, tag="o_auth_flow_started", frozen=True, kw_only=True):
    """The spelling that older clients send; it is read and never written."""


class OAuthFlowCompletedOldName(OAuthFlowCompleted, tag="o_auth_flow_completed", frozen=True, kw_only=True):
    """The spelling that older clients send; it is read and never written."""


class WebhookReceived(Event, tag="webhook_received", frozen=True, kw_only=True):
    """A webhook came in."""

    integration_id: UUID | None = None
    provider: str
    event_type: str
    delivery_id: str


class WebhookProcessed(Event, tag="webhook_processed", frozen=True, kw_only=True):
    """A webhook was worked off."""

    integration_id: UUID | None = None
    provider: str
    event_type: str
    delivery_id: str
    success: bool
    duration_ms: I64
    error: str | None = None


class ApiRequest(Event, tag="api_request", frozen=True, kw_only=True):
    """A request was answered; `endpoint` is the route's template, such as `/tasks/{id}`, never a path with ids."""

    service: str
    endpoint: str
    method: str
    status_code: U16
    duration_ms: I64
    user_id: UUID | None = None


class ProxyRequest(Event, tag="proxy_request", frozen=True, kw_only=True):
    """A request to a language model went through the proxy."""

    proxy_token_id: UUID
    user_id: UUID
    request_id: str
    upstream_request_id: str | None = None
    requested_model: str | None = None
    actual_model: str | None = None
    provider_type: str
    key_mode: str
    endpoint: str
    input_tokens: I32 | None = None
    output_tokens: I32 | None = None
    total_tokens: I32 | None = None
    reported_cost_usd: float | None = None
    latency_ms: I32
    ttft_ms: I32 | None = None
    is_streaming: bool
    status: str
    status_code: I32 | None = None
    error_type: str | None = None
    error_message: str | None = None


class DatabaseQuery(Event, tag="database_query", frozen=True, kw_only=True):
    """A query was run."""

    service: str
    query_type: str
    duration_ms: I64
    rows_affected: I64 | None = None


class ApplicationError(Event, tag="application_error", frozen=True, kw_only=True):
    """Something went wrong in a service; `context` is anything that JSON can say."""

    service: str
    error_type: str
    error_message: str
    user_id: UUID | None = None
    context: Any = None
