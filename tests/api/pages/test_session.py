"""Who may look at pages: by a token that was signed in with, or by a link that somebody shared."""

import re
from datetime import timedelta
from html import unescape
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from analytics_pipeline.api.app import create_app
from analytics_pipeline.api.stores import Scope
from analytics_pipeline.api.tokens import create as created
from analytics_pipeline.api.tokens import revoke
from analytics_pipeline.config import Settings
from tests.api.world import Tokens
from tests.product import Product

HTML = {"Accept": "text/html"}
PAGES = ("/", "/segments", "/reporting", "/ai-usage", "/product-events", "/usage-export", "/enablement", "/tokens")


@pytest.fixture
def visitor(client: TestClient) -> TestClient:
    """Somebody with a browser and no token yet."""
    del client.headers["Authorization"]
    client.headers.update(HTML)
    return client


def _sign_in(visitor: TestClient, token: str) -> None:
    visitor.post("/sign-in", data={"token": token, "next": "/enablement"}, follow_redirects=False)


@pytest.mark.parametrize("path", PAGES)
def test_page__without_a_token__leads_to_signing_in_and_back(visitor: TestClient, path: str) -> None:
    answer = visitor.get(path, params={"from": "2026-01-01"}, follow_redirects=False)

    assert (answer.status_code, urlsplit(answer.headers["location"]).path) == (303, "/sign-in")
    assert visitor.get(answer.headers["location"]).text.count(f'value="{path}?from=2026-01-01"') == 1


