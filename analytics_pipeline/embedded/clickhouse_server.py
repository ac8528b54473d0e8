"""`python -m analytics_pipeline.embedded.clickhouse_server --path DIR --port N`: a local ClickHouse for one machine.

It puts chDB, the real ClickHouse engine, behind ClickHouse's HTTP interface: many processes share one directory.
The password comes from the environment variable CLICKHOUSE_SERVER_PASSWORD, never from the command line. With
CLICKHOUSE_SERVER_FOR_SMALL_STATEMENTS a statement takes one thread, which saves small ones a fifth, and none is
compiled, which pays for large ones only.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

PASSWORD_VARIABLE = "CLICKHOUSE_SERVER_PASSWORD"  # noqa: S105 - the name of a variable
SMALL_VARIABLE = "CLICKHOUSE_SERVER_FOR_SMALL_STATEMENTS"
_EXIT_CANNOT_START = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server; prints `ready http://HOST:PORT` on stdout when it answers."""
    given = _parser().parse_args(arguments)
    # Starlette, uvicorn and the engine are extras of the package: nothing else may need them to import this module.
    from analytics_pipeline.embedded.clickhouse.execution import Credentials
    from analytics_pipeline.embedded.clickhouse.server import Options, StartupError, run_server

    are_small = SMALL_VARIABLE in os.environ
    account = Credentials(given.user, os.environ.get(PASSWORD_VARIABLE, ""))
    try:
        if not account.password:
            raise StartupError(f"{PASSWORD_VARIABLE} is not set: choose a password and export it")
        run_server(Options(given.path.resolve(), given.host, given.port, given.database, account, are_small))
    except StartupError as error:
        sys.stderr.write(f"clickhouse_server: {error}\n")
        return _EXIT_CANNOT_START
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analytics_pipeline.embedded.clickhouse_server", description=__doc__
    )
    parser.add_argument("--path", type=Path, required=True, help="the server's directory, made when missing")
    parser.add_argument("--port", type=int, required=True, help="the TCP port; 0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default %(default)s)")
    parser.add_argument("--user", default="default", help="the user's name (default %(default)s)")
    parser.add_argument("--database", help="a database to create at start")
    return parser


if __name__ == "__main__":
    sys.exit(main())
