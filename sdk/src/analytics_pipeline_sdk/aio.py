"""The client for asyncio: the same verbs; those that wait are awaited."""

import os
from collections.abc import Callable
from types import TracebackType

from analytics_pipeline_sdk.accounting import Stats
from analytics_pipeline_sdk.client import AnalyticsClient
from analytics_pipeline_sdk.delivery.intake import BeforeSend
from analytics_pipeline_sdk.delivery.reporting import OnError
from analytics_pipeline_sdk.events import Event
from analytics_pipeline_sdk.settings import Durability, Settings


class AsyncAnalyticsClient:
    """`AnalyticsClient` for an event loop. track() does not wait, so it is a plain call; hooks run as described there.

    Raises ValueError as `AnalyticsClient` does, and for the policy `block`, which would hold up the loop.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        service: str | None = None,
        durability: Durability = "memory",
        spool: str | os.PathLike[str] | None = None,
        *,
        environment: str | None = None,
        settings: Settings | None = None,
        before_send: BeforeSend | None = None,
        on_error: OnError | None = None,
    ) -> None:
        if settings is not None and settings.policy == "block":
            raise ValueError("policy 'block' would hold up the event loop; use drop_newest or drop_oldest")
        self._client = AnalyticsClient(
            url,
            token,
            service,
            durability,
            spool,
            environment=environment,
            settings=settings,
            before_send=before_send,
            on_error=on_error,
        )

    def track(self, event: Event) -> str | None:
        """Accept the event; the id under which it is stored, None if it was refused."""
        return self._client.track(event)

    def track_if(self, condition: object, event: Event) -> str | None:
        """Track the event if the condition is true."""
        return self._client.track_if(condition, event)

    def stats(self) -> Stats:
        return self._client.stats()

    async def flush(self, timeout: float = 10.0) -> bool:
        """Send what was accepted so far; whether all of it is settled within `timeout` seconds."""
        return await _in_thread(self._client.flush, timeout)

    async def close(self, timeout: float = 10.0) -> bool:
        """Flush and end; whether nothing is left. What is left goes to the spool, for a later process."""
        return await _in_thread(self._client.close, timeout)

    async def __aenter__(self) -> "AsyncAnalyticsClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _in_thread(wait: Callable[[float], bool], timeout: float) -> bool:
    # Whoever uses asyncio has imported it; for all others it would take a third of the time that the SDK takes.
    import asyncio

    return await asyncio.to_thread(wait, timeout)
