"""Texts about an epoch, for alerts and the command line."""

from analytics_pipeline.flows.enablement.epochs import Epoch


def given_up(epoch: Epoch) -> str:
    """An alert for a history that will not be tried again by itself."""
    return (
        f"The history of {epoch.feature} ({epoch.scope}, epoch {epoch.epoch}) was given up after attempt"
        f" {epoch.attempt}: {epoch.error}. What was brought in stays. Repair the cause, then run:"
        f" analytics-pipeline enablement retry {epoch.feature} {epoch.scope}"
    )


def to_be_tried_again(epoch: Epoch) -> str:
    """An alert for an attempt that failed while there are more."""
    return (
        f"The history of {epoch.feature} ({epoch.scope}, epoch {epoch.epoch}) failed and is tried again after"
        f" {epoch.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC: {epoch.error}"
    )
