"""A record of no event, marked as such, by which an operator sees whether a receiver takes what we send."""

import json
import time
import uuid
from datetime import datetime, timezone

from analytics_pipeline.flows.usage_export.records import Instance
from analytics_pipeline.resources.sinks.base import Batch

NAME = "analytics_pipeline.test"


def trial(instance: Instance) -> Batch:
    """A batch of one such record; its id is the present moment, in milliseconds since 1970."""
    number = time.time_ns() // 1_000_000
    record = {
        "record_id": str(uuid.uuid4()),
        "event_log_id": number,
        "site_id": instance.site_id,
        "deploy_type": instance.deploy_type,
        "name": NAME,
        "url": "",
        "anonymous_user_id": NAME,
        "first_source_url": "",
        "last_source_url": "",
        "user_id": 0,
        "source": "BACKEND",
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "version": "",
        "feature_flags": "{}",
        "cohort_id": None,
        "referrer": "",
        "public_argument": "{}",
        "device_id": None,
        "insert_id": None,
    }
    return Batch((number,), json.dumps(record, separators=(",", ":")).encode() + b"\n", is_synthetic=True)
