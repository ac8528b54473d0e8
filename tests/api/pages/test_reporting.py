"""The page of reporting shows the flow's figures, and says what it cannot show."""

import re

import pytest
from fastapi.testclient import TestClient

from analytics_pipeline.api.pages import reporting
from analytics_pipeline.api.stores import Scope
from tests.api.test_reporting import desk as desk
from tests.api.world import Tokens
from tests.flows.reporting.desk import add_account, add_event, at
from tests.product import Product


def _panel(page: str, name: str) -> str:
    found = re.search(rf'<section [^>]*id="{name}".*?</section>', page, re.DOTALL)
    assert found
    return found[0]


def test_reporting__of_an_account__shows_figures_charts_and_agents(desk: Product, client: TestClient) -> None:
    page = client.get("/reporting", params={"account": 1, "from": "2026-01-05", "to": "2026-01-15"}).text

    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)<small>", _panel(page, "figures")) == [
        ("Conversations", "0"),
        ("Resolutions", "3"),
        ("Time to resolution", "3 min 20 s"),
        ("Time to first response", "40.0 s"),
        ("Time to reply", "30.0 s"),
    ]
    assert "<svg" in _panel(page, "counts")
    row = re.search(r'<th scope="row">2026-01-06</th>(.*?)</tr>', _panel(page, "counts"))
    assert row
    assert re.findall(r'<td class="n">(\d)</td>', row[1]) == ["0", "1"]
    agents = re.findall(r"<tr><td>(\d)</td><td[^>]*>(\d)</td><td[^>]*>(\d)</td>", _panel(page, "agents"))
    assert agents == [("1", "0", "2"), ("2", "0", "1")]


def test_reporting__none_of_whose_days_was_brought_in__shows_no_zeros(
    empty_product: Product, client: TestClient
) -> None:
    add_account(empty_product, 1, "Etc/UTC")
    add_event(empty_product, "first_response", at("2026-01-06T10:00:00"), value=20)
    page = client.get("/reporting", params={"account": 1, "from": "2026-01-06", "to": "2026-01-08"}).text

    figures = dict(
        re.findall(r"<dt>(.*?)</dt><dd>(?:<span class=\"word\">)?(.*?)(?:</span>)?<small>", _panel(page, "figures"))
    )
    assert figures == {
        "Conversations": "0",
        "Resolutions": "unknown",
        "Time to resolution": "unknown",
        "Time to first response": "unknown",
        "Time to reply": "unknown",
    }


def test_reporting__one_panel_fails__the_others_are_there(
    desk: Product, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: object) -> None:
        raise ZeroDivisionError("a secret text")

    monkeypatch.setattr(reporting._Account, "bots", fails)
    page = client.get("/reporting", params={"account": 1, "from": "2026-01-05", "to": "2026-01-15"}).text

    assert "A defect of the service" in _panel(page, "bots")
    assert "Resolutions" in _panel(page, "figures")
    assert "a secret text" not in page


@pytest.mark.slow
def test_reporting__one_panel_is_asked_for__comes_alone(desk: Product, client: TestClient) -> None:
    whole: dict[str, str | int] = {"account": 1, "from": "2026-01-05", "to": "2026-01-15"}
    one = client.get("/reporting", params={**whole, "panel": "agents"}).text

    assert one.strip() == _panel(client.get("/reporting", params=whole).text, "agents")


def test_reporting__without_an_account__offers_those_that_there_are(desk: Product, client: TestClient) -> None:
    assert 'href="/reporting?account=1"' in client.get("/reporting").text


@pytest.mark.slow
def test_reporting__of_ones_own_account__needs_no_choice(desk: Product, client: TestClient, tokens: Tokens) -> None:
    tokens.scopes["desk"] = Scope(account_id=1)
    client.headers["Authorization"] = "Bearer desk"

    assert client.get("/reporting", headers={"Accept": "text/html"}).status_code == 200
    assert client.get("/reporting?account=2", headers={"Accept": "text/html"}).status_code == 404


def test_reporting__range_that_is_none__says_what_is_wrong(desk: Product, client: TestClient) -> None:
    query: dict[str, str | int] = {"account": 1, "from": "2026-02-01", "to": "2026-01-01"}
    answer = client.get("/reporting", params=query, headers={"Accept": "text/html"})

    assert (answer.status_code, "it has to be a day after" in answer.text) == (400, True)
