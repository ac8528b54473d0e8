"""The events that a product can send: the 34 of the list, and `CustomEvent` for whatever is not in it."""

from analytics_pipeline_sdk.events.base import CustomEvent, Event, wire_name
from analytics_pipeline_sdk.events.product import (
    AuthCodeVerified,
    AuthLoginAttempt,
    AuthSessionValidated,
    AuthTokenRefresh,
    BalanceCreated,
    BalanceDebit,
    BalanceDeposit,
    BalanceInsufficient,
    CocoonClaimed,
    CocoonConnected,
    CocoonDisconnected,
    CocoonRegistered,
    CocoonSetupTokenCreated,
    CocoonSetupTokenUsed,
    ProjectCreated,
    ProjectDeleted,
    ProjectUpdated,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFailed,
    TaskStarted,
)
from analytics_pipeline_sdk.events.services import (
    ApiRequest,
    ApplicationError,
    DatabaseQuery,
    IntegrationConnected,
    IntegrationDisconnected,
    IntegrationError,
    IntegrationUsed,
    OAuthFlowCompleted,
    OAuthFlowCompletedOldName,
    OAuthFlowStarted,
    OAuthFlowStartedOldName,
    ProxyRequest,
    WebhookProcessed,
    WebhookReceived,
)

# The types by their names in the order of the list; the old spellings are read as well.
EVENT_TYPES: tuple[type[Event], ...] = (
    AuthLoginAttempt,
    AuthCodeVerified,
    AuthTokenRefresh,
    AuthSessionValidated,
    TaskCreated,
    TaskStarted,
    TaskCompleted,
    TaskFailed,
    TaskCancelled,
    CocoonRegistered,
    CocoonConnected,
    CocoonDisconnected,
    CocoonClaimed,
    CocoonSetupTokenCreated,
    CocoonSetupTokenUsed,
    ProjectCreated,
    ProjectUpdated,
    ProjectDeleted,
    BalanceCreated,
    BalanceDeposit,
    BalanceDebit,
    BalanceInsufficient,
    IntegrationConnected,
    IntegrationDisconnected,
    IntegrationUsed,
    IntegrationError,
    OAuthFlowStarted,
    OAuthFlowCompleted,
    WebhookReceived,
    WebhookProcessed,
    ApiRequest,
    ProxyRequest,
    DatabaseQuery,
    ApplicationError,
    CustomEvent,
)
AnyEvent = (
    AuthLoginAttempt
    | AuthCodeVerified
    | AuthTokenRefresh
    | AuthSessionValidated
    | TaskCreated
    | TaskStarted
    | TaskCompleted
    | TaskFailed
    | TaskCancelled
    | CocoonRegistered
    | CocoonConnected
    | CocoonDisconnected
    | CocoonClaimed
    | CocoonSetupTokenCreated
    | CocoonSetupTokenUsed
    | ProjectCreated
    | ProjectUpdated
    | ProjectDeleted
    | BalanceCreated
    | BalanceDeposit
    | BalanceDebit
    | BalanceInsufficient
    | IntegrationConnected
    | IntegrationDisconnected
    | IntegrationUsed
    | IntegrationError
    | OAuthFlowStarted
    | OAuthFlowCompleted
    | WebhookReceived
    | WebhookProcessed
    | ApiRequest
    | ProxyRequest
    | DatabaseQuery
    | ApplicationError
    | CustomEvent
    | OAuthFlowStartedOldName
    | OAuthFlowCompletedOldName
)

__all__ = [
    "EVENT_TYPES",
    "AnyEvent",
    "ApiRequest",
    "ApplicationError",
    "AuthCodeVerified",
    "AuthLoginAttempt",
    "AuthSessionValidated",
    "AuthTokenRefresh",
    "BalanceCreated",
    "BalanceDebit",
    "BalanceDeposit",
    "BalanceInsufficient",
    "CocoonClaimed",
    "CocoonConnected",
    "CocoonDisconnected",
    "CocoonRegistered",
    "CocoonSetupTokenCreated",
    "CocoonSetupTokenUsed",
    "CustomEvent",
    "DatabaseQuery",
    "Event",
    "IntegrationConnected",
    "IntegrationDisconnected",
    "IntegrationError",
    "IntegrationUsed",
    "OAuthFlowCompleted",
    "OAuthFlowCompletedOldName",
    "OAuthFlowStarted",
    "OAuthFlowStartedOldName",
    "ProjectCreated",
    "ProjectDeleted",
    "ProjectUpdated",
    "ProxyRequest",
    "TaskCancelled",
    "TaskCompleted",
    "TaskCreated",
    "TaskFailed",
    "TaskStarted",
    "WebhookProcessed",
    "WebhookReceived",
    "wire_name",
]
