"""Access: who asks, and what they may read. The one place that hands out the stores.

A route gets its stores from one of the dependencies `of_instance`, `of_organisation`, `of_project` and `of_account`,
which grant them for the subject of the path or refuse. There is no other way to the stores, so none to a query.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Path, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from analytics_pipeline.addresses import is_loopback
from analytics_pipeline.api.limits import Limits
from analytics_pipeline.api.problems import UNAUTHENTICATED, Problem, not_found
from analytics_pipeline.api.stores import EVERYTHING, Caller, Connections, Scope, Stores
from analytics_pipeline.api.tokens import Token, authenticate, with_id
from analytics_pipeline.flows import row_policies
from analytics_pipeline.flows.tenants import Project, one_project, projects_of
from analytics_pipeline.resources.postgres import Postgres

# As wide as the keys of the source are.
Id = Annotated[int, Path(ge=0, le=2**63 - 1, description="Its id in the product.", examples=[1])]

# Tells whose a token is, as of now; None when it is nobody's, or not for reads.
Verifier: TypeAlias = Callable[[Postgres, str], Caller | None]
Recall: TypeAlias = Verifier  # The same by the key of a caller who has had one.
_BY_TOKEN = "token-"  # noqa: S105 - how keys of holders begin


def reader(postgres: Postgres, secret: str) -> Caller | None:
    """The holder of a token for reads, as of now; the verifier of every service but those of tests."""
    return _reader(authenticate(postgres, secret))


def still_reader(postgres: Postgres, key: str) -> Caller | None:
    """The reader of this key, while their token holds."""
    return _reader(with_id(postgres, int(key.removeprefix(_BY_TOKEN)))) if key.startswith(_BY_TOKEN) else None


def _reader(found: Token | None) -> Caller | None:
    if found is None or found.scope != "read":
        return None
    return Caller(f"{_BY_TOKEN}{found.id}", Scope(found.organisation_id, found.account_id))


@dataclass(frozen=True)
class Service:
    """The state that the application shares between requests. `anonymous`: who sends no token sees everything."""

    connections: Connections
    verify: Verifier
    limits: Limits
    anonymous: bool = False
    recall: Recall = still_reader

    def verified(self, token: str) -> Caller | None:
        """Whose the token is; None: nobody's, or not for reads."""
        return self.verify(self.connections.postgres(), token)

    def recalled(self, key: str) -> Caller | None:
        """The caller of this key as of now; None: their token has ended, or they never had one."""
        return self.recall(self.connections.postgres(), key)


# Where pages keep the token of who has signed in.
COOKIE = "analytics_token"
_BEARER = HTTPBearer(auto_error=False, description="A token of `analytics-pipeline token`, of scope `read`.")
_ANYBODY = Caller("anonymous", EVERYTHING)
# A proxy on this machine asks for somebody elsewhere, and may call us by our own name. Older ones speak HTTP/1.0.
_OF_PROXIES = ("forwarded", "via", "x-real-ip", *(f"x-forwarded-{what}" for what in ("for", "host", "proto", "server")))


