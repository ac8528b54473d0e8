"""Every byte of every store of ours, as text: whoever is named anywhere is found."""

import json
from collections.abc import Iterator

import zstandard
from psycopg import sql

from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.landing import LandingZone
from tests.product import Product

_READ = {"AggregateFunction": "hex", "JSON": "toJSONString"}


def places_with(product: Product, *names: str) -> set[str]:
    """The tables and files that hold one of the names."""
    wanted = {form for name in names for form in _forms(name)}
    return {place for place, text in _texts(product) if any(form in text for form in wanted)}


def _forms(name: str) -> Iterator[str]:
    """The name as it is, inside JSON, inside JSON inside JSON, and, of a UUID, as ClickHouse keeps it in a state."""
    yield name
    yield json.dumps(name)[1:-1]
    yield json.dumps(name, ensure_ascii=False)[1:-1]
    yield json.dumps(json.dumps(name, ensure_ascii=False)[1:-1], ensure_ascii=False)[1:-1]
    digits = name.replace("-", "")
    if len(digits) == 32 and name.count("-") == 4:
        yield "".join(bytes.fromhex(half)[::-1].hex() for half in (digits[:16], digits[16:])).upper()


def _texts(product: Product) -> Iterator[tuple[str, str]]:
    columns = product.clickhouse.query(
        "SELECT table, name, type FROM system.columns WHERE database = currentDatabase() AND table IN"
        " (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')"
    )
    for table, name, type_ in columns:
        read = (
            "hex"
            if type_.startswith("AggregateFunction")
            else "toJSONString"
            if type_.startswith("JSON")
            else "toString"
        )
        rows = product.clickhouse.query(f"SELECT DISTINCT {read}({quoted(name)}) FROM {quoted(table)}")
        yield f"clickhouse.{table}", "\n".join(str(value) for (value,) in rows)
    for (mutation,) in product.clickhouse.query(
        "SELECT command FROM system.mutations WHERE database = currentDatabase()"
    ):
        yield "system.mutations", mutation
    with product.postgres.connect() as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'analytics_pipeline'").fetchall()
        for (name,) in names:
            statement = sql.SQL("SELECT row_to_json(one)::text FROM {} AS one").format(
                sql.Identifier("analytics_pipeline", name)
            )
            yield f"postgres.{name}", "\n".join(text for (text,) in connection.execute(statement))
    yield from _files(product.landing)


def _files(landing: LandingZone) -> Iterator[tuple[str, str]]:
    for file in landing.stored("identities"):
        content = landing.get("identities", file.name)
        if file.name.endswith(".zst"):
            content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
        yield "landing zone", file.name + content.decode()
