"""Processes of ours beside `demo` and `dev`: they carry the mark of the command that started them and end with it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from analytics_pipeline.api import tokens
from analytics_pipeline.api.tokens import NoSuchToken, Scope
from analytics_pipeline.resources.postgres import Postgres


def start(
    program: tuple[str, ...], options: tuple[str, ...], environment: Mapping[str, str], mark: str, log: Path
) -> "subprocess.Popen[bytes]":
    """Start a Python program with its options; `mark` is the token of the session that it belongs to."""
    from analytics_pipeline.embedded import dagster_ui, processes

    processes.rotate(log)
    signature = (sys.executable, *program)
    marked = {**os.environ, **environment, **dagster_ui.marked(mark)}
    return processes.start(processes.Command((*signature, *options), signature, marked, log.parent, log))


def new_secret(store: Postgres, name: str, scope: Scope, organisation: int | None = None) -> str:
    """A token of that name; the one of a former start ends, because nobody knows its secret any more."""
    with suppress(NoSuchToken):
        tokens.revoke(store, name)
    return tokens.create(store, name, scope, organisation_id=organisation).secret
