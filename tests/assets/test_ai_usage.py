"""AI usage through Dagster: a day's events and figures are what the source holds, however often it is materialised."""

from concurrent import futures
from datetime import date, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.flows.ai_usage.daily import DailyUsage
from tests.product import Product, failure_text, today
from tests.sensors.enablement import ASSETS, at
from tests.thorough import on_engines, rarely

DAY = today() - timedelta(days=5)
NEXT = DAY + timedelta(days=1)
NOON = at(DAY)


def materialise(product: Product, first: date = DAY, last: date = DAY) -> None:
    tags = {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }
    result = product.materialise(*ASSETS, tags=tags)
    assert result.success, failure_text(result)


def chats(product: Product) -> list[tuple[Any, ...]]:
    return product.clickhouse.query("SELECT id, user_id, event, namespace_path, timestamp FROM duo_chat_events")


def suggestions(product: Product) -> list[tuple[Any, ...]]:
    return product.clickhouse.query(
        "SELECT id, event, unique_tracking_id, language, suggestion_size, branch_name FROM code_suggestion_events"
        " ORDER BY id"
    )


def figures(product: Product) -> list[tuple[Any, ...]]:
    return product.clickhouse.query(
        "SELECT date, feature, event, user_id, namespace_path, language, occurrences, suggestion_size_sum, last_at"
        " FROM ai_usage_daily FINAL ORDER BY ALL"
    )


def letters(product: Product) -> list[tuple[Any, ...]]:
    return product.execute("SELECT flow, unit, record_key, reason FROM analytics_pipeline.dead_letters ORDER BY 1, 3")


def state(product: Product) -> tuple[list[tuple[Any, ...]], ...]:
    return chats(product), suggestions(product), figures(product)


def test_events__of_the_day__arrive_with_floored_timestamps_and_closed_paths(empty_product: Product) -> None:
    moment = NOON.replace(microsecond=123_999)
    empty_product.add_chat(moment, id=1, namespace_path="1/2")
    empty_product.add_suggestion(
        moment,
        id=7,
        payload={"unique_tracking_id": "t\t\\'x", "language": "go", "suggestion_size": 12, "branch_name": "a\nb"},
    )

    materialise(empty_product)

    floored = moment.replace(microsecond=123_000)
    assert chats(empty_product) == [(1, 1, 1, "1/2/", floored)]
    assert suggestions(empty_product) == [(7, 2, "t\t\\'x", "go", 12, "a\nb")]
    shown = "code_suggestion_shown_in_ide"
    assert figures(empty_product) == [
        (DAY, "chat", "request_duo_chat_response", 1, "1/2/", "", 1, 0, floored),
        (DAY, "code_suggestions", shown, 1, "0/", "go", 1, 12, floored),
    ]


@pytest.mark.parametrize(
    ("path", "stored"),
    [(None, "0/"), *rarely(("", "0/"), ("/", "0/")), ("0/", "0/"), *rarely(("1/23//", "1/23/"), ("1/2/3", "1/2/3/"))],
)
def test_namespace__however_it_is_written__is_one_path(empty_product: Product, path: str | None, stored: str) -> None:
    empty_product.add_chat(NOON, id=1, namespace_path=path)

    materialise(empty_product)

    assert chats(empty_product) == [(1, 1, 1, stored, NOON)]


@pytest.mark.parametrize(
    ("payload", "size"), [(None, 0), ({}, 0), *rarely(({"suggestion_size": None}, 0), ({"suggestion_size": "5"}, 5))]
)
def test_payload__without_what_is_asked_for__gets_safe_defaults(
    empty_product: Product, payload: dict[str, Any] | None, size: int
) -> None:
    empty_product.add_suggestion(NOON, id=1, payload=payload)

    materialise(empty_product)

    assert suggestions(empty_product) == [(1, 2, "", "", size, "")]
    assert letters(empty_product) == []


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"event": 99}, "the event id is not in the registry"),
        *rarely(({"event": -1}, "the event id is not in the registry"), ({"user": -1}, "the event has no user")),
    ],
)
def test_event__that_cannot_be_kept__is_a_dead_letter_and_stops_nobody(
    empty_product: Product, columns: dict[str, Any], reason: str
) -> None:
    empty_product.add_suggestion(NOON, id=1, **columns)
    empty_product.add_suggestion(NOON, id=2)

    materialise(empty_product)
    materialise(empty_product)

    assert [id_ for id_, *_ in suggestions(empty_product)] == [2]
    assert letters(empty_product) == [("code_suggestion_events", str(DAY), "1", reason)]


UNREADABLE_SIZES = (-1, 1.5, 10**30, "many", "", " 5", True, [1], {"a": 1}, "1\n")


