"""`analytics-pipeline grants`: users and rights for a ClickHouse that organisations query themselves."""

from urllib.parse import urlsplit

import click

from analytics_pipeline.cli.output import json_option, print_json
from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.row_policies.grants import grants as ddl_of
from analytics_pipeline.flows.tenants import all_projects
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import postgres


@click.command()
@json_option
def grants(*, as_json: bool) -> None:
    """Print the SQL that lets each organisation read its own rows, and no others.

    Nothing is run: read it, add users, and run it as an administrator of ClickHouse. The read API does not need it.
    """
    settings = Settings.load()
    if settings.clickhouse_url is None:
        raise NotConfigured("clickhouse", "CLICKHOUSE_URL")
    owned: dict[int, list[int]] = {}
    for project in all_projects(postgres(settings)):
        owned.setdefault(project.organisation_id, []).append(project.id)
    cluster = settings.clickhouse_cluster
    database = urlsplit(settings.clickhouse_url.get_secret_value()).path.strip("/")
    ddl = ddl_of(database, owned, f" ON CLUSTER {quoted(cluster)}" if cluster else "")
    if as_json:
        print_json({"sql": ddl})
    else:
        click.echo(ddl, nl=False)
