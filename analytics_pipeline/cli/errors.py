"""How the command line fails: one message with the cause and the repair, and an exit code of its own for each kind."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from analytics_pipeline.cli.output import new_console
from analytics_pipeline.config import ConfigurationError, NotConfigured

# Errors of these are the store's answer to a question, such as a right that is lacking, and no defect of ours.
_STORES = ("psycopg", "sqlalchemy", "clickhouse_connect", "botocore")


class Exit(IntEnum):
    """Exit codes of the command; 2 is click's own for wrong usage."""

    DONE = 0
    FAILED = 1
    GAPS = 3
    CONFIGURATION = 4
    UNREACHABLE = 5
    # As shells call a process that Ctrl-C has ended.
    INTERRUPTED = 130


@contextmanager
def reported() -> Iterator[None]:
    """Turn expected errors into a message on stderr and an exit code; others keep their stack trace."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except ConfigurationError as error:
        _stop(str(error), Exit.CONFIGURATION)
    except NotConfigured as error:
        _stop(f"{error}. Set it (see .env.example), or run: analytics-pipeline demo", Exit.CONFIGURATION)
    except ConnectionError as error:
        _stop(str(error), Exit.UNREACHABLE)
    except Exception as error:
        if not type(error).__module__.startswith(_STORES):
            raise
        # Imported now: it brings every store's client with it, which `--help` does not need.
        from analytics_pipeline.flows.failures import reason_of

        _stop(reason_of(error), Exit.FAILED)


def _stop(message: str, code: Exit) -> None:
    new_console(stderr=True).print(message, style="red", markup=False)
    sys.exit(code)
