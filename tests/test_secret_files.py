"""Secrets may stand in files: their variables are read from there, and mistakes are told without what a file holds."""

import subprocess
import sys
from pathlib import Path

import pytest

from analytics_pipeline import secret_files
from analytics_pipeline.config import ConfigurationError, Settings

URL = "postgresql://user:S3CRET@host/product"
KEY = "0123456789abcdef"


def _file(directory: Path, text: str) -> str:
    path = directory / "secret"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("variable", [*secret_files.VARIABLES, "EXPORT_SINK_HOOK_SECRET"])
def test_read__file_named__its_text_is_the_variables_value(tmp_path: Path, variable: str) -> None:
    environment = {f"{variable}_FILE": _file(tmp_path, f"{URL}\n"), "OTHER": "kept", "SSL_CERT_FILE": "/no/such"}

    assert secret_files.read(environment) == ({variable: URL}, [])
    assert secret_files.exported(environment) == (
        {"OTHER": "kept", "SSL_CERT_FILE": "/no/such", variable: URL},
        [],
    )


def test_read__what_cannot_be_used__is_told_without_its_text(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    environment = {
        "DATABASE_URL_FILE": _file(tmp_path, URL),
        "DATABASE_URL": URL,
        "CLICKHOUSE_URL_FILE": str(tmp_path / "absent"),
        "ALERT_WEBHOOK_URL_FILE": str(tmp_path / "empty"),
        "EXPORT_SINKS_FILE": str(tmp_path / "binary"),
        "LEDGER_DATABASE_URL_FILE": " ",
    }

    values, problems = secret_files.read(environment)

    assert values.get("DATABASE_URL") is None
    assert problems == [
        ("ALERT_WEBHOOK_URL_FILE", f"{tmp_path}/empty is empty"),
        ("CLICKHOUSE_URL_FILE", f"{tmp_path}/absent cannot be read: No such file or directory"),
        ("DATABASE_URL_FILE", "is set, and DATABASE_URL is as well: remove one of the two"),
        ("EXPORT_SINKS_FILE", f"{tmp_path}/binary cannot be read: it is not text"),
    ]


def test_load__secrets_in_files__are_validated_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "EXPORT_SINKS", "EXPORT_SINK_HOOK_SECRET", "CLICKHOUSE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "sinks").write_text("hook=https://events.example.com/usage\n")
    monkeypatch.setenv("DATABASE_URL_FILE", _file(tmp_path, f"{URL}\n"))
    monkeypatch.setenv("EXPORT_SINKS_FILE", str(tmp_path / "sinks"))
    monkeypatch.setenv("EXPORT_SINK_HOOK_SECRET_FILE", str(tmp_path / "key"))

    settings = Settings.load()

    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == URL
    assert [(str(sink), sink.secret and sink.secret.get_secret_value()) for sink in settings.sinks] == [
        ("hook=https://events.example.com", KEY)
    ]

    monkeypatch.setenv("CLICKHOUSE_URL_FILE", _file(tmp_path, "S3CRET"))
    monkeypatch.setenv("ALERT_WEBHOOK_URL_FILE", str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError) as refusal:
        Settings.load()

    assert [variable for variable, _ in refusal.value.problems] == [
        "ALERT_WEBHOOK_URL_FILE",
        "CLICKHOUSE_URL",
        "DATABASE_URL",
    ]
    assert "S3CRET" not in str(refusal.value)


def test_main__program__runs_in_its_place_with_the_secrets(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import os; print(os.getpid(), os.environ['DATABASE_URL'], sorted(os.environ))"]
    command = [sys.executable, "-m", "analytics_pipeline.secret_files", *program]
    environment = {"DATABASE_URL_FILE": _file(tmp_path, f"{URL}\n"), "PYTHONPATH": ":".join(sys.path)}

    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        pid, value, names = process.communicate(timeout=30)[0].strip().split(maxsplit=2)

    assert (int(pid), value) == (process.pid, URL)
    assert "DATABASE_URL_FILE" not in names


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ([], 1, "usage: "),
        (["no-such-program"], 1, "no-such-program: there is no such program"),
        (["true"], 4, "DATABASE_URL_FILE: /no/such cannot be read: No such file or directory"),
    ],
)
def test_main__cannot__says_why(program: list[str], code: int, said: str) -> None:
    environment = {"PYTHONPATH": ":".join(sys.path)} | ({"DATABASE_URL_FILE": "/no/such"} if code == 4 else {})
    command = [sys.executable, "-m", "analytics_pipeline.secret_files", *program]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said)
