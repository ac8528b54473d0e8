"""Debian's Chromium, driven as somebody who looks at pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
PHONE_AT_NIGHT: dict[str, Any] = {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}}


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser, which ends with the test."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def signed_in(browser: Browser, address: str, token: str, seconds: float = 15, **options: Any) -> Page:
    """A page of the dashboard in a context of its own, whose forms and links wait so long for what they look for."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(seconds * 1000)
    page.goto(f"{address}/enablement")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/enablement")
    return page


def is_within_the_screen(page: Page) -> bool:
    """Whether nothing but tables has to be scrolled sideways."""
    found: bool = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    return found
