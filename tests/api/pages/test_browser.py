"""The dashboard as somebody with a browser uses it: a real server, and Chromium when the machine has it."""

import shutil
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from analytics_pipeline.api.app import create_app
from analytics_pipeline.config import Settings
from tests.api.world import Tokens
from tests.product import Product

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
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

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def address(shared_world: Product) -> Iterator[str]:
    """Where the dashboard is served."""
    secret = {"dashboard_secret": "a secret of 16 characters"}
    settings = Settings.model_validate({**shared_world.settings.model_dump(), **secret})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(settings, Tokens()), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


def _signed_in(browser: Browser, address: str, **options: object) -> Page:
    page = browser.new_context(bypass_csp=False, **options).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(15_000)
    page.goto(f"{address}/enablement")
    page.get_by_label("Token").fill("all")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/enablement")
    return page


def test_dashboard__in_a_browser__is_signed_in_to_filtered_and_shared(browser: Browser, address: str) -> None:
    page = _signed_in(browser, address)
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


PHONE_AT_NIGHT = {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}}


@pytest.mark.parametrize("options", [{}, PHONE_AT_NIGHT])
def test_pages__on_a_desk_and_on_a_phone_at_night__have_no_barrier(
    browser: Browser, address: str, options: dict[str, object]
) -> None:
    page = _signed_in(browser, address, **options)
    for path in PAGES:
        page.goto(f"{address}{path}")
        found = Axe().run(page)
        assert [(path, one["id"], one["nodes"][0]["html"][:200]) for one in found.response["violations"]] == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path


def test_dashboard__without_javascript__is_whole(browser: Browser, address: str) -> None:
    page = _signed_in(browser, address, java_script_enabled=False)
    page.goto(f"{address}/reporting?account=71&from=2026-01-05&to=2026-01-15")

    assert page.locator("section").count() == 6
    page.locator("#counts summary").click()
    assert page.locator("#counts tbody tr").count() == 11
    assert page.locator("#counts tbody tr").first.is_visible()
