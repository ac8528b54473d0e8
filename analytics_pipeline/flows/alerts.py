"""Alerts: one line in the log, and to a webhook when there is one."""

import json
import logging

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.sinks.posting import Poster, Unreachable

logger = logging.getLogger(__name__)

SECONDS = 10.0
LONGEST = 2_000


def alert(settings: Settings, text: str) -> None:
    """Tells the operators. A webhook that fails is logged and never raises.

    The webhook receives `{"text": …}` as JSON, which chat systems understand.
    """
    text = text[:LONGEST]
    logger.error("%s", text)
    if settings.alert_webhook_url is None:
        return
    poster = Poster(settings.alert_webhook_url.get_secret_value(), "the webhook at ALERT_WEBHOOK_URL", SECONDS)
    try:
        answer = poster.post(json.dumps({"text": text}).encode(), {"Content-Type": "application/json"})
        trouble = "" if answer.status < 300 else f"HTTP status {answer.status}"
    except Unreachable as error:
        trouble = str(error)
    poster.close()
    if trouble:
        logger.warning("the webhook at ALERT_WEBHOOK_URL did not take the alert: %s", trouble)
