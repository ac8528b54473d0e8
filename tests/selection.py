"""Which tests run, in which order, and which of them on one worker."""

import subprocess
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# They start Dagster or engines of their own and wait for them, or take long; others can work meanwhile.
_LONG = (
    "tests/e2e/",
    "tests/docs/test_example.py",
    "tests/simulation/",
    "tests/flows/erasure/test_forget.py",
    "tests/cli/local/",
    "tests/embedded/",
)
# Fixtures of theirs start engines for the whole file: each worker that got one of its tests would start them again.
_TOGETHER = (
    "tests/embedded/",
    "tests/cli/local/",
    "tests/demo/test_load.py",
    "tests/e2e/test_daemon.py",
    "tests/e2e/test_demo.py",
    "tests/flows/ai_usage/test_reads.py",
)
# These files share a world of two of every tenant, which takes longer to make than to read.
_IN_ONE_WORLD = ("tests/api/test_", "tests/api/pages/")
_ENGINES = {"stack_environment", "clickhouse_server"}
_PACKAGE = "analytics_pipeline"
_ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="tests that start no engine, and all of what git says has changed, first"
    )


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Whichever worker is free takes the next test, or all of those that stay together."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(_IN_ONE_WORLD):
            return "tests/api/"
        return nodeid.partition("::")[0] if nodeid.startswith(_TOGETHER) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_is_short)
    if config.getoption("--quick"):
        _keep_quick(config, items)


def _keep_quick(config: pytest.Config, items: list[pytest.Item]) -> None:
    changed = mirrors_of(_changed_files(config.rootpath))
    kept = [item for item in items if _file(item) in changed or not _starts_engines(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = sorted(kept, key=lambda item: _file(item) not in changed)


def mirrors_of(changed: Iterable[str]) -> set[str]:
    """The test files among the changed ones, and those that mirror a changed module of the package."""
    found = set()
    for name in changed:
        path = PurePosixPath(name)
        if path.suffix == ".py" and path.parts[0] == "tests":
            found.add(name)
        elif path.suffix == ".py" and path.parts[0] == _PACKAGE:
            mirror = PurePosixPath("tests", *path.parts[1:-1], f"test_{path.stem}")
            # A long one stands in several files: test_enablement.py, test_enablement_attempts.py.
            found |= {f"{mirror}.py", *(str(one.relative_to(_ROOT)) for one in _ROOT.glob(f"{mirror}_*.py"))}
    return found


def _changed_files(root: Path) -> list[str]:
    """What differs from main, committed or not; nothing where git cannot say."""
    names: list[str] = []
    for question in ("diff --name-only main...", "diff --name-only HEAD", "ls-files --others --exclude-standard"):
        done = subprocess.run(["git", *question.split()], cwd=root, capture_output=True, text=True, check=False)
        names += done.stdout.splitlines()
    return names


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _is_short(item: pytest.Item) -> bool:
    return not item.nodeid.startswith(_LONG)


def _starts_engines(item: pytest.Item) -> bool:
    return not _is_short(item) or not _ENGINES.isdisjoint(getattr(item, "fixturenames", ()))
