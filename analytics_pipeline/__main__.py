"""`analytics-pipeline`, also `python -m analytics_pipeline`: ends quietly with 130 when Ctrl-C comes while it loads."""

import os
import signal
import sys

_INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # An exception in the middle of an import may be swallowed, or come out as another one.
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    from analytics_pipeline.cli import main as command

    try:
        command()
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            # Python would end itself by the signal instead if that came inside `exec`, as while a dataclass is made.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(_INTERRUPTED)
        raise


if __name__ == "__main__":
    main()
