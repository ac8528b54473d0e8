"""Every figure of AI usage through HTTP is that of pandas over the source's own rows."""

import random
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from psycopg.types.json import Jsonb

from analytics_pipeline.flows.days import day_start
from tests.api.test_oracles import pages
from tests.product import Product, today

SHOWN, ACCEPTED, REJECTED, REQUESTED, CHAT = (
    "code_suggestion_shown_in_ide",
    "code_suggestion_accepted_in_ide",
    "code_suggestion_rejected_in_ide",
    "code_suggestions_requested",
    "request_duo_chat_response",
)
# As the relation of suggestions numbers them.
NUMBERS = {REQUESTED: 1, SHOWN: 2, ACCEPTED: 3, REJECTED: 4}
SUGGESTED = [SHOWN, ACCEPTED, REJECTED]
DAYS = [today() - timedelta(days=ago) for ago in (4, 3, 2, 1)]
# One that begins like another is not below it.
NAMESPACES = ("1/2/", "1/2/3/", "1/23/", "7/")
RELATIONS = {"chat": "ai_duo_chat_events", "code_suggestions": "ai_code_suggestion_events"}
SCOPES: list[tuple[dict[str, Any], slice]] = [
    ({}, slice(0, 4)),
    ({"namespace": "1/2/"}, slice(0, 4)),
    ({"namespace": "1/2", "language": ["go", "c"]}, slice(1, 3)),
    ({"namespace": "7/"}, slice(3, 4)),
    ({"namespace": "nowhere/"}, slice(0, 4)),
]


