"""A receiver that runs, and clients that send to it without long waits."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from analytics_pipeline_sdk import AnalyticsClient
from sdk_support.receiver import Receiver
from sdk_support.samples import FAST

MakeClient = Callable[..., AnalyticsClient]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def make(receiver: Receiver, spool: Path) -> Iterator[MakeClient]:
    """Makes clients, which are closed after the test."""
    with ExitStack() as clients:

        def made(**arguments: Any) -> AnalyticsClient:
            given: dict[str, Any] = {"url": receiver.url, "spool": spool, "settings": FAST, **arguments}
            client = AnalyticsClient(**given)
            clients.callback(client.close, 0.1)
            return client

        yield made


@pytest.fixture
def python_path() -> dict[str, str]:
    """The environment of another interpreter that finds the SDK where these tests do."""
    import analytics_pipeline_sdk

    source = Path(analytics_pipeline_sdk.__file__).parents[1]
    return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join((str(source), str(Path(__file__).parent)))}
