"""`token` as operators use it."""

import pytest

from analytics_pipeline.api import tokens
from tests.cli.commands import DONE, FAILED, USAGE, run, run_json
from tests.product import Product

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_create__as_text__prints_the_token_alone_on_stdout(empty_product: Product) -> None:
    result = run("token", "create", "web", "--scope", "ingest", "--organisation", "3")

    found = tokens.authenticate(empty_product.postgres, result.stdout.strip())
    assert result.exit_code == DONE
    assert found is not None
    assert (found.name, found.scope, found.organisation_id) == ("web", "ingest", 3)
    assert result.stderr == "Keep it: it is not shown again. It may ingest (organisation 3).\n"


def test_create__as_json__holds_the_token_and_list_does_not(empty_product: Product) -> None:
    made = run_json("token", "create", "reports", "--scope", "read", "--account", "7", "--expires", "90d")
    secret = made.pop("token")
    (shown,) = run_json("token", "list")
    text = run("token", "list").stdout

    assert shown == made
    assert (made["scope"], made["account_id"], made["organisation_id"], made["state"]) == ("read", 7, None, "valid")
    assert "account 7" in text
    assert secret not in text


def test_revoke__token__is_refused_from_then_on(empty_product: Product) -> None:
    secret = run("token", "create", "web", "--scope", "read").stdout.strip()

    first, second = run("token", "revoke", "web"), run("token", "revoke", "web")

    assert (first.exit_code, first.stdout) == (DONE, "Revoked: web. Whoever has it is refused from now on.\n")
    assert (second.exit_code, "nothing was revoked" in second.stderr) == (FAILED, True)
    assert tokens.authenticate(empty_product.postgres, secret) is None


def test_create__name_in_use__says_what_to_do(empty_product: Product) -> None:
    run("token", "create", "web", "--scope", "read")

    result = run("token", "create", "web", "--scope", "read")

    assert (result.exit_code, result.stdout) == (FAILED, "")
    assert "analytics-pipeline token revoke web" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("web", "--scope", "ingest"),
        ("web", "--scope", "ingest", "--account", "1"),
        ("web", "--scope", "read", "--account", "1", "--organisation", "1"),
        ("", "--scope", "read"),
        ("with space", "--scope", "read"),
        ("web", "--scope", "write"),
        ("web", "--scope", "read", "--expires", "90"),
        ("web", "--scope", "read", "--expires", "0d"),
        ("web", "--scope", "read", "--account", "-1"),
    ],
)
def test_create__arguments_that_do_not_fit__are_wrong_usage(empty_product: Product, arguments: tuple[str, ...]) -> None:
    result = run("token", "create", *arguments)

    assert (result.exit_code, tokens.listed(empty_product.postgres)) == (USAGE, [])
