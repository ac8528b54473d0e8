"""`analytics-pipeline forget`: remove somebody from all stores, and keep them out."""

import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import click
from rich.progress import Progress, TaskID
from rich.table import Table

from analytics_pipeline.cli.forget.unreached import unreached
from analytics_pipeline.cli.output import json_option, new_console, new_progress, print_json
from analytics_pipeline.config import Settings
from analytics_pipeline.errors import Broken, Passing, Refused
from analytics_pipeline.flows.erasure import subjects
from analytics_pipeline.flows.erasure.forget import Erasure, Removed
from analytics_pipeline.flows.erasure.steps import Stores
from analytics_pipeline.flows.erasure.subjects import Subject
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.landing import landing_zone
from analytics_pipeline.resources.postgres import postgres


@dataclass(frozen=True)
class _Report:
    """The one JSON document. `rows` of what is computed again are days."""

    kind: str
    dry_run: bool
    places: Sequence[Removed]
    not_reached: Sequence[str]


@click.command()
@click.option("--identity", nargs=2, metavar="ENVIRONMENT IDENTIFIER", help="An identity, by its environment's key.")
@click.option("--user", metavar="ID", help="A user: a number, or the UUID of a user of product events.")
@click.option("--account", metavar="ID", help="An account, with its reports.")
@click.option("--organisation", metavar="ID", help="An organisation, with its projects, environments and tokens.")
@click.option("--dry-run", is_flag=True, help="Show what would go from where; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def forget(
    identity: tuple[str, str] | None,
    user: str | None,
    account: str | None,
    organisation: str | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove somebody from every table, file and dead letter of ours, for good; nothing brings them back.

    Run it again when it was interrupted: it goes on. What it cannot reach, such as receivers of exports and backups, it
    names. Not the ids but keyed hashes of them are kept (docs/erasure.md).
    """
    subject = _subject(identity, {"user": user, "account": account, "organisation": organisation})
    if not (dry_run or yes or click.confirm("This cannot be undone. Forget them?", err=True)):
        raise click.Abort
    settings = Settings.load()
    with ExitStack() as stack:
        warehouse = stack.enter_context(connect(settings, Tag("erasure", "forget")))
        zone = landing_zone(settings) if settings.landing_url else None
        stores = Stores(settings, postgres(settings), warehouse, zone, f"forget-{uuid.uuid4()}")
        places = _plan(stores, subject) if dry_run else _run(stores, subject)
    report = _Report(subject.kind, dry_run, places, unreached(settings))
    if as_json:
        print_json(report)
    else:
        _show(report)


def _subject(identity: tuple[str, str] | None, numbered: dict[str, str | None]) -> Subject:
    given = {kind: text for kind, text in numbered.items() if text is not None}
    if len(given) + (identity is not None) != 1:
        raise click.UsageError("say whom: one of --identity, --user, --account, --organisation")
    if identity is not None:
        return _identity(*identity)
    ((kind, text),) = given.items()
    try:
        return subjects.user(text) if kind == "user" else subjects.numbered(kind, text)  # type: ignore[arg-type]
    except ValueError:
        also = ", or a UUID" if kind == "user" else ""
        told = f"{text[:40]!r} is no id: a whole number from 0 to {2**63 - 1}{also}"
        raise click.BadParameter(told, param_hint=f"--{kind}") from None


def _identity(environment: str, identifier: str) -> Subject:
    try:
        (environment + identifier).encode()
    except UnicodeEncodeError:
        raise click.BadParameter("it is not UTF-8, so nobody is called so", param_hint="--identity") from None
    return subjects.identity(environment, identifier)


def _plan(stores: Stores, subject: Subject) -> list[Removed]:
    return Erasure(stores, subject).plan()


def _run(stores: Stores, subject: Subject) -> list[Removed]:
    """Forget the subject, with a bar.

    Raises:
        click.ClickException: a part was not done; what was done stays done.
    """
    with new_progress(new_console(stderr=True)) as bar:
        task = bar.add_task("Forgetting", total=None)
        try:
            return Erasure(stores, subject, lambda place, steps: _advance(bar, task, place, steps)).run()
        except (Refused, Passing, Broken) as error:
            raise click.ClickException(
                f"{error}. What was removed stays so, and nobody brings it back. Run the same command again: it goes on"
            ) from error


def _advance(bar: Progress, task: TaskID, place: str, steps: int) -> None:
    bar.update(task, advance=1, total=steps, description=place)


def _show(report: _Report) -> None:
    console = new_console()
    if not report.places:
        console.print("No store holds anything of them." + ("" if report.dry_run else " Nothing will be stored."))
    else:
        table = Table(title="Would go" if report.dry_run else "Gone", title_justify="left")
        for column in ("place", "what", "how many"):
            table.add_column(column, justify="right" if column == "how many" else "left")
        for one in report.places:
            table.add_row(one.place, one.action, f"{one.rows:,}")
        console.print(table)
    console.print("\nNot reached, and yours to look after:")
    for told in report.not_reached:
        console.print(f"  - {told}", markup=False)
