"""Whom questions can be about: the projects and the accounts of the token's scope."""

from fastapi import APIRouter

from analytics_pipeline.api.access import OfAccounts, OfOrganisations
from analytics_pipeline.api.answers import Listing, Told, listing
from analytics_pipeline.api.paging import Paged, cut
from analytics_pipeline.flows.reporting.reads.accounts import NamedAccount
from analytics_pipeline.flows.reporting.reads.accounts import accounts as named_accounts
from analytics_pipeline.flows.segments.reads.projects import NamedProject
from analytics_pipeline.flows.segments.reads.projects import projects as named_projects

ROUTER = APIRouter(tags=["tenants"])
_SOURCE = Told("source")

_PROJECT = {
    "project": 10,
    "name": "Web shop",
    "organisation": 1,
    "environments": [{"environment": 100, "name": "Production"}],
}


@listing(ROUTER, "/projects", NamedProject, _PROJECT)
def projects(within: OfOrganisations, page: Paged) -> Listing[NamedProject]:
    """The product's projects with their environments, within the token's scope: whom segments can be asked of."""
    rows = named_projects(within.stores.postgres, within.scope.organisation_id)
    return Listing(cut(rows, page, lambda row: (row.project,), tuple[int]), _SOURCE)


@listing(ROUTER, "/accounts", NamedAccount, {"account": 7, "name": "Acme", "timezone": "Europe/Berlin"})
def accounts(within: OfAccounts, page: Paged) -> Listing[NamedAccount]:
    """The product's accounts with their reporting zones, within the token's scope: whom reports can be asked of."""
    rows = named_accounts(within.stores.postgres, within.scope.account_id)
    return Listing(cut(rows, page, lambda row: (row.account,), tuple[int]), _SOURCE)
