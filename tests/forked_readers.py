"""Readers of Arrow, forked from a process that has imported what they need.

One that is started anew takes a processor 70 ms, which is as much as the rest of a small copy.
What it does and how it ends is the same; tests that are about the start ask for `started_readers`.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from analytics_pipeline.resources import arrow, arrow_reader

_NUMBER = struct.Struct("!q")


def main(control: int) -> None:
    """Fork a reader for each message, which has its pipes and the socket that is told how it ends."""
    # Nobody waits for those who look after readers.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=control) as orders:
        while descriptors := socket.recv_fds(orders, 1, 3)[1]:
            if os.fork() == 0:
                orders.close()
                _look_after(*descriptors)
            for one in descriptors:
                os.close(one)


def _look_after(asked: int, wanted: int, told: int) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    reader = os.fork()
    if reader == 0:
        os.close(told)
        _read(asked, wanted)
    os.close(asked)
    os.close(wanted)
    with socket.socket(fileno=told) as connection:
        connection.sendall(_NUMBER.pack(reader))
        ended = os.waitid(os.P_PID, reader, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        connection.sendall(_NUMBER.pack(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status))
        # Its number was its own until everybody could know that it has ended.
        os.waitpid(reader, 0)
    os._exit(0)


def _read(asked: int, wanted: int) -> NoReturn:
    os.setsid()
    silent = os.open(os.devnull, os.O_WRONLY)
    for number, descriptor in enumerate((asked, wanted, silent)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    try:
        arrow_reader.main()
    except BaseException:  # noqa: BLE001 - as Python ends a process
        os._exit(1)
    os._exit(0)


class _Readers:
    """The process that forks them, and what stands in for `subprocess` where they are started."""

    def __init__(self) -> None:
        self.module = SimpleNamespace(Popen=self._forked, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL)
        self._orders: socket.socket | None = None
        self._first = threading.Lock()

    def _start(self) -> socket.socket:
        orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = f"from {__name__} import main; main({theirs.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", command],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        return orders

    def _forked(self, *_: Any, **__: Any) -> "_Reader":
        with self._first:
            self._orders = self._orders or self._start()
        (asked, asking), (reading, wanted) = os.pipe(), os.pipe()
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._orders, [b"."], [asked, wanted, theirs.fileno()])
        os.close(asked)
        os.close(wanted)
        return _Reader(asking, reading, ours)

    def close(self) -> None:
        if self._orders is not None:
            self._orders.close()
            # A process that was forked from this one may still hold its orders open.
            self._process.kill()
            self._process.wait()


class _Reader:
    """What `arrow.py` uses of a `Popen`."""

    def __init__(self, asking: int, reading: int, connection: socket.socket) -> None:
        self.stdin, self.stdout = os.fdopen(asking, "wb", buffering=0), os.fdopen(reading, "rb", buffering=0)
        self._connection = connection
        (self.pid,) = _NUMBER.unpack(connection.recv(_NUMBER.size, socket.MSG_WAITALL))
        self._code: int | None = None

    def kill(self) -> None:
        with suppress(BlockingIOError):
            self._code = self._told(socket.MSG_DONTWAIT)
        if self._code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        self._code = self._told(socket.MSG_WAITALL)
        self._connection.close()
        return self._code

    def _told(self, how: int) -> int:
        if self._code is not None:
            return self._code
        return int(_NUMBER.unpack(self._connection.recv(_NUMBER.size, how))[0])


@pytest.fixture(scope="session", autouse=True)
def forked_readers() -> Iterator[None]:
    """Every reader of this process."""
    readers = _Readers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "subprocess", readers.module)
        yield
    readers.close()


@pytest.fixture
def started_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the product starts them."""
    monkeypatch.setattr(arrow, "subprocess", subprocess)