def test_event__with_unreadable_attributes__counts_and_says_which_are_unknown(empty_product: Product) -> None:
    for number, size in enumerate(UNREADABLE_SIZES, start=1):
        empty_product.add_suggestion(NOON, id=number, payload={"suggestion_size": size, "language": "go"})
    for number, payload in enumerate(([1], "text", 5), start=21):
        empty_product.add_suggestion(NOON, id=number, payload=payload)
    empty_product.execute(
        "INSERT INTO ai_code_suggestion_events (id, timestamp, user_id, event, payload)"
        """ VALUES (31, %s, 1, 2, '{"suggestion_size": 1.0}')""",
        NOON,
    )
    empty_product.add_suggestion(NOON, id=40, payload={"suggestion_size": 5})
    empty_product.add_suggestion(NOON, id=41, event=99)
    sizes = [*range(1, len(UNREADABLE_SIZES) + 1), 31]

    for _ in range(2):
        materialise(empty_product)

        sized = {number: (2, "", "" if number == 31 else "go", 0, "") for number in sizes}
        others = {**dict.fromkeys((21, 22, 23), (2, "", "", 0, "")), 40: (2, "", "", 5, "")}
        assert {id_: tuple(rest) for id_, *rest in suggestions(empty_product)} == sized | others
        assert sum(row[6] for row in figures(empty_product)) == len(sizes) + 4
        assert {int(key): reason for _, _, key, reason in letters(empty_product)} == {
            **dict.fromkeys(sizes, "kept without suggestion_size: it cannot be read"),
            **dict.fromkeys((21, 22, 23), "kept without payload: it cannot be read"),
            41: "the event id is not in the registry",
        }
        assert empty_product.execute(
            "SELECT rows, refused FROM analytics_pipeline.source_copies WHERE source = 'code_suggestion_events'"
        ) == [(len(sizes) + 4, 1)]
        unreadable = empty_product.clickhouse.query("SELECT id, unreadable FROM code_suggestion_events ORDER BY id")
        assert dict(unreadable) == {
            **dict.fromkeys(sizes, "suggestion_size"),
            **dict.fromkeys((21, 22, 23), "payload"),
            40: "",
        }

    empty_product.execute("UPDATE ai_code_suggestion_events SET payload = NULL WHERE id <> 41")
    materialise(empty_product)
    assert [key for _, _, key, _ in letters(empty_product)] == ["41"]


def test_payload__is_json_that_jsonb_cannot_hold__counts(empty_product: Product) -> None:
    """A pair of surrogates is a character, two backslashes are one; half a pair and NUL are nothing."""
    empty_product.execute("ALTER TABLE ai_code_suggestion_events ALTER COLUMN payload TYPE json")
    languages = [r"go", r"\ud83d\ude00", r"\\u0000", r"\ud83d", r"\u0000", r"a\ude00b"]
    for number, language in enumerate(languages, start=1):
        empty_product.execute(
            "INSERT INTO ai_code_suggestion_events (id, timestamp, user_id, event, payload) VALUES (%s, %s, 1, 2, %s)",
            *(number, NOON, f'{{"language": "{language}"}}'),
        )
    empty_product.add_suggestion(NOON, id=7, payload=None)

    materialise(empty_product)

    assert [row[3] for row in suggestions(empty_product)] == ["go", "😀", "\\u0000", "", "", "", ""]
    assert [(key, reason[:20]) for _, _, key, reason in letters(empty_product)] == [
        (str(number), "kept without payload") for number in (4, 5, 6)
    ]


def test_day__materialised_twice__is_the_same(empty_product: Product) -> None:
    for number in range(5):
        empty_product.add_chat(NOON, user=number)
        empty_product.add_suggestion(NOON + timedelta(minutes=number), user=number)

    materialise(empty_product)
    once = state(empty_product)
    materialise(empty_product)

    assert state(empty_product) == once
    assert len(once[0]) == len(once[1]) == 5


def test_day__whose_rows_vanished__becomes_empty(empty_product: Product) -> None:
    empty_product.add_chat(NOON)
    empty_product.add_suggestion(NOON)
    materialise(empty_product)
    empty_product.execute("TRUNCATE ai_duo_chat_events, ai_code_suggestion_events")

    materialise(empty_product)

    assert state(empty_product) == ([], [], [])


def test_range__of_days__leaves_the_others_alone(empty_product: Product) -> None:
    for number in range(4):
        empty_product.add_chat(NOON + timedelta(days=number), id=number + 1)

    materialise(empty_product, NEXT, DAY + timedelta(days=2))

    assert sorted(id_ for id_, *_ in chats(empty_product)) == [2, 3]


