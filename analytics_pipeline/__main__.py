"""`analytics-pipeline`, also `python -m analytics_pipeline`: ends quietly with 130 when Ctrl-C comes while it loads."""

import os
import signal


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # An exception in the middle of an import may be swallowed, or come out as another one.
        signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))
    from analytics_pipeline.cli import main as command

    command()


if __name__ == "__main__":
    main()
