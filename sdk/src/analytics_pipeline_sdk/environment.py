"""A client from environment variables, so that an application's code names no address."""

import logging
import os
from collections.abc import Mapping
from dataclasses import fields
from typing import cast, get_type_hints

from analytics_pipeline_sdk.base import Client, NoopClient
from analytics_pipeline_sdk.client import AnalyticsClient
from analytics_pipeline_sdk.delivery.intake import BeforeSend
from analytics_pipeline_sdk.delivery.reporting import LOGGER, OnError
from analytics_pipeline_sdk.settings import Durability, Settings

PREFIX = "ANALYTICS_"


def from_env(
    environment: Mapping[str, str] | None = None,
    *,
    before_send: BeforeSend | None = None,
    on_error: OnError | None = None,
) -> Client:
    """The client that `ANALYTICS_URL` and its like describe; without a URL one that does nothing, and a warning.

    Read are `ANALYTICS_URL`, `_TOKEN`, `_SERVICE`, `_DURABILITY`, `_SPOOL`, `_ENVIRONMENT` (else `ENVIRONMENT`),
    and each of `Settings` in capitals, such as `ANALYTICS_FLUSH_INTERVAL`. Raises ValueError for a wrong value.
    """
    given = os.environ if environment is None else environment
    known = {name.removeprefix(PREFIX): value for name, value in given.items() if name.startswith(PREFIX) and value}
    if "URL" not in known:
        logging.getLogger(LOGGER).warning("ANALYTICS_URL is not set: events are not sent anywhere")
        return NoopClient()
    return AnalyticsClient(
        known["URL"],
        token=known.get("TOKEN"),
        service=known.get("SERVICE"),
        durability=cast(Durability, known.get("DURABILITY", "memory")),
        spool=known.get("SPOOL"),
        environment=known.get("ENVIRONMENT") or given.get("ENVIRONMENT") or None,
        settings=_settings(known),
        before_send=before_send,
        on_error=on_error,
    )


def _settings(known: Mapping[str, str]) -> Settings:
    values: dict[str, object] = {}
    for field in fields(Settings):
        text, kind = known.get(field.name.upper()), get_type_hints(Settings)[field.name]
        if text is not None:
            try:
                values[field.name] = kind(text) if kind in (int, float) else text
            except ValueError:
                raise ValueError(f"{PREFIX}{field.name.upper()} is a number, not {text!r}") from None
    return Settings(**values)  # type: ignore[arg-type]  # each has the type of its field
