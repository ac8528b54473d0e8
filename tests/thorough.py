"""What `make test-all` does of every test, and `make test` of a part only."""

import os

from hypothesis import HealthCheck, settings

# As `make test-all` sets it.
THOROUGH = "THOROUGH" in os.environ


def on_engines(examples: int) -> settings:
    """How a property is tried whose every example takes the engines a while: so many times, or a third as often."""
    return settings(
        max_examples=examples if THOROUGH else -(-examples // 3),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