def _event(dice: random.Random) -> dict[str, Any]:
    feature = dice.choice(("chat", "code_suggestions", "code_suggestions"))
    noon = day_start(dice.choice(DAYS)) + timedelta(milliseconds=dice.randrange(86_400_000))
    name = CHAT if feature == "chat" else dice.choice([*NUMBERS])
    some = {
        "language": dice.choice(("go", "c", "python", "C")),
        "suggestion_size": dice.randrange(40),
        "branch_name": dice.choice(("main", "other")),
        "unique_tracking_id": f"t{dice.randrange(9)}",
    }
    payload = {key: value for key, value in some.items() if dice.random() < 0.8} if feature != "chat" else {}
    return {
        "feature": feature,
        "name": name,
        "timestamp": noon.isoformat(),
        "user_id": dice.randrange(12),
        "namespace_path": dice.choice(NAMESPACES),
        "event": NUMBERS.get(name, 1),
        "payload": payload,
    }


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Six hundred events of four days; what a payload lacks is '' or 0."""
    dice = random.Random(11)  # noqa: S311 - no secret
    events = [_event(dice) for _ in range(600)]
    blank = {"language": "", "suggestion_size": 0, "branch_name": "", "unique_tracking_id": ""}
    found = pd.DataFrame([{**one, **blank, **one["payload"]} for one in events])
    dated: pd.DataFrame = found.assign(day=pd.to_datetime(found.timestamp, format="ISO8601").dt.date)
    return dated


@pytest.fixture
def usage(empty_product: Product, rows: pd.DataFrame) -> Product:
    """The product with these events, all of their days brought in by one run."""
    columns = ["timestamp", "user_id", "namespace_path", "event", "payload"]
    for feature, relation in RELATIONS.items():
        empty_product.execute(
            f"INSERT INTO {relation} (timestamp, user_id, namespace_path, event, payload)"
            " SELECT * FROM jsonb_to_recordset(%s)"
            " AS row (timestamp timestamptz, user_id bigint, namespace_path text, event smallint, payload jsonb)",
            Jsonb(rows[rows.feature == feature][columns].to_dict("records")),
        )
    empty_product.switch_ai_usage(on=True)
    days = {"start": f"{DAYS[0]}", "end": f"{DAYS[-1]}"}
    tags = {f"dagster/asset_partition_range_{end}": day for end, day in days.items()}
    tables = ("duo_chat_events", "code_suggestion_events", "ai_usage_daily")
    assert empty_product.materialise(*tables, tags=tags).success
    return empty_product


def test_ai_usage__through_http__is_that_of_pandas(usage: Product, client: TestClient, rows: pd.DataFrame) -> None:
    for asked, days in SCOPES:
        query = {**asked, "from": f"{DAYS[days][0]}", "to": f"{DAYS[days][-1]}"}
        own = _within(rows, asked, days)
        metrics = client.get("/v1/ai-usage/metrics", params=query).json()
        assert (metrics["data"], metrics["coverage"]) == (_metrics(own), "complete"), asked
        assert pages(client, "/v1/ai-usage/languages", **query, limit=2) == _languages(own), asked
        assert pages(client, "/v1/ai-usage/users", **query, limit=4) == _users(own), asked
        assert _events(pages(client, "/v1/ai-usage/events", **query, limit=90)) == _sorted(own), asked


def _within(rows: pd.DataFrame, asked: dict[str, Any], days: slice) -> pd.DataFrame:
    path = asked.get("namespace", "").rstrip("/")
    is_below = rows.namespace_path.str.startswith(f"{path}/" if path else "")
    is_in = rows.language.isin(asked["language"]) if "language" in asked else True
    found: pd.DataFrame = rows[is_below & rows.day.isin(DAYS[days]) & is_in]
    return found


def _metrics(own: pd.DataFrame) -> dict[str, Any]:
    code, chat = own[own.name.isin(SUGGESTED)], own[own.name == CHAT]
    shown, accepted = (code[code.name == name] for name in (SHOWN, ACCEPTED))
    return {
        "contributors": own.user_id.nunique(),
        "code_contributors": code.user_id.nunique(),
        "shown": len(shown),
        "accepted": len(accepted),
        "rejected": int((code.name == REJECTED).sum()),
        "acceptance_rate": len(accepted) / len(shown) if len(shown) else None,
        "shown_lines": int(shown.suggestion_size.sum()),
        "accepted_lines": int(accepted.suggestion_size.sum()),
        "languages": sorted({*code.language} - {""}),
        "chat_users": chat.user_id.nunique(),
        "chat_questions": len(chat),
        "events": own.groupby("name").size().to_dict(),
    }


def _languages(own: pd.DataFrame) -> list[dict[str, Any]]:
    found = []
    for language, of_it in own[own.name.isin(SUGGESTED)].groupby("language"):
        counts = {name: int((of_it.name == name).sum()) for name in SUGGESTED}
        rate = counts[ACCEPTED] / counts[SHOWN] if counts[SHOWN] else None
        found.append(
            {
                "language": language,
                "contributors": of_it.user_id.nunique(),
                "shown": counts[SHOWN],
                "accepted": counts[ACCEPTED],
                "rejected": counts[REJECTED],
                "acceptance_rate": rate,
            }
        )
    return found


def _users(own: pd.DataFrame) -> list[dict[str, Any]]:
    found = [
        {
            "user_id": user,
            "total": len(of_them),
            "events": of_them.groupby("name").size().to_dict(),
            "last_activity_at": _text(max(of_them.timestamp)),
        }
        for user, of_them in own.groupby("user_id")
    ]
    return sorted(found, key=lambda row: (-row["total"], row["user_id"]))


def _text(moment: str) -> str:
    """The moment as answers write it."""
    return str(pd.Timestamp(moment).isoformat()).replace("+00:00", "Z")


COLUMNS = ["timestamp", "feature", "name", "user_id", "namespace_path", "language", "suggestion_size", "branch_name"]
COLUMNS.append("unique_tracking_id")


def _sorted(own: pd.DataFrame) -> list[tuple[Any, ...]]:
    found = own.assign(timestamp=own.timestamp.map(_text))[COLUMNS]
    return sorted(found.itertuples(index=False, name=None))


def _events(answered: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Without the ids, which Postgres gave; that they come the newest first is asked here."""
    moments = [pd.Timestamp(row["timestamp"]) for row in answered]
    assert moments == sorted(moments, reverse=True)
    names = {"name": "event", "namespace_path": "namespace"}
    return sorted(tuple(row[names.get(column, column)] for column in COLUMNS) for row in answered)


@pytest.mark.parametrize(
    ("wanted", "condition"),
    [
        ({"event": [SHOWN, CHAT]}, "name in [@SHOWN, @CHAT]"),
        ({"user": [3, 5], "branch_name": "main"}, "user_id in [3, 5] and branch_name == 'main'"),
        ({"unique_tracking_id": "t4"}, "unique_tracking_id == 't4'"),
        ({"min_suggestion_size": 10, "max_suggestion_size": 20}, "10 <= suggestion_size <= 20"),
        (
            {"namespace": "1/", "language": "C", "user": 1},
            "namespace_path != '7/' and language == 'C' and user_id == 1",
        ),
    ],
)
def test_ai_events__narrowed__are_those_of_pandas(
    usage: Product, client: TestClient, rows: pd.DataFrame, wanted: dict[str, Any], condition: str
) -> None:
    query = {**wanted, "from": f"{DAYS[0]}", "to": f"{DAYS[-1]}", "limit": 50}

    own = rows.query(condition, local_dict={"SHOWN": SHOWN, "CHAT": CHAT})

    assert _events(pages(client, "/v1/ai-usage/events", **query)) == _sorted(own) != []
