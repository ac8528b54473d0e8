"""`analytics-pipeline stack` on real engines."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli.local.stack import stack


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(stack, arguments, env={"COLUMNS": "200"})


def _exported_by(script: str, lines: str, names: list[str], folder: Path) -> dict[str, str]:
    file = folder / "env"
    file.write_text(lines)
    show = "; ".join(f'printf "%s\\0" "${name}"' for name in names)
    out = subprocess.run(
        ["bash", "-c", f"{script}; bash -c '{show}'", "bash", str(file)], capture_output=True, check=True, env={}
    )
    return dict(zip(names, out.stdout.decode().split("\0"), strict=False))


@pytest.mark.parametrize(
    "script", ['eval "$(sed "s/^/export /" "$1")"', 'set -a; source <(cat "$1"); set +a', 'set -a; . "$1"; set +a']
)
def test_env__read_by_bash__exports_every_value(
    stack_environment: Mapping[str, str], tmp_path: Path, script: str
) -> None:
    printed = _run("env", "--home", stack_environment["ANALYTICS_HOME"])
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert _exported_by(script, printed.stdout, list(stack_environment), tmp_path) == dict(stack_environment)


def test_env__home_from_the_environment__is_used(environment: Mapping[str, str]) -> None:
    assert _run("env").stdout == _run("env", "--home", environment["ANALYTICS_HOME"]).stdout != ""


def test_env__nothing_running__says_how_to_start(tmp_path: Path) -> None:
    printed = _run("env", "--home", str(tmp_path))
    assert (printed.exit_code, printed.stdout) == (1, "")
    assert printed.stderr == (
        f"Error: Not running in {tmp_path}: aws, clickhouse, postgres. "
        f"Start: analytics-pipeline stack up --home {tmp_path}\n"
    )


def test_status__all_running__shows_each_and_exits_with_0(stack_environment: Mapping[str, str]) -> None:
    shown = _run("status", "--home", stack_environment["ANALYTICS_HOME"])
    assert shown.exit_code == 0
    rows = [line.split("│") for line in shown.stdout.splitlines() if line.startswith("│")]
    assert [(row[1].strip(), row[2].strip()) for row in rows] == [
        ("postgres", "running"),
        ("clickhouse", "running"),
        ("aws", "running"),
    ]
    # Below the table, where a path of any length stays whole.
    assert f"aws: {stack_environment['AWS_ENDPOINT_URL']}" in shown.stdout.splitlines()
    assert max(len(line) for line in shown.stdout.splitlines() if line[0] in "┏┃│└") <= 80


def test_status_and_env__as_json__say_the_same(stack_environment: Mapping[str, str]) -> None:
    home = stack_environment["ANALYTICS_HOME"]
    engines = json.loads(_run("status", "--home", home, "--json").stdout)
    assert [(engine["name"], engine["state"]) for engine in engines] == [
        ("postgres", "running"),
        ("clickhouse", "running"),
        ("aws", "running"),
    ]
    assert engines[2]["address"] == stack_environment["AWS_ENDPOINT_URL"]
    assert json.loads(_run("env", "--home", home, "--json").stdout) == dict(stack_environment)


def test_status__nothing_running__exits_with_3_and_creates_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    shown = _run("status", "--home", str(home))
    assert (shown.exit_code, shown.stdout.count("stopped"), home.exists()) == (3, 3, False)


def test_down__nothing_running__says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = _run("down", "--home", str(home))
    assert (done.exit_code, done.stderr, home.exists()) == (0, f"Nothing was running in {home}.\n", False)


def test_up__home_cannot_be_made__names_cause(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failed = _run("up", "--home", str(tmp_path / "file" / "home"))
    assert failed.exit_code == 1
    assert "Error: The stack cannot use" in failed.stderr
    assert "Choose another home." in failed.stderr


def test_up__running__changes_nothing_and_explains_its_use(stack_environment: Mapping[str, str]) -> None:
    home = stack_environment["ANALYTICS_HOME"]
    before = _run("env", "--home", home).stdout
    done = _run("up", "--home", home)
    assert done.exit_code == 0
    assert f"set -a; source <(analytics-pipeline stack env --home {home}); set +a" in done.stderr
    assert _run("env", "--home", home).stdout == before


def test_stack__imported__needs_no_embedded_extra() -> None:
    block = "import sys; sys.modules.update(psutil=None); from analytics_pipeline.cli.local.stack import stack; stack()"
    shown = subprocess.run([sys.executable, "-c", block, "status"], capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert "psutil is not installed here" in shown.stderr
    assert "pip install 'analytics-pipeline[embedded]'" in shown.stderr
