"""The page of tokens: those of the caller's scope, without their secrets."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from analytics_pipeline.api.access import InScope, Within
from analytics_pipeline.api.pages.frame.panels import Column, Panel, Table, View
from analytics_pipeline.api.pages.frame.rendering import page
from analytics_pipeline.api.tokens import Token, listed

ROUTER = APIRouter(include_in_schema=False)

_TONES = {"valid": "good", "expired": "warn", "revoked": ""}
_MADE = "A token is made, and shown once, by: analytics-pipeline token create NAME --scope read"


@ROUTER.get("/tokens")
def tokens(request: Request, within: InScope) -> Response:
    return page(request, "Tokens", [Panel("tokens", "Tokens", lambda: _tokens(within), wide=True)], lead=_MADE)


def _tokens(within: Within) -> View:
    columns = (
        Column("Name"),
        Column("Scope"),
        Column("Bound to"),
        Column("State", "word"),
        Column("Made", "moment"),
        Column("Expires", "moment"),
        Column("Last used", "moment"),
    )
    rows = [_row(one) for one in listed(within.stores.postgres) if _is_own(within, one)]
    return View(table=Table(columns, rows, "None."))


def _row(one: Token) -> tuple[object, ...]:
    state = f"{_TONES[one.state]}:{one.state}"
    return (one.name, one.scope, one.bound_to, state, one.created_at, one.expires_at or "", one.last_used_at or "")


def _is_own(within: Within, one: Token) -> bool:
    scope = within.scope
    return scope.is_everything or (one.organisation_id, one.account_id) == (scope.organisation_id, scope.account_id)
