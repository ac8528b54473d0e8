"""The accounts whose reports are rolled up: those with a reporting time zone."""

from collections.abc import Collection
from dataclasses import dataclass

import psycopg
from psycopg import sql

from analytics_pipeline.flows.erasure.forgotten import forgotten
from analytics_pipeline.flows.reporting.errors import AccountForgotten, NotWritable, UnknownAccount, UnknownZone
from analytics_pipeline.flows.reporting.zones import canonical, iana_name
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Account:
    """An account and the IANA name of its reporting zone; where the account stores a link, that of the zone itself."""

    id: int
    name: str
    timezone: str


@dataclass(frozen=True)
class Unzoned:
    """An account without rollups: `no_timezone`, or `invalid_timezone` with what is stored."""

    id: int
    name: str
    reason: str
    stored: str | None = None


@dataclass(frozen=True)
class Accounts:
    """All accounts, by whether they are rolled up."""

    zoned: tuple[Account, ...]
    unzoned: tuple[Unzoned, ...]

    @property
    def invalid(self) -> list[Unzoned]:
        return [account for account in self.unzoned if account.reason == "invalid_timezone"]


def accounts(postgres: Postgres, only: Collection[int] | None = None) -> Accounts:
    """The accounts as they are now, without those that were forgotten; `only` narrows to those ids."""
    rows = postgres.query(_ACCOUNTS, only=None if only is None else list(only))
    who = forgotten(postgres)
    found = [_account(*row) for row in rows if not who.has("account", row[0])]
    return Accounts(
        tuple(account for account in found if isinstance(account, Account)),
        tuple(account for account in found if isinstance(account, Unzoned)),
    )


def account(postgres: Postgres, account_id: int) -> Account | Unzoned:
    """One account, as the source has it.

    Raises:
        UnknownAccount: the source has none of that id.
    """
    rows = postgres.query(_ACCOUNT, account=account_id)
    if not rows:
        raise UnknownAccount(f"the source has no account {account_id}")
    return _account(*rows[0])


def kept_account(postgres: Postgres, account_id: int) -> Account | Unzoned:
    """One account that was not forgotten.

    Raises:
        UnknownAccount: the source has none of that id.
        AccountForgotten: nothing of it may be stored.
    """
    found = account(postgres, account_id)
    if forgotten(postgres).has("account", account_id):
        raise AccountForgotten(account_id)
    return found


def set_timezone(postgres: Postgres, account_id: int, name: str) -> str:
    """Store the zone's IANA name in the account's settings, a link as it was chosen, and return it.

    The one place that writes into the product's own tables: only ever on an operator's confirmed request.

    Raises:
        UnknownZone: there is no such zone.
        UnknownAccount: the source has no such account.
        NotWritable: the relation is a view, or the database refused.
    """
    iana = iana_name(name)
    with postgres.connect() as connection:
        relation = postgres.relation("accounts")
        statement = sql.SQL(_SET_TIMEZONE).format(accounts=relation, zone=sql.Literal(iana), id=sql.Literal(account_id))
        text = " ".join(statement.as_string(connection).split())
        kind = connection.execute(_KIND, [relation.as_string(connection)]).fetchone()
        # Through a view one would write into a table that nobody named.
        if kind not in (("r",), ("p",)):
            raise NotWritable(f"{relation.as_string(connection)} is not a table", text)
        try:
            updated = connection.execute(statement).rowcount
        except psycopg.Error as error:
            raise NotWritable(f"Postgres refused: {error.diag.message_primary}", text) from error
    if not updated:
        raise UnknownAccount(f"the source has no account {account_id}")
    return iana


def _account(id_: int, name: str, stored: str | None) -> Account | Unzoned:
    if not stored:
        return Unzoned(id_, name, "no_timezone")
    try:
        return Account(id_, name, canonical(stored))
    except UnknownZone:
        return Unzoned(id_, name, "invalid_timezone", stored)


_ACCOUNTS = """
    SELECT id, name, settings ->> 'reporting_timezone' FROM {accounts}
    WHERE id IS NOT NULL AND (%(only)s::bigint[] IS NULL OR id = ANY(%(only)s))
    ORDER BY id
"""

_ACCOUNT = "SELECT id, name, settings ->> 'reporting_timezone' FROM {accounts} WHERE id = %(account)s"

_KIND = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)"

_SET_TIMEZONE = """
    UPDATE {accounts}
    SET settings = jsonb_set(coalesce(settings, '{{}}'), '{{reporting_timezone}}', to_jsonb({zone}::text)),
        updated_at = now()
    WHERE id = {id}
"""