def service_of(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


def caller(request: Request, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> Caller:
    """The caller of a request, within their limits.

    Raises:
        Problem: the token is missing or not valid, or the caller has asked too often.
    """
    service = service_of(request)
    found = _identified(service, request, sent)
    spent = service.limits.spend(found.key)
    request.scope["state"].update(spent=spent, scope=found.scope)
    return found


def _identified(service: Service, request: Request, sent: HTTPAuthorizationCredentials | None) -> Caller:
    shared: Caller | None = request.scope["state"].get("shared")
    if shared is not None:
        return shared
    token = request.cookies.get(COOKIE) if sent is None else sent.credentials
    if token is None:
        if service.anonymous and _is_local(request):
            return _ANYBODY
        raise _unauthenticated("There is no token.")
    found = service.verified(token)
    if found is None:
        raise _unauthenticated("The token is not known, has expired, was revoked, or is not for reads.")
    return found


def _unauthenticated(detail: str) -> Problem:
    return Problem(UNAUTHENTICATED, detail, {"WWW-Authenticate": "Bearer"})


def _is_local(request: Request) -> bool:
    """Whether this machine asks, by a name of its own: a page elsewhere cannot point its own name here."""
    client, name = request.client.host if request.client else "", request.url.hostname or ""
    # In the place of a name that is none the URL has the server's own address.
    is_told = request.headers.get("host") == request.url.netloc
    is_by_proxy = request.scope["http_version"] == "1.0" or any(name in request.headers for name in _OF_PROXIES)
    return is_told and not is_by_proxy and is_loopback(client) and is_loopback(name)


CallerOf = Annotated[Caller, Depends(caller)]


def _granted(request: Request, filters: Mapping[str, str] | None) -> Stores:
    """The stores, whose ClickHouse shows only rows that the filters let through; None: everybody's."""
    hidden = None if filters is None else row_policies.compared_as_a_whole(filters)
    narrowed: Mapping[str, Any] = {} if hidden is None else {"additional_table_filters": hidden}
    stores = Stores(service_of(request).connections, narrowed)
    request.scope["state"]["cost"] = stores.cost
    return stores


def of_instance(request: Request, who: CallerOf) -> Stores:
    """The stores, for a subject that is nobody's alone.

    Raises:
        Problem: the caller's scope is narrower than everything.
    """
    if not who.scope.is_everything:
        raise not_found()
    return _granted(request, None)


def of_account(request: Request, who: CallerOf, account: Id) -> Stores:
    """The stores, for questions about the account of the path.

    Raises:
        Problem: it is not in the caller's scope.
    """
    if not who.scope.is_everything and who.scope.account_id != account:
        raise not_found()
    return _granted(request, row_policies.of_account(account))


def of_organisation(request: Request, who: CallerOf, organisation: Id) -> Stores:
    """The stores, for questions about the organisation of the path.

    Raises:
        Problem: it is not in the caller's scope.
    """
    return _of_organisation(request, who, organisation)


def _of_organisation(request: Request, who: Caller, organisation: int) -> Stores:
    if not who.scope.is_everything and who.scope.organisation_id != organisation:
        raise not_found()
    owned = projects_of(service_of(request).connections.postgres(), organisation)
    return _granted(request, row_policies.of_organisation(organisation, owned))


@dataclass(frozen=True)
class OfProject:
    """A project of the path, and the stores for questions about it."""

    project: Project
    stores: Stores


def of_project(request: Request, who: CallerOf, project: Id) -> OfProject:
    """The project of the path and its stores.

    Raises:
        Problem: there is none, or it is not in the caller's scope.
    """
    if who.scope.account_id is not None:
        raise not_found()
    found = one_project(service_of(request).connections.postgres(), project)
    if found is None:
        raise not_found()
    return OfProject(found, _of_organisation(request, who, found.organisation_id))


@dataclass(frozen=True)
class Within:
    """The caller's scope and the stores, for subjects of several tenants, whose reads narrow by the scope."""

    scope: Scope
    stores: Stores


def within_scope(request: Request, who: CallerOf) -> Within:
    """The stores as far as the caller's scope goes."""
    if who.scope.account_id is not None:
        return Within(who.scope, of_account(request, who, who.scope.account_id))
    if who.scope.organisation_id is not None:
        return Within(who.scope, _of_organisation(request, who, who.scope.organisation_id))
    return Within(who.scope, of_instance(request, who))


def within_organisations(request: Request, who: CallerOf) -> Within:
    """The stores as far as the caller's scope goes, for subjects that belong to organisations.

    Raises:
        Problem: the scope is an account, which has none of them.
    """
    if who.scope.account_id is not None:
        raise not_found()
    return within_scope(request, who)


def within_accounts(request: Request, who: CallerOf) -> Within:
    """The stores as far as the caller's scope goes, for subjects that belong to accounts.

    Raises:
        Problem: the scope is an organisation, which has none of them.
    """
    if who.scope.organisation_id is not None:
        raise not_found()
    return within_scope(request, who)


Instance = Annotated[Stores, Depends(of_instance)]
Account = Annotated[Stores, Depends(of_account)]
Organisation = Annotated[Stores, Depends(of_organisation)]
InProject = Annotated[OfProject, Depends(of_project)]
InScope = Annotated[Within, Depends(within_scope)]
OfOrganisations = Annotated[Within, Depends(within_organisations)]
OfAccounts = Annotated[Within, Depends(within_accounts)]
GRANTS = (of_instance, of_organisation, of_project, of_account, within_scope, within_organisations, within_accounts)
