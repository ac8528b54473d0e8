"""Bearer tokens: who may send events of an organisation, and who may read what.

A token is 256 random bits, shown once and kept as its SHA-256: nothing can be guessed from a look-up by that. Its row
is looked up whenever it is used, so that one which is revoked ends at once.
"""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import psycopg

from analytics_pipeline.errors import Refused
from analytics_pipeline.flows.erasure.errors import SubjectForgotten
from analytics_pipeline.flows.erasure.forgotten import forgotten
from analytics_pipeline.resources.postgres import Connection, Postgres

Scope = Literal["ingest", "read"]
# Tells what it is to whoever finds it where it should not be.
_PREFIX = "apt_"
# Postgres is told no more often that a token is in use.
_USED_EVERY = timedelta(minutes=1)


class TokenExists(Refused):
    """A token of that name is in use; nothing was made."""


class NoSuchToken(Refused):
    """No token of that name is in use; nothing was changed."""


@dataclass(frozen=True)
class Token:
    """A token without its secret. It is bound to an organisation, to an account, or, for reads alone, to neither.

    Moments are in UTC; `last_used_at` is right to the minute.
    """

    id: int
    name: str
    scope: Scope
    organisation_id: int | None
    account_id: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @property
    def state(self) -> Literal["valid", "expired", "revoked"]:
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= datetime.now(timezone.utc) else "valid"

    @property
    def bound_to(self) -> str:
        if self.organisation_id is not None:
            return f"organisation {self.organisation_id}"
        return "everything" if self.account_id is None else f"account {self.account_id}"


@dataclass(frozen=True)
class Created:
    """A token and its secret, which cannot be had again."""

    token: Token
    secret: str


def create(
    store: Postgres,
    name: str,
    scope: Scope,
    *,
    organisation_id: int | None = None,
    account_id: int | None = None,
    lifetime: timedelta | None = None,
) -> Created:
    """Make a token; without `lifetime` it holds until it is revoked.

    Raises:
        TokenExists: one of that name is in use.
        SubjectForgotten: it would be of an organisation or an account that was forgotten.
    """
    secret = _PREFIX + secrets.token_urlsafe(32)
    try:
        (row,) = store.query(
            _CREATE,
            name=name,
            hash=_hashed(secret),
            scope=scope,
            organisation=organisation_id,
            account=account_id,
            lifetime=lifetime,
        )
    except psycopg.errors.UniqueViolation:
        raise TokenExists(
            f"there is a token named {name} already: choose another name, or run:"
            f" analytics-pipeline token revoke {name}"
        ) from None
    made = Created(_token(row), secret)
    _refuse_forgotten(store, made.token)
    return made


def _refuse_forgotten(store: Postgres, made: Token) -> None:
    """Asked when the token is there: who forgets its owner at this moment either finds it, or is found here."""
    who = forgotten(store)
    try:
        who.refuse("organisation", made.organisation_id)
        who.refuse("account", made.account_id)
    except SubjectForgotten:
        store.query(_REMOVE, id=made.id)
        raise


def listed(store: Postgres) -> list[Token]:
    """All tokens, also those that were revoked, in the order in which they were made."""
    return [_token(row) for row in store.query(_LISTED)]


def revoke(store: Postgres, name: str) -> Token:
    """End the token of that name at once.

    Raises:
        NoSuchToken: there is none that is in use.
    """
    rows = store.query(_REVOKE, name=name)
    if not rows:
        raise NoSuchToken(f"no token named {name} is in use; nothing was revoked. See: analytics-pipeline token list")
    return _token(rows[0])


def authenticate(store: Postgres, secret: str) -> Token | None:
    """The token of this secret, of whichever scope; None when there is none, or none any more."""
    rows = store.query(_FIND, hash=_hashed(secret))
    if not rows:
        return None
    token = _token(rows[0])
    if token.last_used_at is None or datetime.now(timezone.utc) - token.last_used_at > _USED_EVERY:
        store.query(_USED, id=token.id)
    return token


def with_id(store: Postgres, id_: int) -> Token | None:
    """The token of this id; None when there is none, or none any more."""
    rows = store.query(_WITH_ID, id=id_)
    return _token(rows[0]) if rows else None


def valid(connection: Connection, ids: Collection[int]) -> set[int]:
    """Those of the tokens that have not ended, as part of a transaction; that they are used is noted."""
    connection.execute(_ALL_USED, {"ids": list(ids), "every": _USED_EVERY})
    return {one for (one,) in connection.execute(_VALID, {"ids": list(ids)}).fetchall()}


def is_ready(store: Postgres) -> bool:
    """Whether Postgres answers and has the table."""
    return store.query("SELECT to_regclass('analytics_pipeline.api_tokens') IS NOT NULL") == [(True,)]


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _token(row: tuple[Any, ...]) -> Token:
    return Token(*row)


_CREATE = """
    INSERT INTO analytics_pipeline.api_tokens (name, token_hash, scope, organisation_id, account_id, expires_at)
    VALUES (%(name)s, %(hash)s, %(scope)s, %(organisation)s, %(account)s, clock_timestamp() + %(lifetime)s::interval)
    RETURNING id, name, scope, organisation_id, account_id, created_at, expires_at, revoked_at, last_used_at
"""
_REMOVE = "DELETE FROM analytics_pipeline.api_tokens WHERE id = %(id)s RETURNING id"
_LISTED = """
    SELECT id, name, scope, organisation_id, account_id, created_at, expires_at, revoked_at, last_used_at
    FROM analytics_pipeline.api_tokens ORDER BY id
"""
_REVOKE = """
    UPDATE analytics_pipeline.api_tokens SET revoked_at = clock_timestamp() WHERE name = %(name)s AND revoked_at IS NULL
    RETURNING id, name, scope, organisation_id, account_id, created_at, expires_at, revoked_at, last_used_at
"""
_HOLDING = """
    SELECT id, name, scope, organisation_id, account_id, created_at, expires_at, revoked_at, last_used_at
    FROM analytics_pipeline.api_tokens
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())
"""
_FIND = f"{_HOLDING} AND token_hash = %(hash)s"
_WITH_ID = f"{_HOLDING} AND id = %(id)s"
_USED = "UPDATE analytics_pipeline.api_tokens SET last_used_at = clock_timestamp() WHERE id = %(id)s RETURNING id"
_VALID = """
    SELECT id FROM analytics_pipeline.api_tokens
    WHERE id = ANY(%(ids)s) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())
"""
_ALL_USED = """
    UPDATE analytics_pipeline.api_tokens SET last_used_at = clock_timestamp()
    WHERE id IN (
        SELECT id FROM analytics_pipeline.api_tokens
        WHERE id = ANY(%(ids)s) AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - %(every)s)
        FOR UPDATE SKIP LOCKED
    )
"""
