"""Posting to an address that somebody gave us: no redirect, an end to every wait, nothing of the address in errors."""

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import connection as connections
from urllib3.util import parse_url

from analytics_pipeline.resources.patience import NoAnswer, Patience

# Of an answer nobody reads more; the rest of a longer one stays on the line, which is closed.
_ANSWER_BYTES = 64 * 1024
_CONNECT_SECONDS = 10.0
# IPv4 addresses inside of IPv6 ones, as networks without IPv4 reach them.
_NAT64 = IPv6Network("64:ff9b::/96")


class Unreachable(ConnectionError):
    """There was no whole answer. The text says why in a few words, without the address."""


class PrivateAddress(Exception):
    """The host has no address that is public, and only such a one is allowed; nothing was connected to."""


@dataclass(frozen=True)
class Answer:
    """The status of an answer and its header fields, whose names are in lower case."""

    status: int
    headers: Mapping[str, str]


class Poster:
    """Posts to one address, over one connection that is kept. For one thread at a time.

    `seconds` are for the whole of a post, from the first byte to the last; with `only_public`, the address that is
    connected to has to be a public one.
    """

    def __init__(self, url: str, peer: str, seconds: float, *, only_public: bool = False) -> None:
        self._url = url
        self._patience = Patience(peer, seconds)
        self._only_public = only_public
        self._idle: HTTPConnection | None = None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer, whatever its status.

        Raises:
            Unreachable: there is none, or not all of it. What was sent may have arrived.
            PrivateAddress: the address is not allowed; nothing was sent.
        """
        idle, self._idle = self._idle, None
        try:
            answer, self._idle = self._patience.wait_for(self._posted, idle, body, headers)
        except NoAnswer as error:
            raise Unreachable(f"no answer within {self._patience.seconds:g} s") from error
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            # Their texts may hold the address, which may be a secret.
            raise Unreachable(_trouble(error)) from None
        return answer

    def close(self) -> None:
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def _posted(
        self, idle: HTTPConnection | None, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Answer, HTTPConnection | None]:
        """The answer, and the connection if it can be used again."""
        connection = idle if idle is not None and idle.is_connected else self._connected()
        try:
            target = parse_url(self._url).request_uri
            with suppress(BrokenPipeError):  # who has heard enough may have answered
                connection.request("POST", target, body, headers, preload_content=False, decode_content=False)
            response = connection.getresponse()
            is_whole = _is_read(response)
            answer = Answer(response.status, {name.lower(): value for name, value in response.headers.items()})
        except BaseException:
            connection.close()
            raise
        if is_whole and _stays_open(response):
            return answer, connection
        connection.close()
        return answer, None

    def _connected(self) -> HTTPConnection:
        parts = parse_url(self._url)
        # The whole of a post has its own limit, which comes first, so that it alone tells the time: those of the socket
        # end the thread then, for which nobody waits.
        limit = min(_CONNECT_SECONDS, self._patience.seconds + 1)
        connection: HTTPConnection
        if parts.scheme == "https":
            kind = _PublicConnection if self._only_public else HTTPSConnection
            connection = kind(parts.hostname or "", parts.port, timeout=limit, ssl_context=ssl.create_default_context())
        else:
            connection = HTTPConnection(parts.hostname or "", parts.port, timeout=limit)
        connection.connect()
        connection.timeout = self._patience.seconds + 1
        return connection


class _PublicConnection(HTTPSConnection):
    """A connection that judges the very address that it goes to: a second look-up could give another one."""

    def _new_conn(self) -> socket.socket:
        failure: OSError | None = None
        for address in public_addresses(self.host.strip("[]"), self.port):
            try:
                return connections.create_connection((address, self.port), self.timeout, None, self.socket_options)
            except OSError as error:
                failure = error
        raise failure or PrivateAddress


def public_addresses(host: str, port: int) -> Iterator[str]:
    """The host's addresses that are public, as they are looked up now."""
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if is_public(str(address[0])):
            yield str(address[0])


def is_public(address: str) -> bool:
    """Whether an IP address, and every IPv4 address that is packed into it, is one of the internet."""
    found = ip_address(address.partition("%")[0])
    return all(one.is_global and not one.is_multicast for one in (found, *_packed(found)))


def _packed(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    if isinstance(address, IPv6Address):
        nat64 = IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
        packed = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()), nat64)
        yield from (one for one in packed if one is not None)


def _is_read(response: HTTPResponse) -> bool:
    """Whether the body has ended. One that is cut raises, one that is too long is left where it is."""
    read = 0
    for chunk in response.stream(_ANSWER_BYTES // 4, decode_content=False):
        read += len(chunk)
        if read > _ANSWER_BYTES:
            return False
    return True


def _stays_open(response: HTTPResponse) -> bool:
    return response.version == 11 and response.headers.get("Connection", "").lower() != "close"


def _trouble(error: Exception) -> str:
    if isinstance(error, (NameResolutionError, socket.gaierror)):
        return "its host has no address"
    if isinstance(error, (NewConnectionError, ConnectionRefusedError)):
        return "it cannot be connected to"
    if isinstance(error, (ConnectTimeoutError, TimeoutError)):
        return f"it took no connection within {_CONNECT_SECONDS:g} s"
    if isinstance(error, ssl.SSLError):
        return "TLS failed: compare the port and the certificates of both ends"
    if isinstance(error, ValueError):
        return "the address cannot be used"
    return f"the connection was cut, or what answers is no HTTP server ({type(error).__name__})"
