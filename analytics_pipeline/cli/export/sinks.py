"""`analytics-pipeline export test`, `pause` and `resume`."""

import time
from contextlib import closing

import click

from analytics_pipeline.cli.export.asking import Missing, configured_sinks
from analytics_pipeline.cli.output import json_option, new_console, print_json
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export import ledger
from analytics_pipeline.flows.usage_export.records import Instance
from analytics_pipeline.flows.usage_export.trial import trial
from analytics_pipeline.resources.postgres import postgres
from analytics_pipeline.resources.sinks.base import SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.registry import open_sink


@click.command()
@click.argument("sink")
@json_option
def test(sink: str, *, as_json: bool) -> None:
    """Send one record of no event to SINK, marked as a test, and show the answer.

    The export need not be enabled, and the bookmark stays where it is. The mark is told in docs/usage-export-sinks.md.
    """
    settings = Settings.load()
    (name,) = configured_sinks(settings, [sink])
    address = next(one for one in settings.sinks if one.name == name)
    batch = trial(Instance(settings.export_site_id or "", settings.export_deploy_type or ""))
    begun = time.monotonic()
    try:
        with closing(open_sink(address, settings)) as receiver:
            delivery = receiver.send(batch)
    except (SinkRefused, SinkUnavailable) as error:
        raise click.ClickException(f"{name} did not take the test record: {error}") from None
    seconds = time.monotonic() - begun
    reasons = [one.reason for one in delivery.refused]
    if as_json:
        print_json(
            {
                "sink": name,
                "is_taken": not reasons,
                "bytes": delivery.sent_bytes,
                "seconds": seconds,
                "refused": reasons,
            }
        )
    if reasons:
        raise click.ClickException(f"{name} answered, and refused the test record: {reasons[0]}")
    if not as_json:
        new_console().print(f"{name} has taken the test record: {delivery.sent_bytes:,} bytes in {seconds:.2f} s.")


@click.command()
@click.argument("sink")
@json_option
def pause(sink: str, *, as_json: bool) -> None:
    """Send no further batch to SINK, also in a run that is serving it. Its bookmark stays, so nothing is lost while
    the event log keeps the events."""
    _told(sink, "paused", ledger.pause(postgres(Settings.load()), sink), as_json=as_json)


@click.command()
@click.argument("sink")
@json_option
def resume(sink: str, *, as_json: bool) -> None:
    """Serve SINK again after a pause, or try at once again after failures."""
    _told(sink, "resumed", ledger.resume(postgres(Settings.load()), sink), as_json=as_json)


def _told(sink: str, what: str, done: bool, *, as_json: bool) -> None:
    if not done:
        raise Missing(
            f"{sink[:60]} was never served, so there is nothing to change; see: analytics-pipeline export status"
        )
    if as_json:
        print_json({"sink": sink, "state": what})
    else:
        click.echo(f"{sink} is {what}.")
