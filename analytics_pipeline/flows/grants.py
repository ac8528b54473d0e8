"""DDL for a ClickHouse that organisations query themselves: a role, a quota and row policies for each of them.

For production servers: the embedded engine has no users, so nothing here was run. A test keeps the text.
"""

from collections.abc import Collection, Iterator, Mapping

from analytics_pipeline.flows.row_policies import TENANT_COLUMNS, of_organisation
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.clickhouse.read_only import READ_PROFILE, STATEMENT_SECONDS

_PROFILE = "analytics_pipeline_read"
_HEAD = (
    "-- Not run by anybody yet: read it, choose users and passwords, and run it as an administrator.",
    "-- Who has none of these roles sees what they saw before.",
)


def grants(database: str, organisations: Mapping[int, Collection[int]], on_cluster: str = "") -> str:
    """Statements that may be run again, for organisations and their projects."""
    lines = [*_HEAD, _profile(on_cluster)]
    for organisation, projects in sorted(organisations.items()):
        lines += _of_organisation(database, organisation, projects, on_cluster)
    lines += _of_everybody_else(database, organisations, on_cluster)
    return "\n".join(lines) + "\n"


def role_of(organisation: int) -> str:
    return f"organisation_{int(organisation)}"


def _profile(on_cluster: str) -> str:
    settings = {**READ_PROFILE, "max_execution_time": STATEMENT_SECONDS}
    shown = ", ".join(f"{name} = {_literal(value)} READONLY" for name, value in settings.items())
    return f"CREATE SETTINGS PROFILE OR REPLACE {_PROFILE}{on_cluster} SETTINGS {shown};"


def _literal(value: int | str) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


def _of_organisation(database: str, organisation: int, projects: Collection[int], on_cluster: str) -> Iterator[str]:
    role = role_of(organisation)
    shown = {table: one for table, one in of_organisation(organisation, projects).items() if one != "0"}
    yield ""
    yield f"CREATE ROLE IF NOT EXISTS {role}{on_cluster} SETTINGS PROFILE {_PROFILE};"
    yield (
        f"CREATE QUOTA OR REPLACE {role}{on_cluster} KEYED BY user_name"
        f" FOR INTERVAL 1 minute MAX queries = 600, FOR INTERVAL 1 day MAX queries = 100000,"
        f" execution_time = 3600 TO {role};"
    )
    for table, condition in shown.items():
        place = f"{quoted(database)}.{quoted(table)}"
        yield f"GRANT{on_cluster} SELECT ON {place} TO {role};"
        yield f"CREATE ROW POLICY OR REPLACE {role}{on_cluster} ON {place} USING {condition} TO {role};"
    yield f"-- CREATE USER … IDENTIFIED WITH sha256_password BY '…' DEFAULT ROLE {role};"


def _of_everybody_else(database: str, organisations: Mapping[int, Collection[int]], on_cluster: str) -> Iterator[str]:
    """A table with a policy shows nothing to whom none is made for: the pipeline itself, and its operators."""
    if not organisations:
        return
    others = ", ".join(role_of(one) for one in sorted(organisations))
    yield ""
    for table, (tenant, _) in TENANT_COLUMNS.items():
        if tenant in ("organisation", "project"):
            place = f"{quoted(database)}.{quoted(table)}"
            yield f"CREATE ROW POLICY OR REPLACE everybody_else{on_cluster} ON {place} USING 1 TO ALL EXCEPT {others};"
