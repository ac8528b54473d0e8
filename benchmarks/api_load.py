"""Requests at a steady rate, whoever is slow: each has its time, from which it is measured, also if it has to wait."""

import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, RemoteDisconnected

_WORKERS = 32
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Answered:
    """Answers to requests of one rate: seconds from when each was due, in order, and how many there should be."""

    wanted: int
    seconds: Sequence[float]

    def quantile(self, part: float) -> float:
        """Seconds within which this part of the requests was answered; infinite where fewer were."""
        place = int(part * (self.wanted - 1))
        return self.seconds[place] if place < len(self.seconds) else float("inf")


@dataclass(frozen=True)
class Answer:
    """One answer: its status, headers by lower-case name, and the bytes of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Asks a server on this machine; each thread over a connection of its own that stays open."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._port, self._headers, self._own = port, dict(headers), threading.local()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """The whole answer.

        Raises:
            OSError, HTTPException: there is none.
        """
        try:
            return self._get(path, headers or {})
        except RemoteDisconnected:
            # The service closes what was not used for half a minute.
            return self._get(path, headers or {})

    def _get(self, path: str, headers: Mapping[str, str]) -> Answer:
        if not hasattr(self._own, "connection"):
            self._own.connection = HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_SECONDS)
        connection: HTTPConnection = self._own.connection
        try:
            connection.request("GET", path, headers={**self._headers, **headers})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        except (OSError, HTTPException):
            connection.close()
            raise

    def seconds(self, path: str, rounds: int) -> float:
        """The median of the seconds that the answer takes, one after the other."""
        return statistics.median(self._once(path) for _ in range(rounds))

    def _once(self, path: str) -> float:
        began = time.perf_counter()
        answer = self.get(path)
        assert answer.status == HTTPStatus.OK, f"{path}: {answer.status} {answer.body[:300]!r}"
        return time.perf_counter() - began

    def paced(self, path: str, rate: int, seconds: float, expected: int, **headers: str) -> Answered:
        """Ask so often each second for so long; answers of the expected status count.

        What has not had its turn in twice the time is given up.
        """
        wanted, began = max(1, round(rate * seconds)), time.perf_counter() + 0.1
        end = began + 2 * seconds + 1
        with ThreadPoolExecutor(_WORKERS, "load") as threads:
            asked = [
                threads.submit(self._asked, path, began + number / rate, end, expected, headers)
                for number in range(wanted)
            ]
        found = [one.result() for one in asked]
        return Answered(wanted, sorted(one for one in found if one is not None))

    def _asked(self, path: str, due: float, end: float, expected: int, headers: Mapping[str, str]) -> float | None:
        """Seconds since it was due; None: its time was over before its turn, or the service had enough."""
        time.sleep(max(0.0, due - time.perf_counter()))
        if time.perf_counter() > end:
            return None
        try:
            status = self.get(path, headers).status
        except (OSError, HTTPException):
            return None
        return time.perf_counter() - due if status == expected else None
