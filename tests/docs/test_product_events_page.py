"""The page of product events says of every member what becomes of it."""

import re

from analytics_pipeline.flows.product_events.privacy.policy import default_policy
from tests.docs.pages import ROOT


def test_page__table_of_the_privacy_policy__is_the_policy() -> None:
    page = (ROOT / "docs/product-events.md").read_text()
    table = page.partition("<!-- policy -->")[2].partition("<!-- /policy -->")[0]

    documented = {
        kind: dict(re.findall(r"`(\w+)`: (\w+)", members))
        for kind, members in re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE)
    }

    treated = {
        kind: {member: action for member, action in members.items() if action != "keep"}
        for kind, members in default_policy().items()
    }
    assert documented == {kind: members for kind, members in treated.items() if members}
    assert documented["auth_login_attempt"]["email"] == "hmac"
