"""`forget` as an operator uses it."""

import os
import uuid

import pytest

from analytics_pipeline.flows.ai_usage.source import DUO_CHAT_EVENTS
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from tests.cli.commands import DONE, FAILED, USAGE, run, run_json
from tests.flows.product_events.events import at, event, store
from tests.product import Product, today

pytestmark = pytest.mark.usefixtures("elsewhere")
NOW = at(0, 0)


def copied(product: Product) -> list[tuple[int]]:
    DayCopy(DUO_CHAT_EVENTS, product.postgres, product.clickhouse, "run").copy(today(), today())
    return product.clickhouse.query("SELECT user_id FROM duo_chat_events ORDER BY 1")


def test_forget__dry_run_then_real_then_again__shows_what_went_and_names_what_it_cannot_reach(
    empty_product: Product,
) -> None:
    for user in (7, 7, 8):
        empty_product.add_chat(NOW, user)
    copied(empty_product)

    dry = run_json("forget", "--user", "7", "--dry-run")
    ledger = empty_product.execute("SELECT count(*) FROM analytics_pipeline.erasures")
    text = run("forget", "--user", "7", "--yes")
    again = run_json("forget", "--user", "007", "--yes")

    gone = {"place": "clickhouse.duo_chat_events", "action": "removed", "rows": 2}
    assert (dry["kind"], dry["dry_run"], dry["places"]) == ("user", True, [gone])
    assert ledger == [(0,)]
    assert (text.exit_code, "clickhouse.duo_chat_events" in text.stdout) == (DONE, True)
    assert "backups" in text.stdout
    assert (again["places"], again["not_reached"]) == ([gone], dry["not_reached"])
    assert copied(empty_product) == [(8,)]
    assert empty_product.execute("SELECT kind, state FROM analytics_pipeline.erasures") == [("user", "completed")]


def test_forget__nobody_knows_them__says_so_and_keeps_them_out(empty_product: Product) -> None:
    result = run("forget", "--identity", "no-such-environment", "x" * 10_000 + "\"'\\é", "--yes")

    assert (result.exit_code, "No store holds anything of them. Nothing will be stored." in result.stdout) == (
        DONE,
        True,
    )
    assert empty_product.execute("SELECT kind FROM analytics_pipeline.erasures") == [("identity",)]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--user", "7", "--account", "7"],
        ["--user", "-1"],
        ["--user", "not-a-uuid"],
        ["--account", "9223372036854775808"],
        ["--organisation", "1.5"],
        ["--account", str(uuid.uuid4())],
        ["--identity", "only-one"],
        ["--identity", "env", os.fsdecode(b"\xff")],
    ],
)
def test_forget__of_nobody_that_can_be__is_wrong_usage(empty_product: Product, arguments: list[str]) -> None:
    result = run("forget", "--yes", *arguments)

    assert result.exit_code == USAGE
    assert empty_product.execute("SELECT count(*) FROM analytics_pipeline.erasures") == [(0,)]


def test_forget__without_a_yes__changes_nothing(empty_product: Product) -> None:
    result = run("forget", "--user", "7")

    assert result.exit_code == FAILED
    assert empty_product.execute("SELECT count(*) FROM analytics_pipeline.erasures") == [(0,)]


def test_forget__empty_identifier_and_the_largest_id__are_like_any_other(empty_product: Product) -> None:
    largest = 2**63 - 1
    store(empty_product.clickhouse, [event(1, at(1), organisation_id=largest), event(2, at(1), organisation_id=3)])

    empty = run("forget", "--identity", "", "", "--yes")
    organisation = run_json("forget", "--organisation", str(largest), "--yes")

    assert empty.exit_code == DONE
    assert organisation["places"] == [{"place": "clickhouse.analytics_events", "action": "removed", "rows": 1}]
    assert empty_product.clickhouse.query("SELECT organisation_id FROM analytics_events") == [(3,)]
