"""A tour of the dashboard and of Dagster in a browser, on the demo's data.

The pictures of the documentation are taken on it: `DOCS_IMAGES=docs/images` says where they go; without it none is.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import PHONE_AT_NIGHT, is_within_the_screen, signed_in

_DESK = {"viewport": {"width": 1280, "height": 860}}
_PAGES = ("/", "/segments?project=11", "/reporting?account=1", "/ai-usage", "/product-events", "/usage-export")
_OTHERS = ("/segments", "/reporting", "/enablement", "/tokens")
# A page of Dagster's is a large program that asks a server that has just started.
PATIENCE = 120
_LARGEST = 150_000


@dataclass(frozen=True)
class Tour:
    """Somebody with a browser, before what `analytics-pipeline dev` has started."""

    browser: Browser
    dashboard: str
    dagster: str
    token: str

    def desk(self) -> Page:
        return signed_in(self.browser, self.dashboard, self.token, PATIENCE, **_DESK)

    def phone(self) -> Page:
        return signed_in(self.browser, self.dashboard, self.token, PATIENCE, **PHONE_AT_NIGHT)

    def complaints(self, page: Page) -> list[str]:
        """What is wrong with any page: a panel that failed, something too wide, a complaint of the browser's."""
        found: list[str] = []
        page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
        for path in (*_PAGES, *_OTHERS):
            page.goto(f"{self.dashboard}{path}")
            found += [f"{path}: {text}" for text in page.locator(".says").all_inner_texts()]
            found += [] if is_within_the_screen(page) else [f"{path}: too wide"]
        return found

    def narrowed(self, page: Page, first: str, last: str) -> str:
        """The figures of account 1 over these days, chosen in the form."""
        page.goto(f"{self.dashboard}/reporting")
        page.locator("a[href='/reporting?account=1']").click()
        page.get_by_label("From").fill(first)
        page.get_by_label("To", exact=True).fill(last)
        page.get_by_role("button", name="Show").click()
        page.wait_for_url(f"**from={first}**")
        return page.locator("#figures dl").inner_text()

    def shared(self, page: Page) -> str:
        """What a stranger reads who got a link to the page."""
        page.get_by_role("button", name="Share this page").click()
        stranger = self.browser.new_context().new_page()
        stranger.goto(page.get_by_label("Link").input_value())
        return stranger.locator("#figures dl").inner_text()

    def materialise(self, page: Page, asset: str) -> Page:
        """Follow the page's link to the asset and materialise it there; returns the asset's page in Dagster."""
        address = page.get_by_role("link", name=f"{asset} in Dagster").get_attribute("href")
        assert address == f"{self.dagster}/assets/{asset}"
        there = page.context.new_page()
        there.set_default_timeout(PATIENCE * 1000)
        there.goto(address)
        there.get_by_text("Materialize", exact=True).click()
        there.get_by_text("Launched run").first.wait_for()
        return there

    def follow_back(self, asset: Page, path: str) -> Page:
        """Follow the link from the asset's page in Dagster, which opens a page of its own."""
        with asset.context.expect_page(timeout=PATIENCE * 1000) as opened:
            asset.get_by_role("link", name=f"{self.dashboard}{path}").first.click()
        return opened.value

    def photograph(self) -> None:
        """Take the pictures of the documentation, where that is asked for."""
        folder = os.environ.get("DOCS_IMAGES")
        if folder is None:
            return
        desk, phone = self.desk(), self.phone()
        desk.goto(f"{self.dashboard}/reporting?account=1")
        _keep(desk, folder, "dashboard")
        phone.goto(f"{self.dashboard}/product-events")
        _keep(phone, folder, "dashboard-phone")
        self._photograph_dagster(folder)

    def _photograph_dagster(self, folder: str) -> None:
        page = self.browser.new_context(viewport={"width": 1500, "height": 900}).new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{self.dagster}/asset-groups")
        page.get_by_text("segments", exact=True).last.wait_for()
        page.get_by_text("Hide navigation").click()
        expect(page.get_by_text("fetching statuses")).to_have_count(0, timeout=PATIENCE * 1000)
        _settle(page)
        _keep(page, folder, "asset-graph", page.locator("svg foreignObject").all())
        page.set_viewport_size({"width": 1260, "height": 640})
        page.goto(f"{self.dagster}/assets/ai_usage_daily?view=partitions")
        page.get_by_text("Materialized (").wait_for()
        _settle(page)
        _keep(page, folder, "history")
        page.set_viewport_size({"width": 1260, "height": 860})
        page.goto(f"{self.dagster}/assets/reporting_rollups")
        page.get_by_text("sum_value_business_hours").first.wait_for()
        _settle(page)
        _keep(page, folder, "rollups")


def _settle(page: Page) -> None:
    """Dagster's pages move while they unfold, and say nowhere that they have."""
    page.wait_for_timeout(3_000)


def _keep(page: Page, folder: str, name: str, shown: Sequence[Locator] = ()) -> None:
    """A picture of the page, or of the part of it that shows these."""
    boxes = [box for one in shown if (box := one.bounding_box())]
    target = Path(folder) / f"{name}.png"
    if boxes:
        left, top = (min(box[side] for box in boxes) - 20 for side in ("x", "y"))
        right = max(box["x"] + box["width"] for box in boxes) + 20
        bottom = max(box["y"] + box["height"] for box in boxes) + 20
        clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        page.screenshot(path=target, clip=clip)  # type: ignore[arg-type]
    else:
        page.screenshot(path=target)
    assert target.stat().st_size <= _LARGEST, f"{target} has {target.stat().st_size:,} bytes"
