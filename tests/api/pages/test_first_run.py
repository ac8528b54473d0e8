"""What pages show before there is anything to show: each says what is to be done next."""

import re

import pytest
from fastapi.testclient import TestClient

from analytics_pipeline.api.app import create_app
from analytics_pipeline.config import Settings
from tests.api.world import Tokens
from tests.product import Product

HTML = {"Accept": "text/html"}
NEEDS_POSTGRES = ("/segments", "/reporting", "/usage-export", "/ai-usage", "/enablement", "/tokens")


def _text(page: str) -> str:
    """The page without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.mark.parametrize(
    ("path", "variable"),
    [
        *((path, "DATABASE_URL") for path in NEEDS_POSTGRES),
        ("/product-events", "CLICKHOUSE_URL"),
    ],
)
def test_page__nothing_is_configured__names_the_variable_and_who_tells_more(path: str, variable: str) -> None:
    app = create_app(Settings(database_url=None, clickhouse_url=None), anonymous=True)
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1), headers=HTML) as visitor:
        shown = _text(visitor.get(path).text)

    assert "A store has no address yet" in shown
    assert f"{variable} is not set. Set the variable for this service" in shown
    assert "analytics-pipeline doctor" in shown


def test_overview__nothing_is_configured__lists_what_is_to_be_set() -> None:
    app = create_app(Settings(database_url=None, clickhouse_url=None), anonymous=True)
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1), headers=HTML) as visitor:
        shown = _text(visitor.get("/").text)

    assert "Set DATABASE_URL: the product&#39;s Postgres. Set CLICKHOUSE_URL: where figures are kept." in shown


NEXT_STEPS = {
    "/": "Materialise a day in Dagster, or switch a feature on",
    "/segments": "The product has no project yet.",
    "/segments?project=10": "the sensor `enablement` has the segments counted",
    "/reporting": "The product has no account yet.",
    "/ai-usage": "use_clickhouse_for_analytics is off (an admin of the product turns it on)",
    "/product-events": "`analytics-pipeline ingest` takes them",
    "/usage-export": "EXPORT_SINKS names them",
    "/enablement": "No feature was seen switched on yet",
    "/tokens": "analytics-pipeline token create NAME --scope read",
}


def test_pages__first_event_has_not_come__say_what_brings_it(empty_product: Product, client: TestClient) -> None:
    empty_product.execute("TRUNCATE organisations, projects, environments CASCADE")
    seen = {path: _text(client.get(path, headers=HTML).text) for path in NEXT_STEPS if "project=10" not in path}
    empty_product.add_organisation(1, enabled=False)
    empty_product.add_project(10)
    seen["/segments?project=10"] = _text(client.get("/segments?project=10", headers=HTML).text)

    assert [path for path, step in NEXT_STEPS.items() if step not in seen[path]] == []


def test_overview__a_store_does_not_answer__says_so_where_it_is_needed_and_shows_the_rest(
    empty_product: Product, tokens: Tokens
) -> None:
    nowhere = {"clickhouse_url": "http://127.0.0.1:1/analytics"}
    settings = Settings.model_validate({**empty_product.settings.model_dump(), **nowhere})
    with TestClient(create_app(settings, tokens), headers={"Authorization": "Bearer all", **HTML}) as visitor:
        page = visitor.get("/").text

    panels = dict(re.findall(r'<section [^>]*id="(\w+)"(.*?)</section>', page, re.DOTALL))
    failing = [name for name, panel in panels.items() if "A store does not answer" in panel]
    assert (list(panels), failing) == (["flows", "failing", "checks", "histories", "costs"], ["costs"])
    assert "analytics-pipeline doctor" in panels["costs"]
