"""The part of `doctor` about ingestion of events: who may send, and what the privacy policy leaves of them."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

from analytics_pipeline.api import tokens
from analytics_pipeline.api.tokens import Token
from analytics_pipeline.cli.findings.base import Finding
from analytics_pipeline.config import ConfigurationError, Settings
from analytics_pipeline.flows.product_events.privacy.policy import policy
from analytics_pipeline.resources.postgres import Postgres

_FLOW = "product_events"
_CREATE = "analytics-pipeline token create NAME --scope ingest --organisation ID"
_SOON = timedelta(days=7)


def token_findings(settings: Settings, store: Postgres) -> Iterator[Finding]:
    """Warnings about tokens that services send events with; nothing before the migrations have run."""
    if _FLOW not in settings.flows or not tokens.is_ready(store):
        return
    found = [one for one in tokens.listed(store) if one.scope == "ingest" and one.state != "revoked"]
    valid = [one for one in found if one.state == "valid"]
    if not valid:
        yield Finding("ingestion", "no token may send events: whoever sends some is refused", _CREATE)
    else:
        whose = sorted({one.bound_to for one in valid})
        yield Finding("ingestion", f"tokens may send events of {', '.join(whose)}")
        yield from _pseudonyms(settings)
    yield from _ends(found)


def _ends(found: Sequence[Token]) -> Iterator[Finding]:
    """Warnings about tokens that have expired, or soon will."""
    soon = datetime.now(timezone.utc) + _SOON
    for one in found:
        if one.expires_at is not None and one.expires_at <= soon:
            ends = "expired" if one.state == "expired" else "expires"
            repair = f"give its service another one, then: analytics-pipeline token revoke {one.name}"
            yield Finding(f"token {one.name}", f"{ends} at {one.expires_at:%Y-%m-%d %H:%M} UTC", repair)


def privacy_findings(settings: Settings) -> Iterator[Finding]:
    """A gap when the policy names a member that no event has: ingestion would not begin."""
    try:
        policy(settings)
    except ConfigurationError as error:
        ((_, reason),) = error.problems
        yield Finding("EVENT_PRIVACY", reason, "correct it: sdk/EVENTS.md has the members", (_FLOW,))


def _pseudonyms(settings: Settings) -> Iterator[Finding]:
    """A warning when members are to become pseudonyms and there is no key to make them with."""
    try:
        actions = policy(settings)
    except ConfigurationError:
        return
    named = sorted({name for members in actions.values() for name, action in members.items() if action == "hmac"})
    if named and settings.event_privacy_key is None:
        state = f"is not set, so nothing is stored of {', '.join(named)}"
        repair = "set it to a secret of 32 characters that stays the same, or let EVENT_PRIVACY drop them"
        yield Finding("EVENT_PRIVACY_KEY", state, repair)
