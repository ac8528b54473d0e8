"""Every command and its subcommands: one JSON document or none, and the exit codes that `cli/errors.py` names."""

import json

import click
import pytest

from tests.cli.commands import CONFIGURATION, DONE, FAILED, GAPS, UNREACHABLE, USAGE, run
from tests.cli.test_cli import COMMANDS
from tests.product import Product

pytestmark = pytest.mark.usefixtures("elsewhere")

LEAVES = {" ".join(path): one for path, one in COMMANDS.items() if not isinstance(one, click.Group)}
# They run until they are stopped, or are a show for people.
WITHOUT_JSON = {"demo", "dev", "ingest", "mcp", "serve"}
# They start what others connect to.
ON_ENGINES_OF_THEIR_OWN = {"demo", "dev", "stack up", "stack down", "stack status", "stack env"}
# The least that each command has to be told.
ARGUMENTS = {
    "enablement reset": "ai_usage",
    "enablement retry": "ai_usage",
    "events dead-letters purge": "--all",
    "events tail": "--for 0",
    "export allowlist add": "search",
    "export allowlist has": "search",
    "export allowlist remove": "search",
    "export drop": "old",
    "export fields add": "search key",
    "export fields remove": "search key",
    "export pause": "own",
    "export rename": "old own",
    "export replay": "own --from 1",
    "export resume": "own",
    "export start": "own --from 1",
    "export test": "own",
    "forget": "--user 00000000-0000-0000-0000-000000000001 --yes",
    "mcp": "--token secret",
    "reporting backfill": "--account 1 --dry-run",
    "reporting timezone": "--account 1",
    "settings set": "use_clickhouse_for_analytics on",
    "token create": "web --scope read",
    "token revoke": "web",
}
# What looks at stores and changes nothing, on a product that has nothing yet.
READ = {
    # DAGSTER_HOME is not set.
    "doctor": GAPS,
    "enablement status": DONE,
    "events dead-letters list": DONE,
    "export allowlist has": GAPS,
    "export allowlist list": DONE,
    "export dead-letters": DONE,
    "export recent": DONE,
    "export status": DONE,
    "grants": DONE,
    "migrate dry-run": DONE,
    "migrate status": DONE,
    "token list": DONE,
}


def arguments(command: str) -> list[str]:
    """The command with what it has to be told, asking nothing."""
    options = {option for parameter in LEAVES[command].params for option in parameter.opts}
    json_ = ["--json"] if "--json" in options else []
    return [*command.split(), *ARGUMENTS.get(command, "").split(), *json_]


@pytest.mark.parametrize("command", sorted(LEAVES))
def test_command__has_json_unless_it_runs_until_it_is_stopped(command: str) -> None:
    options = {option for parameter in LEAVES[command].params for option in parameter.opts}

    assert ("--json" in options) == (command not in WITHOUT_JSON)


@pytest.mark.parametrize("command", sorted(LEAVES))
def test_command__unknown_option__is_wrong_usage(command: str) -> None:
    result = run(*command.split(), "--no-such-option")

    assert (result.exit_code, result.stdout) == (USAGE, "")


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize(
    "command", sorted({*LEAVES} - ON_ENGINES_OF_THEIR_OWN - {"doctor", "export test", "mcp", "serve"})
)
def test_command__nothing_configured__says_so_and_prints_nothing_else(command: str) -> None:
    result = run(*arguments(command))

    assert (result.exit_code, result.stdout) == (CONFIGURATION, "")
    assert "is not set" in result.stderr


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize(
    "command", sorted({*LEAVES} - ON_ENGINES_OF_THEIR_OWN - {"doctor", "export test", "ingest", "mcp", "serve"})
)
def test_command__stores_do_not_answer__says_so_and_prints_nothing_else(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:S3CRET@127.0.0.1:1/product")
    monkeypatch.setenv("CLICKHOUSE_URL", "http://user:S3CRET@127.0.0.1:1/analytics")
    monkeypatch.setenv("EXPORT_SINKS", "own=clickhouse:")

    result = run(*arguments(command))

    assert (result.exit_code, result.stdout) == (UNREACHABLE, "")
    assert "S3CRET" not in result.output


@pytest.mark.usefixtures("nothing_set")
def test_export_test__no_sink_or_one_that_fails__has_codes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = run("export", "test", "own", "--json")
    monkeypatch.setenv("CLICKHOUSE_URL", "http://user:S3CRET@127.0.0.1:1/analytics")
    monkeypatch.setenv("EXPORT_SINKS", "own=clickhouse:")
    failing = run("export", "test", "own", "--json")

    assert [(one.exit_code, one.stdout) for one in (absent, failing)] == [(GAPS, ""), (FAILED, "")]


def test_commands_that_read__with_json__print_one_document(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    shown = {command: run(*arguments(command)) for command in READ}

    assert {command: result.exit_code for command, result in shown.items()} == READ
    documents = {command: json.loads(result.stdout) for command, result in shown.items()}
    assert {command for command, found in documents.items() if not isinstance(found, dict | list)} == set()


def test_migrate__with_json__prints_what_was_applied(product: Product) -> None:
    product.execute("DROP SCHEMA analytics_pipeline CASCADE")

    applied, again = run("migrate", "all", "--json"), run("migrate", "all", "--json")

    assert {one["state"] for one in json.loads(applied.stdout)} == {"applied"}
    assert json.loads(again.stdout) == []
    assert run("migrate", "pre", "--json").exit_code == run("migrate", "post", "--json").exit_code == DONE
