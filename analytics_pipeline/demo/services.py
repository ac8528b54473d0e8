"""Three small services of the demo product, each a process of its own that sends what happens in it with the SDK.

    python analytics_pipeline/demo/services.py shop|tasks|hub

ANALYTICS_URL and ANALYTICS_TOKEN say where to. A service begins with a burst, as if it had been busy already, goes on
with a few events a second, and ends when it is asked to (SIGTERM), once they are sent.
"""

import random
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from threading import Event as Signal
from uuid import UUID

from analytics_pipeline_sdk import CustomEvent, from_env
from analytics_pipeline_sdk.events import (
    ApiRequest,
    ApplicationError,
    AuthLoginAttempt,
    AuthTokenRefresh,
    CocoonConnected,
    CocoonDisconnected,
    CocoonRegistered,
    Event,
    IntegrationConnected,
    IntegrationError,
    IntegrationUsed,
    TaskCompleted,
    TaskCreated,
    TaskFailed,
    TaskStarted,
)

BURST = 120
_PAUSE_SECONDS = 0.5
_CLOSE_SECONDS = 5.0
_USERS, _COCOONS, _INTEGRATIONS = 40, 6, 4
_ENDPOINTS = (("GET", "/v1/books"), ("GET", "/v1/books/{id}"), ("POST", "/v1/orders"), ("GET", "/v1/search"))

Happenings = Callable[[random.Random], Iterator[Event]]


def shop(dice: random.Random) -> Iterator[Event]:
    """A request, of which some are slow and some fail, and now and then a login."""
    method, endpoint = dice.choice(_ENDPOINTS)
    status = dice.choices((200, 404, 500), (90, 7, 3))[0]
    slow = 8 if endpoint == "/v1/search" else 1
    milliseconds = int(dice.lognormvariate(3, 0.8) * slow)
    yield ApiRequest(
        service="shop",
        endpoint=endpoint,
        method=method,
        status_code=status,
        duration_ms=milliseconds,
        user_id=_one(dice, "user", _USERS),
    )
    if status == 500:
        yield ApplicationError(service="shop", error_type="Timeout", error_message="the stock did not answer")
    if dice.random() < 0.1:
        yield AuthLoginAttempt(
            user_id=_one(dice, "user", _USERS), email="reader@example.com", success=dice.random() < 0.8
        )


def tasks(dice: random.Random) -> Iterator[Event]:
    """A task from its begin to its end, on a cocoon that comes and goes."""
    task, user, cocoon = UUID(int=dice.getrandbits(128)), _one(dice, "user", _USERS), _one(dice, "cocoon", _COCOONS)
    yield TaskCreated(task_id=task, user_id=user, cocoon_id=cocoon, command="make test")
    yield TaskStarted(task_id=task, user_id=user, cocoon_id=cocoon)
    milliseconds = int(dice.lognormvariate(8, 1))
    if dice.random() < 0.85:
        yield TaskCompleted(task_id=task, user_id=user, duration_ms=milliseconds, exit_code=0)
    else:
        yield TaskFailed(task_id=task, user_id=user, duration_ms=milliseconds, exit_code=1, error="a test failed")
    if dice.random() < 0.2:
        yield CocoonRegistered(cocoon_id=cocoon, user_id=user)
        yield CocoonConnected(cocoon_id=cocoon, user_id=user)
        yield CocoonDisconnected(cocoon_id=cocoon, user_id=user, duration_seconds=dice.randrange(60, 7200))


def hub(dice: random.Random) -> Iterator[Event]:
    """Integrations with others' services, one of which is not well; and an event that is in nobody's list."""
    integration, user = _one(dice, "integration", _INTEGRATIONS), _one(dice, "user", _USERS)
    provider = ("github", "slack")[integration.int % 2]
    if dice.random() < 0.1:
        yield IntegrationConnected(integration_id=integration, user_id=user, provider=provider)
    if dice.random() < (0.25 if provider == "slack" else 0.02):
        yield IntegrationError(integration_id=integration, user_id=user, provider=provider, error="rate limited")
    else:
        yield IntegrationUsed(integration_id=integration, user_id=user, provider=provider, action="sync")
    if dice.random() < 0.1:
        yield AuthTokenRefresh(user_id=user, success=True)
    if dice.random() < 0.05:
        yield CustomEvent("digest_sent", {"recipients": dice.randrange(1, 50)})


SERVICES: Mapping[str, Happenings] = {"shop": shop, "tasks": tasks, "hub": hub}


def _one(dice: random.Random, kind: str, of: int) -> UUID:
    """One of so many users, cocoons or integrations, which are the same in every process."""
    return UUID(int=random.Random(f"demo:{kind}:{dice.randrange(of)}").getrandbits(128))  # noqa: S311


def main(name: str) -> None:
    """Let the service work until it is asked to end."""
    happens, ended, dice = SERVICES[name], Signal(), random.Random()  # noqa: S311
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    client = from_env()
    for _ in range(BURST):
        for event in happens(dice):
            client.track(event)
    while not ended.wait(_PAUSE_SECONDS):
        for event in happens(dice):
            client.track(event)
    client.close(timeout=_CLOSE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