def test_figures__of_two_equal_moments__count_both(empty_product: Product) -> None:
    """Two events of one user in one millisecond are two events: the source gave them two ids."""
    empty_product.add_chat(NOON, id=1)
    empty_product.add_chat(NOON, id=2)

    materialise(empty_product)

    assert [row[6] for row in figures(empty_product)] == [2]


def test_figures__of_days_at_the_edges__are_those_of_the_utc_day(empty_product: Product) -> None:
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=timezone.utc)
    for id_, moment in enumerate(
        [midnight, midnight + timedelta(days=1) - timedelta(microseconds=1), midnight + timedelta(days=1)], start=1
    ):
        empty_product.add_chat(moment, id=id_)

    materialise(empty_product, DAY, NEXT)

    assert [(row[0], row[6]) for row in figures(empty_product)] == [(DAY, 2), (NEXT, 1)]


@pytest.mark.slow
def test_figures__another_build_is_under_way__wait_until_it_has_ended(empty_product: Product) -> None:
    empty_product.add_chat(NOON)
    materialise(empty_product)
    usage = DailyUsage(empty_product.clickhouse, empty_product.postgres, "run")

    with futures.ThreadPoolExecutor() as pool:
        with empty_product.postgres.lease("ai_usage_daily"):
            building = pool.submit(usage.build, DAY, DAY)
            with pytest.raises(futures.TimeoutError):
                building.result(timeout=0.5)

        assert building.result() == {DAY: 1}


@on_engines(8)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from([2, 3, 4]), st.sampled_from(["go", "c"])),
        max_size=20,
    )
)
def test_figures__of_any_events__are_what_counting_them_gives(
    empty_product: Product, events: list[tuple[int, int, int, str]]
) -> None:
    empty_product.execute("TRUNCATE ai_code_suggestion_events")
    expected: dict[tuple[date, int, int, str], int] = {}
    for offset, user, event, language in events:
        day = DAY + timedelta(days=offset)
        empty_product.add_suggestion(at(day), user=user, event=event, payload={"language": language})
        expected[day, user, event, language] = expected.get((day, user, event, language), 0) + 1

    materialise(empty_product, DAY, DAY + timedelta(days=3))

    ids = {
        "code_suggestion_shown_in_ide": 2,
        "code_suggestion_accepted_in_ide": 3,
        "code_suggestion_rejected_in_ide": 4,
    }
    assert {(row[0], row[3], ids[row[2]], row[5]): row[6] for row in figures(empty_product)} == expected


def test_copy__fails_half_way__the_old_day_stays_whole(empty_product: Product) -> None:
    empty_product.add_chat(NOON, id=1)
    materialise(empty_product)
    before = state(empty_product)
    empty_product.add_chat(NOON, id=2)
    empty_product.execute("ALTER TABLE ai_duo_chat_events ALTER COLUMN user_id TYPE text")

    result = empty_product.materialise(*ASSETS, day=DAY)

    assert not result.success
    assert "ai_duo_chat_events.user_id is text, an integer is needed" in failure_text(result)
    assert state(empty_product) == before
    assert not any(name.startswith("staging_") for name in empty_product.tables())


@pytest.mark.parametrize(
    ("asset", "check"),
    [
        ("duo_chat_events", "chat_events_equal_source"),
        ("code_suggestion_events", "suggestion_events_equal_source"),
        *rarely(("ai_usage_daily", "figures_count_every_event_once"), ("ai_usage_daily", "ledgers_know_every_day")),
    ],
)
def test_check__of_a_good_and_a_damaged_day__passes_and_fails(empty_product: Product, asset: str, check: str) -> None:
    now = datetime.now(timezone.utc)
    empty_product.add_chat(now)
    empty_product.add_suggestion(now)
    materialise(empty_product, today(), today())
    assert _passed(empty_product, asset, check)

    table = "ai_usage_daily" if asset == "ai_usage_daily" else asset
    empty_product.clickhouse.execute(f"TRUNCATE TABLE {table}")
    empty_product.execute("TRUNCATE analytics_pipeline.ai_usage_days")

    assert not _passed(empty_product, asset, check)


def _passed(product: Product, asset: str, check: str) -> bool:
    (evaluation,) = product.check(asset, check).get_asset_check_evaluations()
    return evaluation.passed


def test_source__not_what_the_contract_says__names_the_repair(empty_product: Product) -> None:
    empty_product.execute("DROP TABLE ai_duo_chat_events")

    result = empty_product.materialise("duo_chat_events", day=DAY)

    assert "analytics-pipeline doctor" in failure_text(result)
    with pytest.raises(psycopg.errors.UndefinedTable):
        empty_product.execute("SELECT 1 FROM ai_duo_chat_events")
