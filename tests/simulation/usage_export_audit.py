"""The auditor of the usage export: compares the product's log, by statements of its own, with what each sink has."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import zstandard

from analytics_pipeline.flows.usage_export.audit import missing_in_clickhouse, stretches
from tests.product import Product
from tests.simulation.usage_export_receiver import Receiver


def findings(product: Product, exports: Path, receiver: Receiver) -> Iterator[str]:
    """Every allowed committed row is in each sink at least once, in ClickHouse exactly once, and nothing else is."""
    rows = product.execute(_ALLOWED)
    allowed = {int(event_id) for (event_id,) in rows}
    dead = {int(key) for (key,) in product.execute("SELECT record_key FROM analytics_pipeline.dead_letters")}
    read = product.clickhouse.query("SELECT event_log_id FROM exported_events FINAL")
    held = Counter(int(event_id) for (event_id,) in read)
    if held != Counter(allowed):
        yield f"ClickHouse has {sorted(held.elements())} instead of {sorted(allowed)}, once each"
    for name, ids in {"disk": _on_disk(exports), "hook": _ids(receiver)}.items():
        lacking = allowed - {*ids} - (dead if name == "hook" else set())
        if lacking or {*ids} - allowed:
            yield f"{name} lacks {sorted(lacking)}, and has {sorted({*ids} - allowed)} that may not leave"
    yield from _identities(receiver)
    yield from _ledger(product)


def _ids(receiver: Receiver) -> list[int]:
    return [int(one["event_log_id"]) for one in receiver.records]


def _on_disk(exports: Path) -> list[int]:
    """The ids in all files that manifests name."""
    manifests = [json.loads(path.read_bytes()) for path in exports.glob("manifests/*.json")]
    paths = [exports / "events" / file["name"] for manifest in manifests for file in manifest["files"]]
    lines = [line for path in paths for line in _unpacked(path).splitlines()]
    return [int(json.loads(line)["event_log_id"]) for line in lines]


def _unpacked(path: Path) -> bytes:
    return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()))


def _identities(receiver: Receiver) -> Iterator[str]:
    """By its id a receiver tells a repeat from a new record."""
    names: Mapping[str, set[int]] = {}
    for one in receiver.records:
        names = {**names, one["record_id"]: {*names.get(one["record_id"], set()), one["event_log_id"]}}
    if len(names) != len({*_ids(receiver)}) or any(len(ids) > 1 for ids in names.values()):
        yield f"record ids are not those of the events: {names}"


def _ledger(product: Product) -> Iterator[str]:
    """Nothing is on its way, no history is open, and the check of the pipeline itself finds nothing."""
    for sink, delivery in product.execute(_ON_ITS_WAY):
        yield f"{sink} still sends its batch {delivery}"
    for past, sink in product.execute(_OPEN):
        yield f"{sink} has not finished the history {past}"
    for stretch in stretches(product.postgres, "own"):
        for one in missing_in_clickhouse(product.postgres, product.clickhouse, "own", stretch).found:
            yield f"the check says {one}"


_ALLOWED = """
    SELECT id FROM event_logs WHERE name IN (SELECT event_name FROM analytics_pipeline.event_logs_export_allowlist)
"""
_ON_ITS_WAY = """
    SELECT sink, planned_delivery FROM analytics_pipeline.event_logs_scrape_state WHERE planned_delivery IS NOT NULL
"""
_OPEN = "SELECT id, sink FROM analytics_pipeline.event_logs_export_past WHERE finished_at IS NULL"
