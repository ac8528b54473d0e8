"""No page shows a row of another scope, whoever looks at whatever."""

import re

import pytest
from fastapi.testclient import TestClient

from tests.api.world import ACCOUNTS, ORGANISATIONS, TOKENS

PAGES = (
    "/",
    "/segments",
    *(f"/segments?project={organisation}0" for organisation in ORGANISATIONS),
    "/reporting",
    *(f"/reporting?account={account}&from=2026-01-05&to=2026-01-15" for account in ACCOUNTS),
    "/ai-usage",
    "/product-events",
    *(f"/product-events?organisation={organisation}" for organisation in ORGANISATIONS),
    "/usage-export",
    "/enablement",
    "/tokens",
)


@pytest.mark.parametrize("token", [name for name in TOKENS if name != "all"])
def test_pages__for_one_scope__show_nobody_elses_rows(asked: TestClient, token: str) -> None:
    own = token.rpartition("-")[2]

    seen = [asked.get(path, headers={"Authorization": f"Bearer {token}", "Accept": "text/html"}).text for path in PAGES]

    assert {whose for text in seen for whose in re.findall(r"(\d+)secret", text)} == {own}


def test_pages__of_projects__are_not_there_for_an_account(asked: TestClient) -> None:
    headers = {"Authorization": "Bearer account-71", "Accept": "text/html"}

    answers = [asked.get(path, headers=headers) for path in ("/segments", "/segments?project=10", "/nothing")]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert len({answer.text for answer in answers[:2]}) == 1


def test_pages__for_everything__are_all_there(asked: TestClient) -> None:
    answers = {path: asked.get(path, headers={"Accept": "text/html"}) for path in PAGES}

    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(PAGES, 200)
    assert [path for path, answer in answers.items() if "A defect of the service" in answer.text] == []
