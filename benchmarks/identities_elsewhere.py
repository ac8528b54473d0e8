"""What one would write without this project to read, load and count identities. Each tells how many it did."""

import json
from collections.abc import Iterator
from datetime import date, datetime, timezone
from typing import Any

import boto3
from boto3.dynamodb.conditions import Key
from botocore.config import Config
from flag_engine.segments.evaluator import is_context_in_segment

from analytics_pipeline.flows.segments.counting import count_segments
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from benchmarks.workload import ENVIRONMENTS, environment_key, segments, traits

ENVIRONMENT_LIST = [Environment(n + 1, environment_key(n), f"Environment {n}", 1, 1) for n in range(ENVIRONMENTS)]
PART_READ = 10_000
PART_LOADED = 20_000
PART_EVALUATED = 1_000


def read_by_resource(endpoint: str) -> int:
    """What the documentation of boto3 teaches, to JSON lines in memory: whole pages, until it is enough."""
    table = boto3.resource("dynamodb", endpoint_url=endpoint, config=Config(retries={"mode": "adaptive"})).Table("t")
    lines = 0
    for page in _resource_pages(table):
        for item in page["Items"]:
            flat = {trait["trait_key"]: trait["trait_value"] for trait in item["identity_traits"]}
            json.dumps({"identifier": item["identifier"], "traits": flat}, default=float)
            lines += 1
        if lines >= PART_READ:
            break
    return lines


def _resource_pages(table: Any) -> Iterator[dict[str, Any]]:
    for environment in ENVIRONMENT_LIST:
        query: dict[str, Any] = {
            "IndexName": "environment_api_key-identifier-index",
            "KeyConditionExpression": Key("environment_api_key").eq(environment.key),
        }
        while True:
            page = table.query(**query)
            yield page
            if "LastEvaluatedKey" not in page:
                break
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def insert_rows(warehouse: ClickHouse, day: date) -> int:
    columns = ["snapshot_date", "project_id", "environment_id", "identifier", "identity_key", "traits", "inserted_at"]
    now = datetime.now(timezone.utc)
    for start in range(0, PART_LOADED, 1_000):
        rows = [[day, 1, "e", f"user-{n}", f"e_user-{n}", traits(n), now] for n in range(start, start + 1_000)]
        warehouse.client.insert("alternative", rows, column_names=columns)
    return PART_LOADED


def count_singly(warehouse: ClickHouse, day: date, identities: int) -> int:
    for segment in segments():
        for environment in ENVIRONMENT_LIST:
            count_segments(warehouse, day, [segment], [environment])
    return identities


def evaluate() -> int:
    contexts: list[Any] = [
        {
            "environment": {"key": "e", "name": "E"},
            "identity": {"identifier": str(n), "key": f"e_{n}", "traits": traits(n)},
        }
        for n in range(PART_EVALUATED)
    ]
    for segment in segments():
        for context in contexts:
            is_context_in_segment(context, segment.context)
    return PART_EVALUATED
