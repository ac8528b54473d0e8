"""Alerts: one line in the log, and to a webhook when there is one."""

import json
import logging
import urllib.request
from http.client import HTTPException

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.patience import Patience

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5
# From the first byte to the last: the other limit is for each.
_WEBHOOK = Patience("the webhook at ALERT_WEBHOOK_URL", 10)
LONGEST = 2_000


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The address is a secret; where it points is the operator's decision alone."""

    def redirect_request(self, *_: object) -> None:
        return None


def alert(settings: Settings, text: str) -> None:
    """Tells the operators. A webhook that fails is logged and never raises.

    The webhook receives `{"text": …}` as JSON, which chat systems understand.
    """
    text = text[:LONGEST]
    logger.error("%s", text)
    if settings.alert_webhook_url is None:
        return
    try:
        _WEBHOOK.wait_for(_post, settings.alert_webhook_url.get_secret_value(), json.dumps({"text": text}).encode())
    except (OSError, HTTPException, ValueError) as error:
        # Its text could hold the address, which is a secret.
        logger.warning("the webhook at ALERT_WEBHOOK_URL did not take the alert: %s", type(error).__name__)


def _post(url: str, body: bytes) -> None:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
    with urllib.request.build_opener(_NoRedirects).open(request, timeout=TIMEOUT_SECONDS):
        """Any answer below 300 will do."""