def test_sign_in__with_a_token__keeps_it_where_no_script_and_no_other_site_has_it(visitor: TestClient) -> None:
    answer = visitor.post("/sign-in", data={"token": "all", "next": "/enablement"}, follow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (303, "/enablement")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=strict" in answer.headers["set-cookie"]
    assert visitor.get("/enablement").status_code == 200


def test_sign_in__over_tls__marks_the_cookie_as_secure(visitor: TestClient) -> None:
    visitor.base_url = "https://testserver"
    answer = visitor.post("/sign-in", data={"token": "all"}, follow_redirects=False)

    assert "Secure" in answer.headers["set-cookie"]


def test_sign_in__wrong_token__is_refused_and_nothing_is_kept(visitor: TestClient) -> None:
    answer = visitor.post("/sign-in", data={"token": "<b>wrong</b>", "next": "/"}, follow_redirects=False)

    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "wrong" not in answer.text


@pytest.mark.parametrize("following", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere", "x", "//["])
def test_sign_in__to_be_led_elsewhere__leads_to_the_overview(visitor: TestClient, following: str) -> None:
    answer = visitor.post("/sign-in", data={"token": "all", "next": following}, follow_redirects=False)

    assert answer.headers["location"] == "/"


def test_form__from_another_site__is_refused(visitor: TestClient) -> None:
    answer = visitor.post("/sign-in", data={"token": "all"}, headers={"Origin": "https://elsewhere.example"})

    assert (answer.status_code, "set-cookie" in answer.headers) == (400, False)


@pytest.mark.parametrize(
    ("path", "fields", "origin"),
    [
        ("/sign-in", {"token": "all"}, "http://["),
        ("/sign-in", {f"field-{number}": "" for number in range(11)} | {"token": "all"}, "http://testserver"),
        ("/share", {"page": "//["}, "http://testserver"),
    ],
)
def test_form__that_no_page_of_ours_sends__is_refused(
    client: TestClient, path: str, fields: dict[str, str], origin: str
) -> None:
    answer = client.post(path, data=fields, headers={"Origin": origin})

    assert (answer.status_code, "set-cookie" in answer.headers) == (400, False)


def test_sign_out__of_who_is_signed_in__ends_it(visitor: TestClient) -> None:
    _sign_in(visitor, "all")
    visitor.post("/sign-out")

    assert visitor.get("/enablement", follow_redirects=False).status_code == 303


def test_revoked_token__of_who_is_signed_in__ends_it_at_once(visitor: TestClient, tokens: Tokens) -> None:
    _sign_in(visitor, "all")
    tokens.scopes.clear()

    assert visitor.get("/enablement", follow_redirects=False).status_code == 303


@pytest.mark.parametrize("path", ["/ai-usage", "/usage-export", "/segments?project=1", "/product-events"])
def test_page_of_the_instance__for_one_account__is_as_if_it_were_not_there(
    visitor: TestClient, tokens: Tokens, path: str
) -> None:
    tokens.scopes["desk"] = Scope(account_id=7)
    _sign_in(visitor, "desk")

    absent, forbidden = visitor.get("/nothing-here"), visitor.get(path)

    assert (absent.status_code, forbidden.status_code) == (404, 404)
    assert absent.text.replace("/nothing-here", path) == forbidden.text


def _shared(empty_product: Product, tokens: Tokens, page: str, secret: str | None) -> tuple[TestClient, str]:
    """The link that somebody signed in gets for a page; '' when there is none."""
    values = {} if secret is None else {"dashboard_secret": secret}
    settings = Settings.model_validate({**empty_product.settings.model_dump(), **values})
    client = TestClient(create_app(settings, tokens, tokens), headers=HTML, raise_server_exceptions=False)
    _sign_in(client, "all")
    answer = client.post("/share", data={"page": page})
    client.cookies.clear()
    found = re.search(r'href="([^"]*/shared/[^"]*)"', answer.text)
    return client, unescape(found[1]) if found else ""


def test_shared_link__without_a_token__shows_its_page_and_nothing_else(empty_product: Product, tokens: Tokens) -> None:
    client, link = _shared(empty_product, tokens, "/enablement", "a secret of 16 characters")

    page = client.get(link)

    assert (page.status_code, "Histories" in page.text, "<nav" in page.text) == (200, True, False)
    assert client.get(f"{link}?panel=histories").text.startswith("<section")
    assert client.get("/enablement", follow_redirects=False).status_code == 303


def test_shared_link__maker_has_another_scope_by_now__shows_what_that_shows(
    empty_product: Product, tokens: Tokens
) -> None:
    client, link = _shared(empty_product, tokens, "/ai-usage", "a secret of 16 characters")
    tokens.scopes["all"] = Scope(organisation_id=1)

    assert client.get(link).status_code == 404


def test_shared_link__its_makers_token_has_ended__shows_nothing_more(empty_product: Product) -> None:
    store, secret = empty_product.postgres, SecretStr("a secret of 16 characters")
    app = create_app(empty_product.settings.model_copy(update={"dashboard_secret": secret}))
    client = TestClient(app, headers=HTML, raise_server_exceptions=False)

    def link(name: str, lifetime: timedelta | None = None) -> str:
        made = created(store, name, "read", organisation_id=1, lifetime=lifetime)
        headers = {"Authorization": f"Bearer {made.secret}"}
        answer = client.post("/share", data={"page": "/enablement"}, headers=headers)
        found = re.search(r'href="([^"]*/shared/[^"]*)"', answer.text)
        assert found
        return unescape(found[1])

    links = [link("revoked"), link("expired"), link("in-use")]
    before = [client.get(one).status_code for one in links]
    revoke(store, "revoked")
    empty_product.execute("UPDATE analytics_pipeline.api_tokens SET expires_at = now() WHERE name = 'expired'")

    assert before == [200, 200, 200]
    assert [client.get(one).status_code for one in links] == [400, 400, 200]


def test_shared_links__to_one_page__spend_each_their_makers_own_limit(empty_product: Product, tokens: Tokens) -> None:
    few = {"dashboard_secret": SecretStr("a secret of 16 characters"), "api_requests_per_minute": 2}
    app = create_app(empty_product.settings.model_copy(update=few), tokens, tokens)
    client = TestClient(app, headers=HTML, raise_server_exceptions=False)
    links = []
    for maker in ("organisation-1", "organisation-2"):
        answer = client.post("/share", data={"page": "/enablement"}, headers={"Authorization": f"Bearer {maker}"})
        links += [unescape(one) for one in re.findall(r'href="([^"]*/shared/[^"]*)"', answer.text)]

    spent = [client.get(links[0]).status_code for _ in range(3)]

    assert (spent, client.get(links[1]).status_code) == ([200, 200, 429], 200)


def test_share__by_nobody_in_particular__is_refused(empty_product: Product) -> None:
    secret = {"dashboard_secret": SecretStr("a secret of 16 characters")}
    app = create_app(empty_product.settings.model_copy(update=secret), anonymous=True)
    client = TestClient(app, base_url="http://127.0.0.1", headers=HTML, client=("127.0.0.1", 1))

    answer = client.post("/share", data={"page": "/enablement"})

    assert (answer.status_code, "somebody with a token" in answer.text) == (400, True)


@pytest.mark.parametrize("change", [lambda link: link[:-2] + "xx", lambda link: link.replace("/shared/", "/shared/A")])
def test_shared_link__changed__opens_nothing(empty_product: Product, tokens: Tokens, change: object) -> None:
    client, link = _shared(empty_product, tokens, "/enablement", "a secret of 16 characters")
    assert callable(change)

    assert client.get(change(link)).status_code == 404


def test_shared_link__of_another_secret__opens_nothing(empty_product: Product, tokens: Tokens) -> None:
    _, link = _shared(empty_product, tokens, "/enablement", "a secret of 16 characters")
    client, _ = _shared(empty_product, tokens, "/enablement", "another of 16 characters")

    assert client.get(link).status_code == 404


def test_share__without_a_secret__says_what_is_missing(empty_product: Product, tokens: Tokens) -> None:
    settings = empty_product.settings
    client = TestClient(create_app(settings, tokens, tokens), headers=HTML, raise_server_exceptions=False)
    _sign_in(client, "all")

    answer = client.post("/share", data={"page": "/enablement"})

    assert (answer.status_code, "DASHBOARD_SECRET is not set" in answer.text) == (503, True)


@pytest.mark.parametrize("page", ["/tokens", "/v1/accounts/1/overview", "//elsewhere.example", "/sign-in", ""])
def test_share__what_is_no_page_to_share__is_refused(empty_product: Product, tokens: Tokens, page: str) -> None:
    assert _shared(empty_product, tokens, page, "a secret of 16 characters")[1] == ""
