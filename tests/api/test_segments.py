"""Segments through HTTP: sizes, members with the rules of the product, and the segments of one identity."""

from datetime import timedelta
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from tests.product import ENVIRONMENT, PROJECT, Product, condition, document, today

SEGMENTS = f"/v1/projects/{PROJECT}/segments"
MEMBERS = f"{SEGMENTS}/1/members"


@pytest.fixture
def counted(product: Product) -> Product:
    """Three members of segment 1, one stranger, and segment 2, which SQL cannot say."""
    product.add_segment(2, condition("REGEX", "plan", "^(?=pro)"))
    product.put(
        *(document(name, plan="pro", tags=["a", {"b": 1}]) for name in ("Ada", "bea", "cyd")),
        document("dan", plan="free"),
    )
    assert product.materialise().success
    return product


def test_segments__of_a_project__have_their_sizes(counted: Product, client: TestClient) -> None:
    found = client.get(SEGMENTS).json()["data"]

    assert [(row["segment"], row["memberships"][0]["count"], row["memberships"][0]["status"]) for row in found] == [
        (1, 3, "counted"),
        (2, 3, "fallback"),
    ]


def test_segments__never_counted__are_unknown_and_not_zero(product: Product, client: TestClient) -> None:
    (row,) = client.get(SEGMENTS).json()["data"]

    assert row["memberships"][0] == {
        "environment": ENVIRONMENT,
        "environment_name": "Production",
        "count": None,
        "status": "unknown",
        "reason": "it was not counted yet; the next run of segment_counts does",
        "last_synced_at": None,
    }


def test_segments__feature_off__have_no_memberships(counted: Product, client: TestClient) -> None:
    counted.set_flag(1, enabled=False)

    assert [row["memberships"] for row in client.get(SEGMENTS).json()["data"]] == [[], []]
    assert client.get(MEMBERS, params={"environment": ENVIRONMENT}).status_code == 404


def test_counts__of_days__are_unknown_where_nobody_counted(counted: Product, client: TestClient) -> None:
    before, yesterday = (today() - timedelta(days=age) for age in (2, 1))
    days = {"from": str(before), "to": str(today())}
    found = client.get(f"{SEGMENTS}/1/counts", params=days).json()
    moved = client.get(f"/v1/projects/{PROJECT}/segment-movers", params=days).json()

    assert [(row["date"], row["count"], row["status"]) for row in found["data"]] == [
        (str(before), None, "unknown"),
        (str(yesterday), None, "unknown"),
        (str(today()), 3, "counted"),
    ]
    assert found["missing"] == [{"first": str(before), "last": str(yesterday)}]
    assert {row["before"] for row in moved["data"]} == {None}
    assert (moved["coverage"], moved["missing"]) == ("partial", [{"first": str(before), "last": str(before)}])


def test_counts__of_closed_days__are_told_by_the_ledger_alone(counted: Product, client: TestClient) -> None:
    yesterday = today() - timedelta(days=1)
    days = {"from": str(yesterday - timedelta(days=2)), "to": str(yesterday)}
    counted.clickhouse.execute(
        "INSERT INTO segment_counts (date, organisation_id, project_id, segment_id, environment_id, environment_key,"
        f" count, status, reason, computed_at) SELECT '{yesterday}', organisation_id, project_id, segment_id,"
        " environment_id, environment_key, 2, status, reason, computed_at FROM segment_counts FINAL"
    )
    ledger, columns = (
        "analytics_pipeline.segment_refreshes",
        "organisation_id, status, run_id, started_at, completed_at",
    )
    counted.execute(
        f"INSERT INTO {ledger} (project_id, snapshot_date, {columns})"
        f" SELECT project_id, snapshot_date - 1, {columns} FROM {ledger}"
    )

    for path in (f"{SEGMENTS}/1/counts", f"/v1/projects/{PROJECT}/segment-movers"):
        first = client.get(path, params=days)
        held = {"If-None-Match": first.headers["etag"]}
        again = client.get(path, params=days, headers=held)
        counted.execute(f"UPDATE {ledger} SET completed_at = now(), run_id = 'later' WHERE snapshot_date < %s", today())
        anew = client.get(path, params=days, headers=held)
        counted.execute(f"UPDATE {ledger} SET status = 'running' WHERE snapshot_date < %s", today())
        counting = client.get(path, params=days, headers={"If-None-Match": anew.headers["etag"]})
        counted.execute(f"UPDATE {ledger} SET status = 'completed'")

        assert (again.status_code, '"0 queries' in again.headers["server-timing"]) == (304, True), path
        assert (anew.status_code, anew.headers["etag"] != held["If-None-Match"]) == (200, True)
        assert counting.headers["etag"].startswith("W/")
        assert '"0 queries' not in counting.headers["server-timing"]
    counted.execute("UPDATE segments SET deleted_at = now() WHERE id = 1")
    assert client.get(f"{SEGMENTS}/1/counts", params=days, headers=held).status_code == 404


