"""What a product shows of AI usage: figures of a namespace over days, or that they are not available."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.ai_usage.errors import NotAvailable
from analytics_pipeline.flows.ai_usage.reads import (
    ACCEPTED,
    SHOWN,
    Chat,
    CodeSuggestions,
    Scope,
    UserUsage,
    ai_usage_reads,
)
from tests.assets.test_ai_usage import DAY, NEXT, materialise
from tests.databases import Databases
from tests.flows.reporting.reads.test_reading import statements
from tests.product import Product, shared_product, today
from tests.sensors.enablement import at
from tests.thorough import rarely

GROUP = Scope("1/2/", DAY, NEXT)


def _filled(empty_product: Product) -> Product:
    """Two days in the group 1/2 and below it, and the same in its neighbour 1/23."""
    for path in ("1/2/", "1/23/"):
        for user in (1, 2):
            empty_product.add_chat(at(DAY), user=user, namespace_path=path)
            empty_product.add_chat(at(NEXT), user=user, namespace_path=f"{path}5/")
        for event, size, language in ((2, 10, "go"), (2, 4, "c"), (3, 10, "go"), (4, 4, "c")):
            payload = {"suggestion_size": size, "language": language}
            empty_product.add_suggestion(at(NEXT, 15), user=2, event=event, namespace_path=path, payload=payload)
    empty_product.add_suggestion(at(DAY), user=9, event=1, namespace_path="1/2/")
    empty_product.switch_ai_usage(on=True)
    materialise(empty_product, DAY, NEXT)
    return empty_product


@pytest.fixture
def product(empty_product: Product) -> Product:
    """For a test that changes it."""
    return _filled(empty_product)


@pytest.fixture(scope="module")
def told(
    stack_environment: Mapping[str, str], stores: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """For all tests that only read."""
    with shared_product(stack_environment, stores, tmp_path_factory.mktemp("landing")) as product:
        yield _filled(product)


def test_reads__of_a_group__are_those_of_it_and_below_and_of_no_neighbour(told: Product) -> None:
    with ai_usage_reads(told.settings) as reads:
        assert reads.chat(GROUP) == Chat(users=2, questions=4)
        assert reads.code_suggestions(GROUP) == CodeSuggestions(
            contributors=1,
            shown=2,
            accepted=1,
            rejected=1,
            acceptance_rate=0.5,
            languages=("c", "go"),
            shown_lines=14,
            accepted_lines=10,
        )
        assert reads.contributors(GROUP) == 3
        assert reads.events(GROUP) == {
            ACCEPTED: 1,
            "code_suggestion_rejected_in_ide": 1,
            SHOWN: 2,
            "code_suggestions_requested": 1,
            "request_duo_chat_response": 4,
        }


@pytest.mark.parametrize("namespace", [*rarely("1/2"), "/1/2/", *rarely("1/2/")])
def test_reads__namespace_in_any_spelling__is_the_same(told: Product, namespace: str) -> None:
    with ai_usage_reads(told.settings) as reads:
        assert reads.chat(Scope(namespace, DAY, NEXT)) == Chat(2, 4)


def test_reads__of_everything__has_both_groups(told: Product) -> None:
    with ai_usage_reads(told.settings) as reads:
        assert reads.chat(Scope("", DAY, NEXT)) == Chat(2, 8)


@pytest.mark.parametrize(
    ("first", "last", "questions"), [(DAY, DAY, 2), *rarely((NEXT, NEXT, 2), (DAY, NEXT, 4), (NEXT, DAY, 0))]
)
def test_reads__range__is_inclusive_at_both_ends(told: Product, first: object, last: object, questions: int) -> None:
    scope = Scope("1/2", first, last)  # type: ignore[arg-type]
    with ai_usage_reads(told.settings) as reads:
        assert reads.chat(scope).questions == questions


def test_reads__narrowed_to_a_language__count_only_it(told: Product) -> None:
    with ai_usage_reads(told.settings) as reads:
        found = reads.code_suggestions(Scope("1/2", DAY, NEXT, ("go",)))

    assert (found.shown, found.accepted, found.rejected, found.languages) == (1, 1, 0, ("go",))


def test_reads__nothing_was_shown__has_no_rate(told: Product) -> None:
    earlier = DAY - timedelta(days=9)
    with ai_usage_reads(told.settings) as reads:
        assert reads.code_suggestions(Scope("1/2", earlier, earlier)) == CodeSuggestions(0, 0, 0, 0, None, (), 0, 0)


def test_users__busiest_first__with_their_last_activity(told: Product) -> None:
    with ai_usage_reads(told.settings) as reads:
        users = reads.users(GROUP)
        assert [(user.user_id, user.total) for user in users] == [(2, 6), (1, 2), (9, 1)]
        assert users[1] == UserUsage(1, 2, {"request_duo_chat_response": 2}, at(NEXT))
        assert users[0].last_activity_at == at(NEXT, 15)
        assert [user.user_id for user in reads.users(GROUP, [1, 9])] == [1, 9]
        assert [user.user_id for user in reads.users(GROUP, limit=1, after=(users[0].total, users[0].user_id))] == [1]


def test_reads__namespace_is_hostile__finds_nothing_and_breaks_nothing(told: Product) -> None:
    with ai_usage_reads(told.settings) as reads:
        for namespace in ("%", "1/2'", "\\", "1/_", "{first:Date}"):
            assert reads.chat(Scope(namespace, DAY, NEXT)) == Chat(0, 0)


def test_missing__days_that_were_never_counted__are_told(told: Product) -> None:
    with ai_usage_reads(told.settings) as reads:
        assert reads.missing(GROUP) == []
        scope = Scope("", DAY - timedelta(days=3), NEXT + timedelta(days=2))
        assert reads.missing(scope) == [
            (DAY - timedelta(days=3), DAY - timedelta(days=1)),
            (NEXT + timedelta(days=1), NEXT + timedelta(days=2)),
        ]


def test_missing__of_days_that_hold__asks_each_store_once(told: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    with ai_usage_reads(told.settings) as reads:
        before = reads.clickhouse.cost.statements
        with statements(monkeypatch) as asked:
            assert reads.missing(GROUP) == []
        assert (reads.clickhouse.cost.statements - before, asked) == (1, ["ledger"])


def test_missing__day_is_lost__is_told(product: Product) -> None:
    product.clickhouse.execute("DELETE FROM ai_usage_daily WHERE date = {day:Date}", day=NEXT)

    with ai_usage_reads(product.settings) as reads:
        assert reads.missing(GROUP) == [(NEXT, NEXT)]


@pytest.mark.slow
def test_missing__before_the_first_event_and_after_today__is_nothing(product: Product) -> None:
    product.execute(
        "INSERT INTO analytics_pipeline.enablements (feature, scope, epoch, setting, source_first_day, last_attempt)"
        " VALUES ('ai_usage', 'instance', 1, 'on', %s, 5)",
        DAY,
    )

    with ai_usage_reads(product.settings) as reads:
        assert reads.missing(Scope("", DAY - timedelta(days=3), NEXT)) == []
        later = Scope("", today() + timedelta(days=1), today() + timedelta(days=9))
        assert reads.missing(later) == []


def test_reads__nothing_was_brought_in__are_not_available(empty_product: Product) -> None:
    """The setting is on, and a zero would look like an answer."""
    empty_product.add_chat(at(DAY))
    empty_product.switch_ai_usage(on=True)

    with pytest.raises(NotAvailable, match="none of its days"), ai_usage_reads(empty_product.settings):
        pass


def test_reads__clickhouse_not_configured__are_not_available(told: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLICKHOUSE_URL")

    with pytest.raises(NotAvailable, match="CLICKHOUSE_URL is not set"), ai_usage_reads(Settings.load()):
        pass


def test_reads__setting_is_off__are_not_available(product: Product) -> None:
    product.switch_ai_usage(on=False)

    with pytest.raises(NotAvailable, match="use_clickhouse_for_analytics is off"), ai_usage_reads(product.settings):
        pass
