"""One event SDK in a process of its own: `python -m benchmarks.event_sdks SDK MEASURE URL DIRECTORY` prints JSON.

The interpreter may be another than that of the pipeline: this module needs the SDK that it measures and no other.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from uuid import UUID

BURST, PACED, AT_EXIT = 3_000, 2_000, 1_001
_WARM = 200
USER = UUID(int=7)
Track = Callable[[int], object]


def _ours(durability: str) -> Callable[[str, str], Track]:
    def made(url: str, directory: str) -> Track:
        from analytics_pipeline_sdk import AnalyticsClient
        from analytics_pipeline_sdk.events import TaskStarted

        client = AnalyticsClient(url, "token", durability=durability, spool=directory)  # type: ignore[arg-type]
        tasks = [UUID(int=number) for number in range(BURST)]
        return lambda number: client.track(TaskStarted(task_id=tasks[number], user_id=USER))

    return made


def _posthog(url: str, directory: str) -> Track:
    from posthog import Posthog

    client, user = Posthog("key", host=url), str(USER)
    return lambda number: client.capture("task_started", distinct_id=user, properties={"task_id": number})


def _segment(url: str, directory: str) -> Track:
    from segment.analytics.client import Client

    client, user = Client("key", host=url), str(USER)
    return lambda number: client.track(user, "task_started", {"task_id": number})


def _rudder(url: str, directory: str) -> Track:
    from rudderstack.analytics.client import Client

    client, user = Client("key", host=url), str(USER)
    return lambda number: client.track(user, "task_started", {"task_id": number})


def _amplitude(url: str, directory: str) -> Track:
    from amplitude import Amplitude, BaseEvent

    client, user = Amplitude("key"), str(USER)
    client.configuration.server_url = url
    return lambda number: client.track(BaseEvent("task_started", user_id=user, event_properties={"task_id": number}))


SDKS: dict[str, Callable[[str, str], Track]] = {
    "ours, memory": _ours("memory"),
    "ours, disk": _ours("disk"),
    "posthog": _posthog,
    "segment": _segment,
    "rudder": _rudder,
    "amplitude": _amplitude,
}


def _latencies(track: Track, events: int, pause: float) -> list[float]:
    """Microseconds of p50, p99 and p99.9."""
    for number in range(_WARM):
        track(number)
    time.sleep(0.5)
    took = []
    for number in range(events):
        if pause:
            time.sleep(pause)
        began = time.perf_counter()
        track(number)
        took.append(time.perf_counter() - began)
    took.sort()
    return [took[int(events * part)] * 1e6 for part in (0.5, 0.99, 0.999)]


def main() -> None:
    sdk, measure, url, directory = sys.argv[1:]
    began = time.process_time()
    track = SDKS[sdk](url, directory)
    imported = time.process_time() - began
    if measure in ("burst", "paced"):
        events, pause = (BURST, 0.0) if measure == "burst" else (PACED, 0.001)
        print(json.dumps(_latencies(track, events, pause)), flush=True)
        os._exit(0)
    if measure == "import":
        print(json.dumps([imported]), flush=True)
        os._exit(0)
    for number in range(AT_EXIT):
        track(number)
    if measure == "_exit":
        os._exit(0)


if __name__ == "__main__":
    main()