def test_members__page_by_page__are_the_engines_with_their_traits(counted: Product, client: TestClient) -> None:
    first = client.get(MEMBERS, params={"environment": ENVIRONMENT, "limit": 2})
    second = client.get(first.links["next"]["url"])

    assert [row["identifier"] for row in first.json()["data"]] == ["Ada", "bea"]
    assert second.json()["data"] == [
        {
            "identifier": "cyd",
            "identity_key": f"env-key-{ENVIRONMENT}_cyd",
            "traits": {"plan": "pro", "tags": ["a", {"b": 1}]},
        }
    ]
    # A page that exactly fits is the last one.
    assert second.json()["next_cursor"] is None


@pytest.mark.parametrize(("text", "found"), [("AD", ["Ada"]), ("%", []), ("b", ["bea"]), ("", ["Ada", "bea", "cyd"])])
def test_members__with_a_text__are_those_that_hold_it(
    counted: Product, client: TestClient, text: str, found: list[str]
) -> None:
    rows = client.get(MEMBERS, params={"environment": ENVIRONMENT, "q": text}).json()["data"]

    assert [row["identifier"] for row in rows] == found


def test_members__of_what_sql_cannot_say__are_unknown_with_the_reason(counted: Product, client: TestClient) -> None:
    found = client.get(f"{SEGMENTS}/2/members", params={"environment": ENVIRONMENT}).json()

    assert (found["data"], found["coverage"]) == ([], "unknown")
    assert found["reason"].startswith("its members cannot be listed: ")


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        (MEMBERS, {"environment": 999}, 404),
        (MEMBERS, {"environment": ENVIRONMENT, "limit": 201}, 400),
        (MEMBERS, {}, 400),
        (f"{SEGMENTS}/99/members", {"environment": ENVIRONMENT}, 404),
        ("/v1/projects/99/segments", {}, 404),
    ],
)
def test_members__of_nothing__are_refused(
    product: Product, client: TestClient, path: str, params: dict[str, int], status: int
) -> None:
    assert client.get(path, params=params).status_code == status


def test_identity__in_every_segment__has_the_engines_answer(counted: Product, client: TestClient) -> None:
    path = f"/v1/projects/{PROJECT}/environments/{ENVIRONMENT}/identities"
    ada, dan = (client.get(f"{path}/{name}/segments").json()["data"] for name in ("Ada", "dan"))

    assert [(row["segment"], row["is_member"]) for row in ada] == [(1, True), (2, True)]
    assert [(row["segment"], row["is_member"]) for row in dan] == [(1, False), (2, False)]
    assert client.get(f"{path}/nobody/segments").status_code == 404


def test_identity__of_any_letters__has_a_next_page_by_its_own_address(product: Product, client: TestClient) -> None:
    product.add_segment(2, condition("EQUAL", "plan", "pro"))
    product.put(document("日本 ?#", plan="pro"))
    assert product.materialise().success
    path = f"/v1/projects/{PROJECT}/environments/{ENVIRONMENT}/identities/{quote('日本 ?#', safe='')}/segments"

    first = client.get(path, params={"limit": 1})
    second = client.get(first.links["next"]["url"])

    assert [first.json()["data"][0]["segment"], second.json()["data"][0]["segment"]] == [1, 2]
