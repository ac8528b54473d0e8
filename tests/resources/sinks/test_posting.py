"""Posts go to public addresses alone where that is asked for, and TLS is verified."""

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import connection as connections

from analytics_pipeline.resources.sinks.posting import Poster, PrivateAddress, Unreachable, is_public, public_addresses
from tests.resources.receiver import Receiver, Reply, receiving

HOST = "receiver.example.com"
PUBLIC = "93.184.216.34"
PRIVATE = (
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "255.255.255.255",
    "224.0.0.1",
    "::1",
    "::",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
)


@pytest.mark.parametrize("address", PRIVATE)
def test_is_public__address_of_no_internet__is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_is_public__address_of_the_internet__is(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_is_public__packed_into_ipv6__is_judged_as_itself(address: ipaddress.IPv4Address) -> None:
    expected = is_public(str(address))

    assert is_public(f"::ffff:{address}") == expected
    assert is_public(str(ipaddress.IPv6Address((0x64FF9B << 96) | int(address)))) == expected


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the host has: the name service is the attacker's. Each look-up takes one."""
    answers: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **options: Any) -> Any:
        return real(answers.pop(0) if host == HOST else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver with TLS whose certificate is for the host."""
    certificate, key = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with receiving(Receiver(), context) as receiver:
        yield receiver


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*encoding))
    return folder / "certificate.pem", folder / "key.pem"


def _poster(receiver: Receiver, *, only_public: bool) -> Poster:
    return Poster(f"https://{HOST}:{receiver.port}/path", "the receiver", 10, only_public=only_public)


def test_post__private_address_that_is_meant__is_taken_over_tls(served: Receiver, looked_up: list[str]) -> None:
    looked_up.append("127.0.0.1")
    poster = _poster(served, only_public=False)

    assert [poster.post(b"body", {}).status for _ in range(2)] == [204, 204]

    poster.close()
    assert [request.path for request in served.got] == ["/path", "/path"]


def test_post__private_address_that_is_not_meant__nothing_is_connected_to(
    served: Receiver, looked_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[Any] = []
    monkeypatch.setattr(connections, "create_connection", lambda *args: connected.append(args))
    looked_up += ["127.0.0.1"]

    with pytest.raises(PrivateAddress):
        _poster(served, only_public=True).post(b"body", {})

    assert (connected, served.got) == ([], [])


def test_post__name_changes_between_look_ups__the_judged_address_is_the_one_that_is_connected_to(
    served: Receiver, looked_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[Any] = []

    def refuse(address: tuple[str, int], *_: Any) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(connections, "create_connection", refuse)
    looked_up += [PUBLIC, "127.0.0.1"]

    with pytest.raises(Unreachable, match="it cannot be connected to"):
        _poster(served, only_public=True).post(b"body", {})

    assert (connected, looked_up, served.got) == ([PUBLIC], ["127.0.0.1"], [])


def test_public_addresses__some_are_private__are_left_out(looked_up: list[str]) -> None:
    looked_up += [PUBLIC, "10.0.0.1"]

    assert [*public_addresses(HOST, 443)] == [PUBLIC]
    assert [*public_addresses(HOST, 443)] == []


def test_post__certificate_is_not_trusted__nothing_is_sent(
    served: Receiver, looked_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    looked_up.append("127.0.0.1")

    with pytest.raises(Unreachable, match=r"^TLS failed: compare the port and the certificates of both ends$"):
        _poster(served, only_public=False).post(b"body", {})

    assert served.got == []


def test_post__certificate_is_for_another_host__nothing_is_sent(served: Receiver) -> None:
    poster = Poster(f"https://localhost:{served.port}/", "the receiver", 10)

    with pytest.raises(Unreachable, match=r"^TLS failed"):
        poster.post(b"body", {})

    assert served.got == []


def test_post__server_ended_the_idle_connection__a_later_post_is_taken(served: Receiver, looked_up: list[str]) -> None:
    looked_up += ["127.0.0.1", "127.0.0.1"]
    served.reply = lambda _: Reply(headers={"Connection": "keep-alive"}, raw=b"HTTP/1.1 204 No\r\n\r\n")
    poster = _poster(served, only_public=False)

    assert poster.post(b"body", {}).status == 204
    # The server has closed after a raw answer; the next post notices.
    served.reply = lambda _: Reply()
    statuses = set()
    for _ in range(2):
        try:
            statuses.add(poster.post(b"body", {}).status)
        except Unreachable:
            statuses.add(0)

    assert 204 in statuses
