"""Events of what users do with the product: sign in, run tasks, connect cocoons, own projects, pay."""

from uuid import UUID

from analytics_pipeline_sdk.events.base import I32, I64, Event


class AuthLoginAttempt(Event, tag="auth_login_attempt", frozen=True, kw_only=True):
    """Somebody asked for a login code."""

    user_id: UUID | None = None
    email: str
    success: bool
    error: str | None = None


class AuthCodeVerified(Event, tag="auth_code_verified", frozen=True, kw_only=True):
    """A login code was checked."""

    user_id: UUID
    success: bool
    error: str | None = None


class AuthTokenRefresh(Event, tag="auth_token_refresh", frozen=True, kw_only=True):
    """A session's token was renewed, or could not be."""

    user_id: UUID
    success: bool
    error: str | None = None


class AuthSessionValidated(Event, tag="auth_session_validated", frozen=True, kw_only=True):
    """A session was checked."""

    user_id: UUID
    valid: bool


class TaskCreated(Event, tag="task_created", frozen=True, kw_only=True):
    """A task was created."""

    task_id: UUID
    user_id: UUID
    project_id: UUID | None = None
    cocoon_id: UUID | None = None
    command: str


class TaskStarted(Event, tag="task_started", frozen=True, kw_only=True):
    """A task began to run."""

    task_id: UUID
    user_id: UUID
    cocoon_id: UUID | None = None


class TaskCompleted(Event, tag="task_completed", frozen=True, kw_only=True):
    """A task ran to its end."""

    task_id: UUID
    user_id: UUID
    duration_ms: I64
    exit_code: I32


class TaskFailed(Event, tag="task_failed", frozen=True, kw_only=True):
    """A task failed."""

    task_id: UUID
    user_id: UUID
    duration_ms: I64 | None = None
    exit_code: I32 | None = None
    error: str


class TaskCancelled(Event, tag="task_cancelled", frozen=True, kw_only=True):
    """A user stopped a task."""

    task_id: UUID
    user_id: UUID
    duration_ms: I64 | None = None


class CocoonRegistered(Event, tag="cocoon_registered", frozen=True, kw_only=True):
    """A cocoon (a user's machine) was registered."""

    cocoon_id: UUID
    user_id: UUID
    device_name: str | None = None


class CocoonConnected(Event, tag="cocoon_connected", frozen=True, kw_only=True):
    """A cocoon connected."""

    cocoon_id: UUID
    user_id: UUID | None = None


class CocoonDisconnected(Event, tag="cocoon_disconnected", frozen=True, kw_only=True):
    """A cocoon's connection ended."""

    cocoon_id: UUID
    user_id: UUID | None = None
    duration_seconds: I64


class CocoonClaimed(Event, tag="cocoon_claimed", frozen=True, kw_only=True):
    """A user took a cocoon over."""

    cocoon_id: UUID
    user_id: UUID
    via_setup_token: bool


class CocoonSetupTokenCreated(Event, tag="cocoon_setup_token_created", frozen=True, kw_only=True):
    """A token for setting up a cocoon was made."""

    token_id: UUID
    user_id: UUID
    cocoon_name: str | None = None


class CocoonSetupTokenUsed(Event, tag="cocoon_setup_token_used", frozen=True, kw_only=True):
    """A cocoon was set up with a token."""

    token_id: UUID
    cocoon_id: UUID
    user_id: UUID


class ProjectCreated(Event, tag="project_created", frozen=True, kw_only=True):
    """A project was created."""

    project_id: UUID
    user_id: UUID
    name: str


class ProjectUpdated(Event, tag="project_updated", frozen=True, kw_only=True):
    """A project was changed."""

    project_id: UUID
    user_id: UUID


class ProjectDeleted(Event, tag="project_deleted", frozen=True, kw_only=True):
    """A project was deleted."""

    project_id: UUID
    user_id: UUID


class BalanceCreated(Event, tag="balance_created", frozen=True, kw_only=True):
    """A user got a balance."""

    user_id: UUID
    balance_id: UUID


class BalanceDeposit(Event, tag="balance_deposit", frozen=True, kw_only=True):
    """An amount was paid in."""

    user_id: UUID
    transaction_id: UUID
    amount: I64
    reference_type: str | None = None


class BalanceDebit(Event, tag="balance_debit", frozen=True, kw_only=True):
    """An amount was taken."""

    user_id: UUID
    transaction_id: UUID
    amount: I64
    reference_type: str | None = None


class BalanceInsufficient(Event, tag="balance_insufficient", frozen=True, kw_only=True):
    """An amount was asked for that the balance did not cover."""

    user_id: UUID
    requested_amount: I64
    current_balance: I64
    reference_type: str | None = None
