"""The dashboard as somebody with a browser uses it: a real server, and Chromium when the machine has it."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from analytics_pipeline.api.app import create_app
from analytics_pipeline.config import Settings
from tests.api.world import Tokens
from tests.browser import NEEDS_CHROMIUM, PHONE_AT_NIGHT, is_within_the_screen, launched, signed_in
from tests.product import Product
from tests.thorough import THOROUGH

PAGES = (
    "/",
    "/segments?project=10",
    "/reporting?account=71",
    "/ai-usage",
    "/product-events",
    "/usage-export",
    "/enablement",
    "/tokens",
)

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def address(shared_world: Product) -> Iterator[str]:
    """Where the dashboard is served."""
    secret = {"dashboard_secret": "a secret of 16 characters"}
    settings = Settings.model_validate({**shared_world.settings.model_dump(), **secret})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(settings, Tokens(), Tokens()), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


def test_dashboard__in_a_browser__is_signed_in_to_filtered_and_shared(browser: Browser, address: str) -> None:
    page = signed_in(browser, address, "all")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)

    page.get_by_role("link", name="Reporting").click()
    page.locator("a[href='/reporting?account=71']").click()
    page.get_by_label("From").fill("2026-01-05")
    page.get_by_label("To", exact=True).fill("2026-01-15")
    page.get_by_role("button", name="Show").click()
    figures = page.locator("#figures").inner_text()
    page.get_by_role("button", name="Share this page").click()
    link = page.get_by_label("Link").input_value()

    stranger = browser.new_context().new_page()
    stranger.goto(link)
    assert stranger.locator("#figures").inner_text() == figures
    stranger.goto(f"{address}/enablement")
    assert "/sign-in" in stranger.url
    # The page's policy has nothing to refuse, and its scripts do not fail.
    assert complaints == []


@pytest.mark.parametrize(("options", "paths"), [({}, PAGES[::2]), (PHONE_AT_NIGHT, PAGES[1::2])])
def test_pages__on_a_desk_and_on_a_phone_at_night__have_no_barrier(
    browser: Browser, address: str, options: dict[str, Any], paths: tuple[str, ...]
) -> None:
    """Each page on one of them, which takes two seconds; on both with `make test-all`."""
    page = signed_in(browser, address, "all", **options)
    for path in PAGES if THOROUGH else paths:
        page.goto(f"{address}{path}")
        found = Axe().run(page)
        assert [(path, one["id"], one["nodes"][0]["html"][:200]) for one in found.response["violations"]] == []
        assert is_within_the_screen(page), path


def test_dashboard__without_javascript__is_whole(browser: Browser, address: str) -> None:
    page = signed_in(browser, address, "all", java_script_enabled=False)
    page.goto(f"{address}/reporting?account=71&from=2026-01-05&to=2026-01-15")

    assert page.locator("section").count() == 6
    page.locator("#counts summary").click()
    assert page.locator("#counts tbody tr").count() == 11
    assert page.locator("#counts tbody tr").first.is_visible()
