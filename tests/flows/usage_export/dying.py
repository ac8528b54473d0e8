"""Runs of the export that die at each of their I/O calls, each followed by one that lives; a process of its own.

`python -m tests.flows.usage_export.dying DIRECTORY EVERY` prints how many died, for the database of the environment.
"""

import itertools
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export import allow_list, past
from analytics_pipeline.flows.usage_export.export import export
from analytics_pipeline.flows.usage_export.ledger import create
from analytics_pipeline.flows.usage_export.line import Run
from analytics_pipeline.flows.usage_export.records import Instance
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.postgres import Postgres, postgres
from analytics_pipeline.resources.sessions import Session
from analytics_pipeline.resources.sinks.base import Batch, Delivery

DIED, NAME = 77, "ViewSearch"


@dataclass
class Files:
    """A sink that keeps each batch in a file of its name; one that comes again replaces the file."""

    name: str
    directory: Path

    def check(self) -> None:
        """It would take anything."""

    def send(self, batch: Batch) -> Delivery:
        self.io()
        path = self.directory / f"{batch.key}.ndjson"
        path.with_suffix(".part").write_bytes(batch.lines)
        self.io()
        path.with_suffix(".part").rename(path)
        self.io()
        return Delivery(len(batch.lines))

    def io(self) -> None:
        """A call of the outside world."""

    def close(self) -> None:
        self.io()


def serve(store: Postgres, files: Files) -> None:
    """One run for this sink, in batches of two."""
    allowed = allow_list.allow_list(store)
    run = Run(store, allowed, Instance("site", ""), 2, Deadline.after(60, ""), "run")
    (served,) = export(run, [files.name], lambda _: files)
    assert served.status == "served", served


def dies(store: Postgres, files: Files, at: int) -> bool:
    """Whether a run in a process of its own died before its `at`-th I/O call; else it has no so many."""
    child = os.fork()
    if child == 0:
        _die_at(at)
        serve(store, files)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, DIED), code
    return code == DIED


def _die_at(at: int) -> None:
    calls, wait, close = itertools.count(1), Session.wait, Session.close

    def count() -> None:
        if next(calls) == at:
            os._exit(DIED)

    def waits(self: Session, *arguments: Any, **options: Any) -> Any:
        count()
        return wait(self, *arguments, **options)

    def closes(self: Session) -> None:
        count()
        close(self)

    for owner, name, dying in ((Session, "wait", waits), (Session, "close", closes), (Files, "io", lambda _: count())):
        setattr(owner, name, dying)


def begin(store: Postgres, sink: str) -> None:
    """In the middle of the log: two ids were passed before they were committed, and the past was asked for."""
    with store.connect() as connection:
        create(connection, sink, 4, "{[2,4)}", "1")
    past.request(store, [sink], [NAME])


def main(directory: Path, every: int) -> None:
    store = postgres(Settings.load())
    for at in range(1, 10_000, every):
        files = Files(f"sink{at}", directory / f"sink{at}")
        files.directory.mkdir()
        begin(store, files.name)
        if not dies(store, files, at):
            print(len(range(1, at, every)))  # noqa: T201
            return
        serve(store, files)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
