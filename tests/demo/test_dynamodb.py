"""What the embedded engine never does: leave items unprocessed."""

from typing import Any

import pytest

from analytics_pipeline.demo import demo_product
from analytics_pipeline.demo.dynamodb import write_identities


class _Throttled:
    """Takes at most `limit` items of a request and hands the rest back, as DynamoDB does when it is busy."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.requests: list[int] = []
        self.taken: list[str] = []

    def batch_write_item(self, *, RequestItems: dict[str, list[Any]]) -> dict[str, Any]:  # noqa: N803
        waiting = RequestItems["users"]
        self.requests.append(len(waiting))
        self.taken += [item["PutRequest"]["Item"]["composite_key"]["S"] for item in waiting[: self.limit]]
        rest = waiting[self.limit :]
        return {"UnprocessedItems": {"users": rest} if rest else {}}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []
    monkeypatch.setattr("time.sleep", taken.append)
    return taken


def _write(client: _Throttled, count: int) -> None:
    anything: Any = client
    write_identities(anything, "users", demo_product().identities[:count])


def test_write__items_left_unprocessed__asks_again_for_those_alone(pauses: list[float]) -> None:
    client = _Throttled(limit=10)
    _write(client, 25)
    assert client.requests == [25, 15, 5]
    assert client.taken == [identity.composite_key for identity in demo_product().identities[:25]]
    assert pauses == [0.1, 0.2]


def test_write__table_that_never_takes_all__gives_up_and_says_what_is_left(pauses: list[float]) -> None:
    client = _Throttled(limit=1)
    with pytest.raises(RuntimeError, match="table users left 17 identities unwritten after 8 attempts"):
        _write(client, 25)
    assert client.requests == [25, 24, 23, 22, 21, 20, 19, 18]
    assert len(pauses) == 7
