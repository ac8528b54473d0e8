"""Accounts, and the zones of their days: the ids by which reports are asked for."""

from dataclasses import dataclass

from analytics_pipeline.flows.reporting.accounts import Account, Unzoned
from analytics_pipeline.flows.reporting.accounts import accounts as known
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class NamedAccount:
    """An account; `timezone` None: it has no zone, or none that there is, so its reports are in UTC and of events."""

    account: int
    name: str
    timezone: str | None


def accounts(postgres: Postgres, account_id: int | None) -> list[NamedAccount]:
    """This account, or all of them by id."""
    found = known(postgres, None if account_id is None else [account_id])
    every: list[Account | Unzoned] = sorted([*found.zoned, *found.unzoned], key=lambda one: one.id)
    return [NamedAccount(one.id, one.name, one.timezone if isinstance(one, Account) else None) for one in every]
