"""The other clients: asyncio, no-op, in memory, from the environment."""

import asyncio
import logging
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from analytics_pipeline_sdk import (
    AnalyticsClient,
    AsyncAnalyticsClient,
    CustomEvent,
    MemoryClient,
    NoopClient,
    Settings,
    Stats,
    from_env,
)
from analytics_pipeline_sdk.events import TaskStarted
from sdk_support.receiver import Receiver
from sdk_support.samples import FAST, USER, event


def test_asyncio__events_of_many_tasks__arrive_while_the_loop_goes_on(receiver: Receiver, spool: Path) -> None:
    async def run() -> tuple[list[str | None], Stats, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        async with AsyncAnalyticsClient(receiver.url, spool=spool, settings=FAST) as client:
            ticking = asyncio.create_task(tick())
            ids = [client.track(event(number)) for number in range(250)]
            assert client.track_if(False, event()) is None  # noqa: FBT003 - the condition
            assert await client.flush(10)
            ticking.cancel()
            return ids, client.stats(), ticks

    ids, stats, ticks = asyncio.run(run())

    assert {*receiver.stored} == {*ids}
    assert stats == Stats(accepted=250, delivered=250)
    assert ticks > 1


def test_asyncio__policy_that_waits__is_refused(receiver: Receiver, spool: Path) -> None:
    with pytest.raises(ValueError, match="block"):
        AsyncAnalyticsClient(receiver.url, spool=spool, settings=Settings(policy="block"))


def test_noop__any_event__does_nothing() -> None:
    with NoopClient() as client:
        results = (client.track(event()), client.track_if(True, event()), client.flush(), client.stats())  # noqa: FBT003

    assert results == (None, None, True, Stats())


def test_memory_client__keeps_what_the_server_would_store_and_says_why_not() -> None:
    client = MemoryClient(before_send=lambda one: None if one == event(9) else one)
    odd = TaskStarted(task_id=cast(UUID, "seven"), user_id=USER)

    for one in (event(1), CustomEvent("opened", {"page": 1}), odd, cast(Any, "text"), event(9)):
        client.track(one)

    assert client.of(TaskStarted) == [event(1)]
    assert client.only(CustomEvent).properties == {"page": 1}
    client.assert_tracked(TaskStarted, task_id=UUID(int=1))
    assert client.problems[0].startswith("TaskStarted: Invalid UUID")
    assert client.problems[1:] == ["str: not_an_event", "TaskStarted: before_send"]
    stats = client.stats()
    assert stats == Stats(
        accepted=3, delivered=2, rejected={"invalid": 1}, refused={"not_an_event": 1, "before_send": 1}
    )
    assert stats.is_balanced


def test_memory_client__asked_for_what_was_not_tracked__says_what_was() -> None:
    client = MemoryClient()
    client.track(event(1))

    with pytest.raises(AssertionError, match=r"no task_started with .* tracked: \[TaskStarted"):
        client.assert_tracked(TaskStarted, task_id=UUID(int=2))
    with pytest.raises(AssertionError, match="0 events are custom"):
        client.only(CustomEvent)
    client.clear()
    assert (client.events, client.stats()) == ([], Stats())


def test_from_env__nothing_set__does_nothing_and_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        client = from_env({})

    assert isinstance(client, NoopClient)
    assert caplog.messages == ["ANALYTICS_URL is not set: events are not sent anywhere"]


def test_from_env__everything_set__is_used(receiver: Receiver, spool: Path) -> None:
    environment = {
        "ANALYTICS_URL": receiver.url + "/",
        "ANALYTICS_TOKEN": "secret",
        "ANALYTICS_SERVICE": "billing",
        "ANALYTICS_DURABILITY": "disk",
        "ANALYTICS_SPOOL": str(spool),
        "ANALYTICS_FLUSH_INTERVAL": "0.01",
        "ANALYTICS_BATCH_EVENTS": "3",
        "ENVIRONMENT": "staging",
    }

    with from_env(environment) as client:
        client.track(event())
        assert client.flush(5)
        assert list(spool.glob("*.segment")) != []

    first = receiver.seen[0]
    assert (first.envelope["service"], first.envelope["environment"]) == ("billing", "staging")
    assert first.headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(("name", "value"), [("BATCH_EVENTS", "many"), ("POLICY", "pray"), ("DURABILITY", "paper")])
def test_from_env__value_that_makes_no_sense__raises_with_its_name(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"(?i){name}"):
        from_env({"ANALYTICS_URL": "http://127.0.0.1:1", f"ANALYTICS_{name}": value})


def test_default_spool__is_one_for_each_endpoint_token_and_service(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    receiver.then = "503"
    for token in ("one", "two", "one"):
        client = AnalyticsClient(receiver.url, token=token, settings=FAST)
        client.track(event())
        client.close(1)

    assert len(list((tmp_path / "analytics-pipeline-sdk").iterdir())) == 2
