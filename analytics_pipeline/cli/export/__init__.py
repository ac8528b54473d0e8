"""`analytics-pipeline export`."""

import click

from analytics_pipeline.cli.export.allowlist import allowlist, fields
from analytics_pipeline.cli.export.places import drop, rename, replay, start
from analytics_pipeline.cli.export.sinks import pause, resume, test
from analytics_pipeline.cli.export.status import dead_letters, recent, status


@click.group()
def export() -> None:
    """Usage export: which events leave, how far each sink is, and what to do when one stands still.

    Nothing leaves unless its name is in the allow list, and of its payloads nothing but the keys that are allowed.
    docs/usage-export.md tells what each sink may rely on.

    \b
    A new sink, step by step:
      set EXPORT_SINKS, EXPORT_SITE_ID, EXPORT_USAGE_DATA_ENABLED=true (.env.example)
      analytics-pipeline export test NAME            sends one marked record and shows the answer
      analytics-pipeline export allowlist add VIEW   lets events named VIEW leave from now on
      analytics-pipeline export fields add VIEW KEY  and the key KEY of their payloads
      analytics-pipeline export status               how far each sink is

    \b
    A sink that stands still:
      analytics-pipeline export status               why, and since when
      analytics-pipeline export resume NAME          tries again at once
      analytics-pipeline export dead-letters         what a receiver will never take, and why
      analytics-pipeline export replay NAME --from 2026-05-01   sends once more what is there since

    \b
    A sink that got another name in EXPORT_SINKS, or left it:
      analytics-pipeline export rename OLD NEW       lets it go on where it was
      analytics-pipeline export drop NAME            forgets it
    """


for command in (status, recent, test, pause, resume, start, rename, drop, replay, dead_letters, allowlist, fields):
    export.add_command(command)
